"""The simulator: its true probabilities, against brute force and outcomes, and its
files.
"""

import hashlib
import itertools
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import poisson
from typer.testing import CliRunner

from churn import cli
from churn.errors import InputError
from churn.events import ingest
from churn.settings import Extract, Windows, load
from churn.simulate import appsflyer, extracts, markov, random_worlds
from churn.simulate.extracts import WORLDS
from churn.simulate.markov import Markov
from churn.simulate.markov_parameters import Parameters
from churn.simulate.world import World, truth

from ..conftest import SHARED, read

TINY = Parameters(
    events=("a", "b"),
    type_share=np.array([0.6, 0.4]),
    first_state=np.array([[0.7, 0.3, 0, 0, 0], [0.2, 0.8, 0, 0, 0]], dtype=float),
    transition=np.array(
        [
            [
                [0.8, 0.1, 0.05, 0.03, 0.02],
                [0.1, 0.7, 0.1, 0.05, 0.05],
                [0, 0.2, 0.6, 0.1, 0.1],
                [0, 0, 0, 0.9, 0.1],
                [0, 0, 0, 0, 1],
            ],
            [
                [0.5, 0.3, 0.1, 0.05, 0.05],
                [0.1, 0.6, 0.2, 0.05, 0.05],
                [0, 0.1, 0.7, 0.1, 0.1],
                [0, 0.1, 0, 0.8, 0.1],
                [0, 0, 0, 0, 1],
            ],
        ]
    ),
    rate=np.array([[2.0, 0.8, 0.2, 0.05, 0], [1.0, 0.4, 0.1, 0.02, 0]]),
    weekday=np.array([[1, 1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 1, 0.5, 0.5]], dtype=float),
    mix=np.array([[[0.7, 0.3]], [[0.2, 0.8]]]),
    level=np.array([1, 0.5, 2, 1.5, 1, 0.7, 1.2]),
    hazard=np.array([1, 2, 0.5, 3, 1, 0.2]),
)


SEEN = [[1, 0], [0, 2], [0, 1], [3, 0], [0, 1]]


def tiny(arrival: int) -> Markov:
    """One user in a short log."""
    counts = np.array(SEEN, np.uint16)[:, None, :]
    counts[:arrival] = 0
    return Markov(
        date(2026, 1, 1),
        0,
        len(SEEN),
        np.array([arrival]),
        np.array([-1]),
        TINY,
        counts,
    )


def brute_force(world: Markov, cutoff: int, windows: Windows) -> float:
    """Churn probability by summing over every hidden path from the arrival to the
    horizon's end.

    A path weighs what it explains of the window's counts, and nothing if it uninstalls
    before the cutoff.
    """
    p, arrival, opened = (
        world.parameters,
        int(world.arrival[0]),
        cutoff - windows.observation_days,
    )
    first = cutoff + windows.lead_days
    end = first + windows.horizon_days
    paths = np.array(list(itertools.product(range(5), repeat=end - arrival)))
    known = churned = 0.0
    for kind in range(2):
        weight, quiet = (
            p.type_share[kind] * p.first_state[kind, paths[:, 0]],
            np.ones(len(paths)),
        )
        for day, state in enumerate(paths.T, start=arrival):
            rate = (
                p.rate[kind, state] * p.weekday[kind, world.weekday(day)] * p.level[day]
            )
            if day > arrival:
                odds = p.transition[kind] * [1, 1, 1, *[p.hazard[min(day - 1, 5)]] * 2]
                weight *= (odds / odds.sum(axis=1, keepdims=True))[
                    paths[:, day - arrival - 1], state
                ]
            weight *= (state != 4) | (day >= cutoff)
            if opened <= day < cutoff:
                weight *= poisson.pmf(
                    world.counts[day, 0], rate[:, None] * p.mix_by_state[kind, state]
                ).prod(axis=1)
            quiet *= np.exp(-rate) if day >= first else 1
        known, churned = known + weight.sum(), churned + (weight * quiet).sum()
    return churned / known


@pytest.mark.parametrize("arrival", [0, 1])
@pytest.mark.parametrize(
    ("observation_days", "lead_days"), [(2, 0), (3, 1), (4, 0), (5, 0)]
)
def test_the_filter_equals_brute_force(
    arrival: int, observation_days: int, lead_days: int
) -> None:
    """At every cutoff truth is the sum over all hidden paths, given the window's
    counts, the arrival, no uninstall.
    """
    windows = Windows(
        observation_days=observation_days,
        eligible_days=2,
        lead_days=lead_days,
        horizon_days=2,
    )
    world = tiny(arrival)
    got = dict(truth(world, windows).select("cutoff", "probability").iter_rows())
    assert list(got) == [date(2026, 1, 1 + day) for day in range(2, 6)]
    for day in range(2, 6 - lead_days):
        assert got[date(2026, 1, 1 + day)] == pytest.approx(
            brute_force(world, day, windows), rel=1e-9
        )


def test_the_default_world_stays_what_it_was() -> None:
    """The counts of a seed are those of the first version, bit for bit."""
    digest = hashlib.sha256(markov.markov(300, 90, seed=7).counts.tobytes()).hexdigest()
    assert digest == "0523e9e7a6ea95a751d35ee9aeb29c6decb187a87eb2ef453482f71abec0db0e"


@pytest.mark.parametrize(
    ("kind", "seed"), [("markov", 1), ("bgnbd", 1), ("random", 5), ("random", 9)]
)
@pytest.mark.parametrize(
    "windows", [Windows(), Windows(observation_days=40, lead_days=5, horizon_days=14)]
)
def test_truth_is_calibrated_against_what_happens(
    kind: str, seed: int, windows: Windows
) -> None:
    """Realised churn, in all and in each tenth of the truth, is within four standard
    errors; bent truth is worse.
    """
    world = WORLDS[kind](3000, 150, seed)
    known = truth(world, windows)
    for day in (60, 122):
        at = known.filter(cutoff=world.start + timedelta(days=day))
        p, churned = (
            at["probability"].to_numpy(),
            ~came(world, day, windows)[at["user"]],
        )
        for part in [np.arange(len(p)), *np.array_split(np.argsort(p), 10)]:
            spread = np.sqrt((p[part] * (1 - p[part])).sum())
            assert abs(churned[part].sum() - p[part].sum()) < 4 * spread + 1
        losses = [
            log_loss(p, churned, a, b)
            for a, b in ((0, 1), (0.5, 1), (-0.5, 1), (0, 0.6), (0, 1.6))
        ]
        assert np.argmin(losses) == 0


def came(world: World, day: int, windows: Windows) -> np.ndarray:
    """Whether each user is active in the horizon."""
    first = day + windows.lead_days
    return world.active[first : first + windows.horizon_days].any(axis=0)


def log_loss(p: np.ndarray, churned: np.ndarray, shift: float, slope: float) -> float:
    """Log loss of probabilities whose log-odds are shifted and stretched."""
    odds = np.exp(
        shift
        + slope * np.log(p.clip(1e-12, 1 - 1e-12) / (1 - p.clip(1e-12, 1 - 1e-12)))
    )
    return -np.log(np.where(churned, odds, 1) / (1 + odds)).mean()


def test_truth_knows_the_window_and_nothing_else() -> None:
    """Other counts before the window or from the cutoff on, other uninstalls after it:
    the same truth at it.
    """
    world, windows = markov.markov(300, 120, seed=2), Windows(observation_days=40)
    counts = world.counts.copy()
    counts[:60] = counts[100:] = 9
    later = np.where(world.uninstall >= 100, 101, world.uninstall)
    other = replace(world, counts=counts, uninstall=later)
    at = world.start + timedelta(days=100)
    one, two = (
        truth(w, windows).filter(pl.col("cutoff") == at) for w in (world, other)
    )
    assert one.height > 50
    assert one.equals(two)


def test_hazard_multiplies_the_odds_of_leaving() -> None:
    """Twice the odds to be gone or uninstalled tomorrow; after the last given day its
    factor lasts.
    """
    twice = replace(TINY, hazard=np.array([1.0, 2.0]))
    assert twice.step(0) == pytest.approx(TINY.transition)
    assert twice.step(7)[0, 2] == pytest.approx(np.array([0, 0.2, 0.6, 0.2, 0.2]) / 1.2)


def test_random_worlds_differ_by_seed_and_are_plausible() -> None:
    """Ten seeds: other shapes, proper distributions, drift in some and none in others;
    a seed gives one world.
    """
    drawn = [random_worlds.parameters(seed) for seed in range(10)]
    assert len({(p.rate.shape, len(p.events)) for p in drawn}) > 6
    for p in drawn:
        assert p.step(239).sum(axis=-1) == pytest.approx(np.ones(p.rate.shape))
        assert random_worlds.is_plausible(p)
    assert 0 < sum(p.hazard[0] == p.hazard[239] for p in drawn) < 10
    one, two = (random_worlds.world(50, 60, seed=3) for _ in range(2))
    assert np.array_equal(one.counts, two.counts)


@pytest.mark.parametrize("kind", WORLDS)
def test_the_same_seed_writes_the_same_bytes(kind: str, tmp_path: Path) -> None:
    """Two runs of one seed are byte-equal, another seed differs."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        extracts.write(WORLDS[kind](50, 60, seed), tmp_path / name, "appsflyer")
    contents = [
        {f.name: f.read_bytes() for f in (tmp_path / n / "raw").iterdir()}
        for n in "abc"
    ]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.parametrize("source", ["appsflyer", "table"])
def test_files_lose_nothing_on_ingest(kind: str, source: str, tmp_path: Path) -> None:
    """Every simulated event, install and uninstall is kept: no row counts as a copy of
    another.
    """
    world = WORLDS[kind](150, 90, 5)
    written = extracts.write(world, tmp_path, source)
    result = ingest.ingest(load(tmp_path / "churn.toml"), progress=False)
    expected = written["events"] + world.n_users + int((world.uninstall >= 0).sum())
    assert result.n_added == result.files["rows"].sum() == expected


@pytest.mark.parametrize("kind", WORLDS)
def test_table_and_appsflyer_hold_the_same_world(kind: str, tmp_path: Path) -> None:
    """Both exports of one world give the same users, days and names."""
    world = WORLDS[kind](80, 60, 6)
    for source in ("table", "appsflyer"):
        extracts.write(world, tmp_path / source, source)
    table = read(
        tmp_path / "table/raw/events.parquet", Extract(source="table", path="x")
    )
    reports = pl.concat(
        read(f, Extract(source="appsflyer", path="x"))
        for f in (tmp_path / "appsflyer/raw").iterdir()
    )
    columns = ["user_id", "event_time", "event_kind"]
    assert (
        table.select(columns)
        .sort(columns)
        .equals(reports.select(columns).sort(columns))
    )


def test_the_command_line_writes_each_kind(tmp_path: Path) -> None:
    """--world names the kind; another kind is wrong usage."""
    given = [
        "simulate",
        str(tmp_path),
        "--users",
        "20",
        "--days",
        "60",
        "--source",
        "table",
        "--no-progress",
    ]
    assert CliRunner().invoke(cli.app, [*given, "--world", "bgnbd"]).exit_code == 0
    assert pl.read_parquet(tmp_path / "truth.parquet").columns == [
        "user_id",
        "cutoff",
        "probability",
    ]
    assert CliRunner().invoke(cli.app, [*given, "--world", "flat"]).exit_code == 2


def test_nonsense_and_existing_folders_are_refused(tmp_path: Path) -> None:
    """Too few days, no users, a folder that already holds extracts."""
    with pytest.raises(InputError, match="at least 1 user and 60 days"):
        markov.markov(0, 90, 0)
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match="exists already"):
        extracts.write(markov.markov(5, 60, 0), tmp_path, "table")


@pytest.mark.skipif(
    not SHARED.exists(),
    reason="SKIPPED LOUDLY: ../shared with the vendor samples is absent",
)
def test_the_header_is_the_vendors_own() -> None:
    """The 81 columns of a real report, in order."""
    sample = SHARED / "samples/appsflyer/pull_api/installs_report.csv"
    assert (
        sample.read_text(encoding="utf-8").splitlines()[0].split(",")
        == appsflyer.HEADER
    )
