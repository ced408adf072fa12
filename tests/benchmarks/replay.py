"""Hysteresis over ten weekly runs: segment changes saved and recall lost, by band.

    python -m tests.benchmarks.replay [--data FOLDER] [--only simulated]

The riskiest 15 % of users are high, the next 25 % medium. One model per log, trained on
cutoffs whose horizons ended before the first run, scores all ten runs. The default band
was chosen on the simulated worlds alone. It is the narrowest of BANDS that fulfils two
conditions against no band: on average over the four kinds of world at most 65 % of the
changes remain; and in each kind at most a quarter of the changes that are undone in the
next run remain, and the segment high loses at most two points of recall.
"""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from churn.features import snapshots
from churn.model import fitting, training
from churn.scoring import segments
from churn.settings import Policy, Settings, Windows, parse
from churn.simulate import extracts, markov
from churn.simulate.markov_parameters import Parameters

from .common import DATA, filled, parser, wide_tables
from .real_logs import LOGS

BANDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FIRST_RUN = {
    "oulad_vle": date(2013, 10, 13),
    "online_retail_ii": date(2011, 7, 9),
    "collegemsg": date(2004, 6, 15),
}
N_RUNS = 10
SEGMENTS = [
    {"name": "high", "share": 0.15},
    {"name": "medium", "share": 0.25},
    {"name": "low"},
]
N_USERS, N_DAYS, SEEDS = 6_000, 270, (0, 1)


def abrupt() -> Parameters:
    """A world in which users hardly fade before they leave.

    Few churn, and the risk falls steeply with the rank.
    """
    default = Parameters()
    step = default.transition.copy()
    step[:, :3, 3] += 0.15 * step[:, :3, 2]
    step[:, :2, 2] *= 0.1
    step[:, :3] /= step[:, :3].sum(axis=2, keepdims=True)
    return replace(default, transition=step, rate=default.rate * [1, 2, 4, 1, 1])


WORLDS = {
    "28 days": (Windows(), Parameters()),
    "14 days": (Windows(eligible_days=30, horizon_days=14), Parameters()),
    "60 days": (Windows(eligible_days=60, horizon_days=60), Parameters()),
    "abrupt": (Windows(), abrupt()),
}


def real(data: Path, folder: Path) -> Iterator[tuple[str, pl.DataFrame, Settings]]:
    """Name, scored runs and study of each log."""
    for name, log in LOGS.items():
        extract = {
            "source": "table",
            "path": str((data / name / "events.parquet").resolve()),
        }
        parts = {
            "windows": log["windows"],
            "activity": log["activity"],
            "segments": SEGMENTS,
        }
        settings = parse({"extracts": [extract], **parts}, folder / name)
        train = [date.fromisoformat(c) for c in log["train"]]
        train = [c for c in train if settings.windows.horizon(c)[1] <= FIRST_RUN[name]]
        yield name, scored(settings, FIRST_RUN[name], train), settings


def simulated(folder: Path) -> Iterator[tuple[str, pl.DataFrame, Settings]]:
    """The same of each simulated world, with the true probability as ``truth``."""
    for (name, (windows, parameters)), seed in itertools.product(WORLDS.items(), SEEDS):
        home = folder / f"{name}-{seed}"
        world = markov.markov(N_USERS, N_DAYS, seed, parameters)
        extracts.write(world, home, "table", windows)
        extract = {"source": "table", "path": "raw", "settling_days": 0}
        settings = parse(
            {
                "extracts": [extract],
                "windows": windows.model_dump(),
                "segments": SEGMENTS,
            },
            home,
        )
        last = world.start + timedelta(days=world.n_days - windows.horizon_days)
        truth = pl.read_parquet(home / "truth.parquet").rename({"probability": "truth"})
        runs = scored(settings, last - timedelta(weeks=N_RUNS - 1))
        yield (
            f"simulated {name} {seed}",
            runs.join(truth, on=["user_id", "cutoff"], how="left"),
            settings,
        )


def scored(
    settings: Settings, first: date, train: list[date] | None = None
) -> pl.DataFrame:
    """Every run's users: user_id, cutoff, tenure_days, churned, probability."""
    store = filled(settings)
    cutoffs = train or training.training_cutoffs(store, as_of=first)
    fitted = training.train(store, cutoffs).model
    runs = snapshots.build(
        store, [first + timedelta(weeks=k) for k in range(N_RUNS)], fitted.plan
    )
    probability = pl.Series("probability", fitting.predict(fitted, runs))
    assert runs["churned"].null_count() == 0, "a run's horizon isn't over"
    return runs.select("user_id", "cutoff", "tenure_days", "churned", probability)


def replay(runs: pl.DataFrame, settings: Settings, band: float) -> pl.DataFrame:
    """The runs with their segments, each with hysteresis against the run before."""
    policy = settings.model_copy(update={"policy": Policy(band=band)})
    done: list[pl.DataFrame] = []
    for run in runs.sort("cutoff").partition_by("cutoff", maintain_order=True):
        done.append(
            run.with_columns(segments.assign(run, policy, done[-1] if done else None))
        )
    return pl.concat(done)


def figures(runs: pl.DataFrame) -> dict[str, float]:
    """Means over the runs: see ``table``."""
    parts = runs.select("user_id", "segment", "cutoff").partition_by(
        "cutoff", maintain_order=True
    )
    pairs = [
        a.join(b, on="user_id", how="full", suffix="_2")
        for a, b in itertools.pairwise(parts)
    ]
    triples = [
        _known(*three) for three in zip(parts, parts[1:], parts[2:], strict=False)
    ]
    moved = pl.col("segment").ne_missing(pl.col("segment_2"))
    back = (pl.col("segment") == pl.col("segment_3")) & moved
    return {
        "n": runs.height / N_RUNS,
        "changed": _mean(
            [
                p.drop_nulls(["segment", "segment_2"]).select(moved.mean()).item()
                for p in pairs
            ]
        ),
        "back": _mean([t.select(back.mean()).item() for t in triples]),
        "writes": _mean([p.filter(moved).height for p in pairs]),
        "n_high": (runs["segment"] == "high").sum() / N_RUNS,
        "recall": _recall(runs, ["high"]),
        "recall_2": _recall(runs, ["high", "medium"]),
    }


def _recall(runs: pl.DataFrame, names: list[str]) -> float:
    found = (pl.col("churned") & pl.col("segment").is_in(names)).sum() / pl.col(
        "churned"
    ).sum()
    return _mean(runs.group_by("cutoff").agg(found.alias("recall"))["recall"].to_list())


def lasting(runs: pl.DataFrame) -> float:
    """Share of users in four runs whose segment changed once and then stayed."""
    parts = runs.select("user_id", "segment", "cutoff").partition_by(
        "cutoff", maintain_order=True
    )
    fours = [
        _known(*four)
        for four in zip(parts, parts[1:], parts[2:], parts[3:], strict=False)
    ]
    moved = pl.col("segment") != pl.col("segment_2")
    stayed = (pl.col("segment_2") == pl.col("segment_3")) & (
        pl.col("segment_3") == pl.col("segment_4")
    )
    return _mean([f.select((moved & stayed).mean()).item() for f in fours])


def _known(first: pl.DataFrame, *later: pl.DataFrame) -> pl.DataFrame:
    for k, run in enumerate(later, start=2):
        first = first.join(run, on="user_id", suffix=f"_{k}")
    return first


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def table(name: str, runs: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """One row per band.

    - changed: share of users in two consecutive runs whose segment changed.
    - back: share of users in three runs whose segment changed and changed back.
    - writes: segments to write per run, with those of new and leaving users.
    - recall: share of the churners in high; recall_2: in high and medium.
    - loss, loss_2: recall lost against no band.
    - lasting: share of users whose segment without a band changed and then stayed for
      two more runs, an estimate of the changes worth writing.
    - true: share that would change with segments cut by the true probability, on
      simulated worlds only.
    """
    plain = replay(runs, settings, 0)
    none = figures(plain)
    true = (
        figures(replay(runs.with_columns(probability="truth"), settings, 0))["changed"]
        if "truth" in runs
        else None
    )
    rows = [
        {"log": name, "band": band, **figures(replay(runs, settings, band))}
        for band in BANDS
    ]
    return pl.DataFrame(rows).with_columns(
        changed_ratio=pl.col("changed") / none["changed"],
        back_ratio=pl.col("back") / none["back"],
        loss=none["recall"] - pl.col("recall"),
        loss_2=none["recall_2"] - pl.col("recall_2"),
        lasting=pl.lit(lasting(plain)),
        true=pl.lit(true, pl.Float64),
    )


def main() -> None:
    """Print one table per log, then the means over the simulated worlds."""
    command = parser(__doc__)
    command.add_argument("--data", type=Path, default=DATA)
    command.add_argument("--only", choices=["simulated", "real"])
    given = command.parse_args()
    with tempfile.TemporaryDirectory() as folder, wide_tables():
        if given.only != "real":
            worlds = []
            for world in simulated(Path(folder)):
                worlds.append(table(*world))
                print(worlds[-1], flush=True)
            print(
                pl.concat(worlds)
                .drop("log")
                .group_by("band", maintain_order=True)
                .mean(),
                flush=True,
            )
        if given.only != "simulated":
            for log in real(given.data, Path(folder)):
                print(table(*log), flush=True)


if __name__ == "__main__":
    main()
