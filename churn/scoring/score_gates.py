"""Gates on the scores: their level, and how many users Braze can identify."""

from datetime import date
from typing import Any

import polars as pl

from churn.events import addresses
from churn.model.fitting import Model
from churn.scoring.gate import finding
from churn.settings import Settings
from churn.store import Store


def score_shift(
    settings: Settings,
    cutoff: date,
    scores: pl.DataFrame,
    model: Model,
) -> dict[str, Any]:
    """Fails if the mean probability is far from the churn rate in training."""
    limit = settings.gates.max_score_shift
    mean = float(scores["probability"].to_numpy().mean())
    passed = abs(mean - model.churn_rate) <= limit and not scores.is_empty()
    if passed:
        sentence = (
            f"mean probability {mean:.1%} against a churn rate of "
            f"{model.churn_rate:.1%} in training"
        )
    else:
        sentence = (
            f"{scores.height} users scored, mean probability {mean:.1%}, but "
            f"{model.churn_rate:.1%} churned in training: look for missing events, or "
            "train again"
        )
    expected = f"within {limit:.0%} of {model.churn_rate:.1%}"
    seen = f"{mean:.1%}"
    return finding(
        cutoff, "score_shift", passed, sentence, expected=expected, seen=seen
    )


def calibrated(
    settings: Settings,
    cutoff: date,
    model: Model,
) -> dict[str, Any]:
    """Fails if the newest validation fold shows that the level is significantly off."""
    low, high = model.calibration or (float("nan"), float("nan"))
    limit = settings.gates.max_calibration_shift
    return finding(cutoff, **calibration_finding(low, high, limit))


def calibration_finding(
    low: float,
    high: float,
    limit: float,
) -> dict[str, Any]:
    """The finding of the gate ``calibration`` for a 95 % interval of the intercept.

    The gate fails if the whole interval lies beyond the limit; both are in log-odds. A
    small sample has a wide interval and so hardly ever fails by chance. NaN, which
    stands for no known outcome, passes.
    """
    passed = not (low > limit or high < -limit)
    seen = f"{low:+.2f} to {high:+.2f}"
    if not passed:
        way = "fewer" if high < 0 else "more"
        sentence = (
            f"probabilities are off by {seen} in log-odds, {way} users churned than "
            "was forecast: train again on newer cutoffs; cut segments by share until "
            "it holds"
        )
    elif low <= high:
        sentence = "the newest outcomes are near their forecast"
    else:
        sentence = "no outcome is known yet to compare the forecast with"
    return {
        "gate": "calibration",
        "passed": passed,
        "sentence": sentence,
        "expected": f"within ±{limit:g} in log-odds",
        "seen": seen,
    }


def match_rate(store: Store, scores: pl.DataFrame) -> dict[str, Any]:
    """Fails if too few scored users have an identifier of their own.

    The sentence says what that rests on: only a Currents extract tells whom Braze
    knows.
    """
    limit = store.settings.gates.min_match_rate
    report = addresses.match_report(store, scores)
    n, n_matched, n_shared = report.select("n", "n_matched", "n_shared").row(0)
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
