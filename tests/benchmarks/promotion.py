"""How often a challenger is promoted: equal ones, worse ones, better ones.

    python -m tests.benchmarks.promotion covariance [--logs collegemsg online_retail_ii]
    python -m tests.benchmarks.promotion rule [--pairs 500]
    python -m tests.benchmarks.promotion pairs

The first measures on real logs how much two models err alike: the blend against a linear
classifier, and against the blend that was trained 63 days earlier. Users who churned,
and users who stayed, are looked at apart: the correlation of both models' log-odds among
them (``alike``), and that of one model's log-odds from one test cutoff to the next
(``lasting``). ``auc_moves`` and ``loss_moves`` are the standard deviations by which the
differences move from cutoff to cutoff beyond what chance among users explains; 0 where
it explains more than there is.

The second draws predictions with these correlations and moves at four cutoffs nine days
apart, whose horizons overlap and share what moves the figures, and counts promotions by
`evaluation.promotion.decide`.

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
from churn.model import training
from churn.simulate import extracts, markov, random_worlds
from churn.stats.probability import log_odds
from churn.store import Store

from . import real_logs
from .common import DATA, filled, parser, wide_tables

ALIKE = 0.93
"""Correlation of two models' log-odds among users of the same outcome; see covariance."""

LASTING = 0.87
"""Correlation of a model's log-odds of a user from one cutoff to the next."""

MOVES = 0.004
"""By how much the difference in AUC moves from cutoff to cutoff; the blend against an
older one on online_retail_ii. Against the linear classifier it does not move.
"""

LEVEL, LEVEL_APART = 0.35, 0.2
"""Standard deviations of the log-odds by which both models' level is off at a cutoff, and
by which one is off from the other; log loss then moves by 0.016, as on that log.
"""

AUC = 0.80
"""AUC of the champion, about that of the real logs."""

N_CUTOFFS, STEP_DAYS, HORIZON_DAYS = 4, 9, 28

MARGINS = Margins(0.01, 0.01)


def covariance(logs: list[str]) -> Iterator[dict[str, Any]]:
    """What the pairs of each log have in common, at eight cutoffs."""
    for name in logs:
        with tempfile.TemporaryDirectory() as folder:
            store = _with_tests(filled(real_logs.study(name, DATA, Path(folder))), 8)
            newest = max(real_logs.cutoffs(name))
            earlier = newest - timedelta(days=63)
            cutoffs = training.training_cutoffs(store, as_of=earlier)
            old = training.train(store, cutoffs).model
            rival = {"linear": churn.linear_classifier()}
            done = backtest.backtest(store, newest, rival, False, old)
            horizon = store.settings.windows.horizon_days
            for other in ("linear", CHAMPION):
                chosen = pl.col("model").is_in(["chosen", other])
                pair = done.predictions.filter(chosen)
                common = _in_common(pair, other, horizon)
                yield {"log": name, "other": other, **common}


def _with_tests(store: Store, n: int) -> Store:
    tests = store.settings.backtest.model_copy(update={"n_test_cutoffs": n})
    return store.under(store.settings.model_copy(update={"backtest": tests}))


def _in_common(pair: pl.DataFrame, other: str, horizon: int) -> dict[str, float]:
    key = ["user_id", "cutoff", "churned"]
    odds = pl.Series("x", log_odds(pair["probability"].to_numpy()))
    group = ["model", "cutoff", "churned"]
    scores = pair.with_columns(odds).with_columns(
        pl.col("x") - pl.col("x").mean().over(group)
    )
    wide = scores.pivot("model", index=key, values="x")
    number = pl.col("cutoff").rank("dense").cast(pl.Int32).alias("number")
    later = wide.with_columns(number)
    before = later.with_columns(pl.col("number") + 1)
    both = later.join(before, on=["user_id", "number", "churned"])
    return {
        "alike": wide.select(pl.corr("chosen", other)).item(),
        "lasting": both.select(pl.corr("chosen", "chosen_right")).item(),
        **_moves(pair, other, horizon),
    }


def _moves(pair: pl.DataFrame, other: str, horizon: int) -> dict[str, float]:
    """Mean differences, and how far they move beyond chance among users."""
    key = ["user_id", "cutoff", "churned"]
    wide = pair.pivot("model", index=key, values="probability").sort(key[1::-1])
    _, figures = intervals._resampled(wide, ["chosen", other], 0, 300)
    days = wide["cutoff"].unique().sort().to_physical().to_numpy()
    gap = np.abs(np.subtract.outer(days, days))
    centring = np.eye(len(days)) - 1 / len(days)
    apart = np.trace(centring @ np.clip(1 - gap / horizon, 0, None) @ centring)
    found = {}
    for name, values in (("auc", figures["auc"]), ("loss", figures["log_loss"])):
        difference = values["chosen"] - values[other]
        by_chance = np.trace(centring @ np.cov(difference[:, 1:]))
        between = np.sum((centring @ difference[:, 0]) ** 2)
        found[f"{name}_difference"] = float(difference[:, 0].mean())
        found[f"{name}_moves"] = float(np.sqrt(max(0, between - by_chance) / apart))
    return found


def drawn(
    rng: np.random.Generator,
    n_users: int,
    gain: float,
) -> pl.DataFrame:
    """Predictions of a pair whose challenger has an AUC higher by ``gain``.

    Log-odds are normal among churners and stayers, as far apart as the AUC says, and
    correlated between models and cutoffs. Both are calibrated by their own spread, but
    for a level that is off.
    """
    lasts = LASTING ** np.abs(np.subtract.outer(range(N_CUTOFFS), range(N_CUTOFFS)))
    models = np.array([[1, ALIKE], [ALIKE, 1]])
    root = np.linalg.cholesky(np.kron(lasts, models))
    noise = (rng.normal(size=(n_users, 2 * N_CUTOFFS)) @ root.T).reshape(
        n_users, N_CUTOFFS, 2
    )
    days = STEP_DAYS * np.subtract.outer(range(N_CUTOFFS), range(N_CUTOFFS))
    shared = np.linalg.cholesky(np.clip(1 - np.abs(days) / HORIZON_DAYS, 0, None))
    moves = shared @ rng.normal(size=N_CUTOFFS) * MOVES
    level = shared @ rng.normal(size=N_CUTOFFS) * LEVEL
    apart_by = shared @ rng.normal(size=(N_CUTOFFS, 2)) * LEVEL_APART / np.sqrt(2)
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
            off = level[k] + apart_by[k, m]
            probability = expit(logit(rate) + off + apart * z)
            facts = {"user_id": users, "churned": churned, "probability": probability}
            day = date(2026, 1, 1) + timedelta(days=STEP_DAYS * k)
            parts.append(
                pl.DataFrame(facts).with_columns(
                    cutoff=pl.lit(day), model=pl.lit(model)
                )
            )
    return pl.concat(parts)


def rule(n_pairs: int) -> Iterator[dict[str, Any]]:
    """Share promoted by size of the app and true gain, in place of a young or an old one.

    The intervals of a pair are the same for both ages, so they are computed once.
    """
    for n_users, gain in ((1500, 0.0), (5000, 0.02), (5000, -0.02), (5000, 0.0)):
        promoted = []
        for seed in range(n_pairs):
            pair = drawn(np.random.default_rng(seed), n_users, gain)
            found = promotion.decide(pair, HORIZON_DAYS, True, MARGINS, seed, 100)
            auc, loss = found.differences
            if_young, _ = promotion._decision(auc, loss, False, MARGINS)
            promoted.append((if_young, found.promote))
        for age, share in zip(("young", "old"), np.mean(promoted, axis=0), strict=True):
            yield {
                "users": n_users,
                "true gain in AUC": gain,
                "champion": age,
                "promoted": float(share),
                "standard error": float(np.sqrt(share * (1 - share) / n_pairs)),
            }


def pairs() -> Iterator[dict[str, Any]]:
    """Five pairs end to end: who was champion, who was promoted, and the gains."""
    worlds = {
        "drifting": lambda: random_worlds.world(2000, 220, 5),
        "steady": lambda: markov.markov(2000, 220, 3),
    }
    for name, world in worlds.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            extracts.write(world(), folder, "table", progress=False)
            study = churn.open(folder / "churn.toml", holds_events=False)
            study.ingest()
            for what, how in _champions(study, name).items():
                study.train(**how).save()
                found = study.train().challenge()
                gains = {
                    d.figure: f"{d.gain:+.4f} ({d.low:+.4f} to {d.high:+.4f})"
                    for d in found.decision.differences
                }
                facts = {"world": name, "champion": what}
                yield {**facts, "promoted": found.decision.promote, **gains}


def _champions(study: churn.Study, world: str) -> dict[str, dict[str, Any]]:
    """How each champion of a world is trained."""
    newest = study.calendar.newest_mature()
    dummy = {"model": DummyClassifier()}
    old = {"cutoff": str(newest - timedelta(days=42))}
    found = {"without skill": dummy, "trained six weeks earlier": old}
    if world == "steady":
        found["trained a day earlier"] = {"cutoff": str(newest - timedelta(days=1))}
    return found


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
