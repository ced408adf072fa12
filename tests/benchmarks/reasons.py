"""Whether reasons are faithful to the model, stable from week to week, and cheap.

    python -m tests.benchmarks.reasons [--users 6000] [--seeds 0 1] [--data FOLDER]

One row per Markov world and, if its data is there, for the log oulad_vle. A model is
trained once and explains two cutoffs a week apart. The columns:

- times_feature: mean change of the log-odds when all features of the first reason's
  kind take typical values, as a multiple of that for one random feature.
- times_kind: the same as a multiple of that for a random other kind.
- n_still: users whose probability changed by less than 0.02 in the week.
- same_rate: share of those with the same first reason in both weeks.
- same_alone_rate: the same share if last week's reasons are not known.
- cpu_seconds_per_million: processor time to explain a million users.
"""

import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churn.features import snapshots
from churn.features.catalogue import KINDS
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.model.fitting import Model
from churn.scoring import reasons
from churn.settings import Settings, load
from churn.simulate import extracts, markov
from churn.stats import probability

from . import real_logs
from .common import DATA, filled, parser, wide_tables

STILL = 0.02
"""Change of a probability in a week below which a user counts as unchanged."""

N_TIMED = 100_000
"""Number of users on which the time is measured."""

OULAD_TEST = date(2013, 12, 15)


def faithfulness(fitted: Model, snapshot: pl.DataFrame) -> dict[str, float]:
    """How far the first reason's kind changes the score.

    As a multiple of what one feature, and what another kind, changes it.
    """
    table = reasons.contributions(fitted, snapshot)
    kinds = [kind for kind in KINDS if kind in table.columns]
    moved = table.select(pl.col(kinds).abs()).to_numpy()
    first = reasons.explain(fitted, snapshot)["reason_1"].str.replace(
        "^(risky|safe)_", ""
    )
    has, place = (
        first.is_not_null().to_numpy(),
        first.fill_null(kinds[0]).replace_strict(kinds, range(len(kinds))),
    )
    top = moved[np.arange(len(moved)), place.to_numpy()][has].mean()
    other = (moved[has].sum(axis=1).mean() - top) / (len(kinds) - 1)
    return {
        "times_feature": top / single(fitted, snapshot),
        "times_kind": top / other,
        "no_reason_rate": 1 - has.mean(),
    }


def single(fitted: Model, snapshot: pl.DataFrame) -> float:
    """Mean change of the log-odds when one feature takes its typical value."""
    whole = probability.log_odds(fitting.predict(fitted, snapshot))
    moves = []
    for name, value in zip(fitted.features, fitted.typical, strict=True):
        without = snapshot.with_columns(pl.lit(value, pl.Float64).alias(name))
        moves.append(
            np.abs(
                whole - probability.log_odds(fitting.predict(fitted, without))
            ).mean()
        )
    return float(np.mean(moves))


def stability(
    fitted: Model, now: pl.DataFrame, later: pl.DataFrame
) -> dict[str, float]:
    """Share of unchanged users with the same first reason a week later.

    With and without knowledge of last week's reasons.
    """
    before = reasons.explain(fitted, now)
    informed, alone = (
        reasons.explain(fitted, later, past).select("user_id", "reason_1")
        for past in (before, None)
    )
    p = [
        s.select("user_id", pl.Series("p", fitting.predict(fitted, s)))
        for s in (now, later)
    ]
    both = before.join(informed, on="user_id", suffix="_later").join(
        alone, on="user_id", suffix="_alone"
    )
    both = both.join(p[0], on="user_id").join(p[1], on="user_id", suffix="_later")
    still = both.filter((pl.col("p") - pl.col("p_later")).abs() < STILL)
    same = {
        n: still.select(
            pl.col("reason_1").eq_missing(pl.col(f"reason_1_{n}")).mean()
        ).item()
        for n in ("later", "alone")
    }
    return {
        "n_still": still.height,
        "same_rate": same["later"],
        "same_alone_rate": same["alone"],
    }


def cost(fitted: Model, snapshot: pl.DataFrame) -> float:
    """Processor seconds to explain a million users, from a tenth of that."""
    many = snapshot.sample(N_TIMED, with_replacement=True, seed=0)
    started = time.process_time()
    reasons.explain(fitted, many)
    return (time.process_time() - started) * 1_000_000 / N_TIMED


def figures(fitted: Model, now: pl.DataFrame, later: pl.DataFrame) -> dict[str, Any]:
    """All figures of one model and two snapshots a week apart."""
    facts = {
        "candidate": fitted.candidate,
        "n_features": len(fitted.features),
        "n_users": now.height,
    }
    seconds = {"cpu_seconds_per_million": cost(fitted, now)}
    return facts | faithfulness(fitted, now) | stability(fitted, now, later) | seconds


def one(settings: Settings, trains: list[date], test: date | None) -> dict[str, Any]:
    """Figures of a model trained at the given cutoffs, or as the study says.

    It explains ``test`` and the week after, or the last two weeks of the log.
    """
    store = filled(settings)
    fitted = training.train(store, trains or training.training_cutoffs(store)).model
    first = test or Calendar.of(store).end - timedelta(weeks=1)
    now, later = (
        snapshots.observe(store, [first + timedelta(weeks=k)], fitted.plan)
        for k in (0, 1)
    )
    return figures(fitted, now, later)


def world(n_users: int, n_days: int, seed: int, folder: Path) -> dict[str, Any]:
    """Figures of one Markov world."""
    extracts.write(markov.markov(n_users, n_days, seed), folder, "table")
    return {"log": f"markov {seed}"} | one(load(folder / "churn.toml"), [], None)


def oulad(data: Path, folder: Path) -> dict[str, Any]:
    """Figures of the log oulad_vle."""
    settings = real_logs.study("oulad_vle", data, folder)
    trains = [date.fromisoformat(day) for day in real_logs.LOGS["oulad_vle"]["train"]]
    return {"log": "oulad_vle"} | one(settings, trains, OULAD_TEST)


def main() -> None:
    """Print one row per log."""
    command = parser(__doc__)
    command.add_argument("--users", type=int, default=6000)
    command.add_argument("--days", type=int, default=240)
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    command.add_argument("--data", type=Path, default=DATA)
    given = command.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary, wide_tables():
        folder = Path(temporary)
        for seed in given.seeds:
            rows.append(world(given.users, given.days, seed, folder / str(seed)))
        if (given.data / "oulad_vle" / "events.parquet").exists():
            rows.append(oulad(given.data, folder / "oulad"))
        print(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
