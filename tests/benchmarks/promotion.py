"""How often a challenger is promoted: equal ones, worse ones, better ones.

    python -m tests.benchmarks.promotion covariance [--logs collegemsg online_retail_ii]
    python -m tests.benchmarks.promotion rule [--pairs 500]
    python -m tests.benchmarks.promotion pairs

The first measures on real logs how much two models of different kinds (the blend and a
linear classifier) err alike. Users who churned, and users who stayed, are looked at
apart: the correlation of both models' log-odds among them (``alike``), the correlation
of one model's log-odds from one test cutoff to the next (``lasting``), and by how much
the difference in AUC moves from cutoff to cutoff beyond what the users explain
(``moves``).

The second draws predictions with these correlations at four cutoffs nine days apart,
and counts promotions by `evaluation.promotion.decide`.

The third plays five pairs end to end on simulated apps: the champion is trained early,
or is a classifier of another kind, and a challenger is trained by `study.train()`.
"""

import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.dummy import DummyClassifier

import churn
from churn.evaluation import backtest, intervals, promotion
from churn.evaluation.promotion import CHALLENGER, CHAMPION, Margins
from churn.model import champion
from churn.simulate import extracts, markov, random_worlds
from churn.stats.probability import log_odds
from churn.store import Store

from . import real_logs
from .common import DATA, filled, parser, wide_tables

ALIKE = 0.93
"""Correlation of two models' log-odds among users of the same outcome; see covariance."""

LASTING = 0.87
"""Correlation of a model's log-odds of a user from one cutoff to the next."""

MOVES = 0.001
"""Standard deviation by which the difference in AUC moves from cutoff to cutoff."""

AUC = 0.80
"""AUC of the champion, about that of the real logs."""

N_CUTOFFS, STEP_DAYS, HORIZON_DAYS = 4, 9, 28

MARGINS = Margins(0.01, 0.01)


def covariance(logs: list[str]) -> Iterator[dict[str, Any]]:
    """What the pairs of each log have in common."""
    for name in logs:
        with tempfile.TemporaryDirectory() as folder:
            store = filled(real_logs.study(name, DATA, Path(folder)))
            newest = max(real_logs.cutoffs(name))
            rival = {"linear": churn.linear_classifier()}
            done = backtest.backtest(store, newest, rival, progress=False)
            yield {"log": name, **_in_common(done.predictions, store)}


def _in_common(predictions: pl.DataFrame, store: Store) -> dict[str, float]:
    pair = predictions.filter(pl.col("model").is_in(["chosen", "linear"]))
    scores = pair.with_columns(
        x=pl.Series(log_odds(pair["probability"].to_numpy()))
    ).with_columns(
        pl.col("x") - pl.col("x").mean().over("model", "cutoff", "churned"),
    )
    wide = scores.pivot("model", index=["user_id", "cutoff", "churned"], values="x")
    alike = wide.select(pl.corr("chosen", "linear")).item()
    later = wide.with_columns(
        pl.col("cutoff").rank("dense").cast(pl.Int32).alias("number")
    )
    before = later.with_columns(pl.col("number") + 1)
    both = later.join(before, on=["user_id", "number", "churned"])
    lasting = both.select(pl.corr("chosen", "chosen_right")).item()
    horizon = store.settings.windows.horizon_days
    found = intervals.bootstrap(pair, horizon, 0)
    row = (
        found.filter(figure="auc")
        .filter(pl.col("less").is_not_null())
        .row(0, named=True)
    )
    return {
        "alike": alike,
        "lasting": lasting,
        "auc_difference": row["value"],
        "users_half": (row["users_high"] - row["users_low"]) / 2,
        "half": (row["high"] - row["low"]) / 2,
    }


def drawn(
    rng: np.random.Generator,
    n_users: int,
    gain: float,
) -> pl.DataFrame:
    """Predictions of a pair whose challenger has an AUC higher by ``gain``.

    Log-odds are normal among churners and stayers, as far apart as the AUC says, and
    correlated between models and cutoffs. Both are calibrated by their own spread.
    """
    lasts = LASTING ** np.abs(np.subtract.outer(range(N_CUTOFFS), range(N_CUTOFFS)))
    models = np.array([[1, ALIKE], [ALIKE, 1]])
    root = np.linalg.cholesky(np.kron(lasts, models))
    noise = (rng.normal(size=(n_users, 2 * N_CUTOFFS)) @ root.T).reshape(
        n_users, N_CUTOFFS, 2
    )
    moves = rng.normal(size=N_CUTOFFS) * MOVES
    leaning = rng.normal(size=n_users)
    users = [f"u{n}" for n in range(n_users)]
    parts = []
    for k in range(N_CUTOFFS):
        churned = 0.75 * leaning + rng.normal(size=n_users) > 0.75
        rate = churned.mean()
        for m, (model, extra) in enumerate(
            [(CHAMPION, 0), (CHALLENGER, gain + moves[k])]
        ):
            apart = np.sqrt(2) * norm.ppf(AUC + extra)
            z = noise[:, k, m] + apart * (churned - 0.5)
            probability = expit(logit(rate) + apart * z)
            facts = {"user_id": users, "churned": churned, "probability": probability}
            day = date(2026, 1, 1) + timedelta(days=STEP_DAYS * k)
            parts.append(
                pl.DataFrame(facts).with_columns(
                    cutoff=pl.lit(day), model=pl.lit(model)
                )
            )
    return pl.concat(parts)


def rule(n_pairs: int) -> Iterator[dict[str, Any]]:
    """Share promoted by size of the app, true gain and age of the champion."""
    cases = [
        (1500, 0.0, False),
        (5000, 0.0, False),
        (5000, -0.02, False),
        (5000, -0.02, True),
        (5000, 0.02, False),
        (5000, 0.0, True),
    ]
    for n_users, gain, is_old in cases:
        promoted = []
        for seed in range(n_pairs):
            pair = drawn(np.random.default_rng(seed), n_users, gain)
            decision = promotion.decide(pair, HORIZON_DAYS, is_old, MARGINS, seed, 200)
            promoted.append(decision.promote)
        share = float(np.mean(promoted))
        error = np.sqrt(share * (1 - share) / n_pairs)
        yield {
            "users": n_users,
            "true gain in AUC": gain,
            "champion": "old" if is_old else "young",
            "promoted": share,
            "standard error": float(error),
        }


def pairs() -> Iterator[dict[str, Any]]:
    """Five pairs end to end: who was champion, who was promoted, and the gains."""
    worlds = {
        "drifting": lambda: random_worlds.world(2000, 260, 5),
        "steady": lambda: markov.markov(2000, 260, 3),
    }
    for name, world in worlds.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            extracts.write(world(), folder, "table", progress=False)
            study = churn.open(folder / "churn.toml", holds_events=False)
            study.ingest()
            newest = study.calendar.newest_mature()
            old = str(newest - timedelta(days=63))
            champions = {
                "trained nine weeks earlier": {"cutoff": old},
                "without skill": {"model": DummyClassifier()},
            }
            if name == "steady":
                champions["trained a day earlier"] = {
                    "cutoff": str(newest - timedelta(days=1))
                }
            for what, how in champions.items():
                study.train(**how).save()
                found = study.train().challenge()
                gains = {d.figure: d.gain for d in found.decision.differences}
                yield {
                    "world": name,
                    "champion": what,
                    "promoted": found.decision.promote,
                    **gains,
                    "why": found.decision.why,
                }
                study.store.place.remove(champion.FILE)


def main() -> None:
    """Print one of the three tables."""
    command = parser(__doc__)
    command.add_argument("what", choices=("covariance", "rule", "pairs"))
    command.add_argument("--pairs", type=int, default=500)
    command.add_argument(
        "--logs", nargs="+", default=["collegemsg", "online_retail_ii"]
    )
    given = command.parse_args()
    rows = {
        "covariance": lambda: covariance(given.logs),
        "rule": lambda: rule(given.pairs),
        "pairs": pairs,
    }[given.what]()
    with wide_tables(fmt_str_lengths=90, float_precision=4):
        found = []
        for row in rows:
            found.append(row)
            print(row, flush=True)
        print(pl.DataFrame(found))


if __name__ == "__main__":
    main()
