"""The simulator: its truth against brute force and against what happens, and its files."""

import itertools
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churn import events, simulate, simulate_exports
from churn.errors import InputError
from churn.simulate import Parameters, World
from churn.study import Extract, Windows, load

from .conftest import SHARED, read

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
    mix=np.array([[0.7, 0.3], [0.2, 0.8]]),
)


def tiny(counts: list[list[int]], uninstall: int = -1) -> World:
    """One user who arrives on day 0 of a short log."""
    array = np.array(counts, np.uint16)[:, None, :]
    return World(TINY, date(2026, 1, 1), 0, np.array([0]), np.array([uninstall]), array)


def brute_force(world: World, windows: Windows) -> float:
    """Churn probability at the end of the log, by summing over every hidden path of seen days and horizon."""
    p, n_days = world.parameters, world.n_days
    seen, quiet = 0.0, 0.0
    for kind in range(2):
        for path in itertools.product(range(5), repeat=n_days + windows.horizon_days):
            weight = p.type_share[kind] * p.first_state[kind, path[0]]
            weight *= np.prod([p.transition[kind, a, b] for a, b in itertools.pairwise(path)])
            for day in range(n_days if weight else 0):
                rate = p.rate[kind, path[day]] * p.weekday[kind, world.weekday(day)]
                for n, share in zip(world.counts[day, 0], p.mix[kind], strict=True):
                    weight *= np.exp(-rate * share) * (rate * share) ** int(n)
                if path[day] == simulate.UNINSTALLED:
                    weight = 0.0  # a row would have been seen
            if not weight:
                continue
            seen += weight
            rates = [p.rate[kind, path[d]] * p.weekday[kind, world.weekday(d)] for d in range(n_days, len(path))]
            quiet += weight * np.exp(-sum(rates))
    return quiet / seen


@pytest.mark.parametrize("counts", [[[1, 0], [0, 0], [0, 1]], [[0, 0], [3, 0], [0, 0]], [[0, 2], [0, 1], [0, 0]]])
def test_the_forward_filter_equals_brute_force(counts: list[list[int]]) -> None:
    """On three seen days and a two-day horizon, truth is the sum over all hidden paths."""
    world, windows = tiny(counts), Windows(observation_days=3, eligible_days=3, horizon_days=2)
    got = simulate.truth(world, windows).filter(pl.col("cutoff") == date(2026, 1, 4))
    assert got["probability"][0] == pytest.approx(brute_force(world, windows), rel=1e-9)


def test_truth_is_calibrated_against_what_happens() -> None:
    """In a world of 4,000 users the realised churn of each fifth of the truth lies within sampling error."""
    world, windows = simulate.markov(4000, 150, seed=1), Windows()
    active = world.counts.sum(axis=2) > 0
    for day in (60, 100, 122):
        known = simulate.truth(world, windows).filter(pl.col("cutoff") == world.start + timedelta(days=day))
        churned = ~active[day : day + windows.horizon_days].any(axis=0)[known["user"].to_numpy()]
        p = known["probability"].to_numpy()
        for fifth in np.array_split(np.argsort(p), 5):
            spread = np.sqrt((p[fifth] * (1 - p[fifth])).sum())
            assert abs(churned[fifth].sum() - p[fifth].sum()) < 4 * spread + 1


def test_truth_at_a_cutoff_depends_on_the_past_alone() -> None:
    """Other counts and uninstalls from the cutoff on: the same truth at it."""
    world = simulate.markov(300, 90, seed=2)
    counts = world.counts.copy()
    counts[60:] = 9
    other = World(
        world.parameters, world.start, 0, world.arrival, np.where(world.uninstall >= 60, 61, world.uninstall), counts
    )
    at = world.start + timedelta(days=60)
    one, two = (simulate.truth(w, Windows()).filter(pl.col("cutoff") == at) for w in (world, other))
    assert one.height > 50
    assert one.equals(two)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    """Two runs of one seed are byte-equal, another seed differs."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        simulate_exports.write(simulate.markov(50, 60, seed), tmp_path / name, "appsflyer")
    contents = [{f.name: f.read_bytes() for f in (tmp_path / n / "raw").iterdir()} for n in "abc"]
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_appsflyer_files_lose_nothing_on_ingest(tmp_path: Path) -> None:
    """Every simulated event, install and uninstall is kept: no row counts as a copy of another."""
    world = simulate.markov(200, 90, seed=5)
    simulate_exports.write(world, tmp_path, "appsflyer")
    result = events.ingest(load(tmp_path / "churn.toml"), progress=False)
    expected = int(world.counts.sum()) + world.n_users + int((world.uninstall >= 0).sum())
    assert result.n_added == result.files["rows"].sum() == expected


def test_table_and_appsflyer_hold_the_same_world(tmp_path: Path) -> None:
    """Both exports of one world give the same users, days and names."""
    world = simulate.markov(80, 60, seed=6)
    for source in ("table", "appsflyer"):
        simulate_exports.write(world, tmp_path / source, source)
    table = read(tmp_path / "table/raw/events.parquet", Extract(source="table", path="x"))
    reports = pl.concat(read(f, Extract(source="appsflyer", path="x")) for f in (tmp_path / "appsflyer/raw").iterdir())
    columns = ["user_id", "event_time", "event_kind"]
    assert table.select(columns).sort(columns).equals(reports.select(columns).sort(columns))


def test_nonsense_and_existing_folders_are_refused(tmp_path: Path) -> None:
    """Too few days, no users, a folder that already holds extracts."""
    with pytest.raises(InputError, match="at least 1 user and 60 days"):
        simulate.markov(0, 90, 0)
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match="exists already"):
        simulate_exports.write(simulate.markov(5, 60, 0), tmp_path, "table")


@pytest.mark.skipif(not SHARED.exists(), reason="SKIPPED LOUDLY: ../shared with the vendor samples is absent")
def test_the_header_is_the_vendors_own() -> None:
    """The 81 columns of a real report, in order."""
    sample = SHARED / "samples/appsflyer/pull_api/installs_report.csv"
    assert sample.read_text(encoding="utf-8").splitlines()[0].split(",") == simulate_exports.HEADER
