"""Gates on the scores: their level, and how many users Braze can identify."""

from datetime import date, timedelta
from typing import Any

import polars as pl

from churn.events import addresses
from churn.model.fitting import Model
from churn.scoring import ranks
from churn.scoring.gate import finding
from churn.settings import Settings
from churn.stats.probability import level_holds
from churn.store import Store


def score_shift(
    settings: Settings,
    cutoff: date,
    scores: pl.DataFrame,
    model: Model,
) -> dict[str, Any]:
    """Fails if the mean probability is far from the churn rate in training."""
    limit = settings.gates.max_score_shift
    values = scores["probability"].to_numpy()
    mean = float(values.mean()) if len(values) else None
    passed = mean is not None and abs(mean - model.churn_rate) <= limit
    seen = "not known" if mean is None else f"{mean:.1%}"
    if passed:
        sentence = (
            f"mean probability {seen} against a churn rate of {model.churn_rate:.1%} in "
            "training"
        )
    else:
        sentence = (
            f"{scores.height} users scored, mean probability {seen}, but "
            f"{model.churn_rate:.1%} churned in training: look for missing events, or "
            "train again"
        )
    expected = f"within {limit:.0%} of {model.churn_rate:.1%}"
    return finding(
        cutoff, "score_shift", passed, sentence, expected=expected, seen=seen
    )


def calibrated(
    settings: Settings,
    cutoff: date,
    scores: pl.DataFrame,
    model: Model,
) -> dict[str, Any]:
    """Fails if the model's level was off, or if all users look the same to it.

    The level is that of the newest validation fold, the last outcome known when the
    model was trained, see ``level_holds``; the sentence names its cutoff.
    """
    low, high = model.calibration or (float("nan"), float("nan"))
    limit = settings.gates.max_calibration_shift
    seen = f"{low:+.2f} to {high:+.2f}" if low <= high else "not known"
    holds = level_holds(low, high, limit)
    values = scores["probability"].round(ranks.DIGITS)
    is_constant = len(values) > 1 and values.n_unique() == 1
    if not holds:
        way = "fewer" if high < 0 else "more"
        sentence = (
            f"{_judged(model)} {way} users churned than was forecast, by {seen} in "
            "log-odds: train again on newer cutoffs; cut segments by share until it "
            "holds"
        )
    elif is_constant:
        seen = f"{values[0]:.1%} for every user"
        sentence = (
            f"all {len(values)} users have the same probability, so nobody "
            "stands out: look for missing events, or train again"
        )
    elif low <= high:
        sentence = f"{_judged(model)} as many churned as was forecast, or nearly so"
    else:
        sentence = (
            "not known yet: no cutoff before the newest training cutoffs has an outcome "
            "to compare a forecast with"
        )
    return finding(
        cutoff,
        "calibration",
        holds and not is_constant,
        sentence,
        expected=f"within ±{limit:g} in log-odds",
        seen=seen,
    )


def _judged(model: Model) -> str:
    """Of which users and days the model's calibration is, to begin a sentence."""
    newest = model.calibration_cutoff
    if newest is None:
        return "of the newest users whose outcome was known when the model was trained"
    windows = model.windows
    end = newest + timedelta(days=windows["lead_days"] + windows["horizon_days"])
    return f"of the users of {newest}, whose outcome was known by {end},"


def match_rate(store: Store, scores: pl.DataFrame) -> dict[str, Any]:
    """Fails if too few scored users have an identifier of their own.

    The sentence says what that rests on: only a Currents extract tells whom Braze
    knows.
    """
    limit = store.settings.gates.min_match_rate
    n, n_matched, n_shared = addresses.match_counts(store, scores)
    rate = n_matched / n if n else 0.0
    passed = rate >= limit
    sentence = (
        f"{n_matched} of {n} scored users ({rate:.1%}) {_what_is_matched(store)}; "
        f"{n_shared} share theirs with others"
    )
    if not passed:
        sentence += "; is identifier the right one, and do the extracts carry it?"
    return finding(
        scores["cutoff"][0],
        "match_rate",
        passed,
        sentence,
        expected=f"at least {limit:.0%}",
        seen=f"{rate:.1%}",
    )


def _what_is_matched(store: Store) -> str:
    """What the matched users have in common, as the second half of a sentence."""
    kind = store.settings.braze.kind
    if addresses.tells_whom_braze_knows(store.settings):
        return (
            f"have an identifier ({kind}) of their own, and Braze Currents names them"
        )
    return (
        f"have an identifier ({kind}) of their own; whether Braze knows it can't be "
        "told without a Currents extract"
    )
