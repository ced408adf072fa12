"""Whether reasons are faithful to the model, the same next week, and cheap.

    python tests/benchmarks/reasons.py [--users 6000] [--days 240] [--seeds 0 1] [--data
    ../shared/data]

One row per Markov world and, where its data is, for the log oulad_vle. A model is
trained once and explains two cutoffs a week apart.

times_feature: mean move of the log-odds when the kind of the first reason takes typical
values, in units of that when one random feature of the model does. times_kind: in units
of that when a random other kind does. n_still: users whose probability moved by less
than 0.02 in the week; same_rate: of those, who have the same first reason;
same_alone_rate: who would, were the reasons of the week before not known.
cpu_seconds_per_million: to explain a million users.
"""

import argparse
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churn.events import ingest
from churn.features import snapshots
from churn.features.catalogue import KINDS
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.model.fitting import Model
from churn.scoring import reasons
from churn.settings import Settings, load, parse
from churn.simulate import extracts, markov
from churn.stats import probability
from churn.store import open_filled

STILL = 0.02
N_TIMED = 100_000
OULAD = ("2013-04-01", "2013-05-01", "2013-06-01", "2013-07-01")  # as in real_logs.py
OULAD_TEST = date(2013, 12, 15)


def faithfulness(fitted: Model, snapshot: pl.DataFrame) -> dict[str, float]:
    """How far the first reason's kind moves the score, against one feature and against
    another kind.
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
    """Mean move of the log-odds when one feature takes its typical value, over users
    and features.
    """
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
    """Of users whose probability hardly moved in a week: who has the same first reason,
    with and without memory.
    """
    before = reasons.explain(fitted, now)
    told, alone = (
        reasons.explain(fitted, later, past).select("user_id", "reason_1")
        for past in (before, None)
    )
    p = [
        s.select("user_id", pl.Series("p", fitting.predict(fitted, s)))
        for s in (now, later)
    ]
    both = before.join(told, on="user_id", suffix="_later").join(
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
    """Train at the given cutoffs, or as the study says, and explain ``test``, or the
    last but one week.
    """
    ingest.ingest(settings, progress=False)
    store = open_filled(settings)
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


def oulad(file: Path, folder: Path) -> dict[str, Any]:
    """Figures of the log oulad_vle."""
    windows = {"horizon_days": 30, "eligible_days": 30}
    settings = parse(
        {
            "extracts": [{"source": "table", "path": str(file.resolve())}],
            "windows": windows,
        },
        folder,
    )
    return {"log": "oulad_vle"} | one(
        settings, [date.fromisoformat(c) for c in OULAD], OULAD_TEST
    )


def main() -> None:
    """Print one row per log."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=6000)
    parser.add_argument("--days", type=int, default=240)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared/data"
    )
    given = parser.parse_args()
    log = given.data / "oulad_vle" / "events.parquet"
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            world(given.users, given.days, seed, Path(folder) / str(seed))
            for seed in given.seeds
        ]
        rows += [oulad(log, Path(folder) / "oulad")] if log.exists() else []
    with pl.Config(
        tbl_cols=20,
        tbl_width_chars=200,
        tbl_hide_dataframe_shape=True,
        float_precision=3,
    ):
        print(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
