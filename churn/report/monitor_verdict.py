"""The verdict of the monitor, and sentences about what came true."""

from datetime import date

import polars as pl

from churn.monitoring.judgement import Judgement
from churn.report.numbers import counted, percent
from churn.report.verdict import Tone, Verdict

WORDS: dict[str, tuple[str, Tone]] = {
    "send": ("Send", "good"),
    "warn": ("Send, with a warning", "caution"),
    "hold": ("Hold", "bad"),
}
"""The decision in words, with its tone."""

ACTIONS = {
    "send": "Nothing needs doing.",
    "warn": "Read the warning; the segments may be used. Run `3_evaluate` to see more.",
    "hold": "Train again with `churn run train`; until another model is champion nothing "
    "is sent.",
}


def monitor(
    judged: Judgement,
    closed: pl.DataFrame,
    first_outcome: date | None,
    until: date | None,
) -> Verdict:
    """Whether to go on sending, what came true, and how sure that is.

    ``closed``: the figures of closed cutoffs. ``first_outcome``: when the first outcome
    is known.
    """
    word, tone = WORDS[judged.decision]
    if closed.is_empty():
        sentences = (
            span(closed, first_outcome),
            *_listed(judged.reasons),
            "Until then only drift and early returns can be judged.",
        )
        return Verdict(
            "Nothing to compare yet" if judged.decision == "send" else word,
            tone,
            sentences,
            ACTIONS[judged.decision],
            until,
        )
    sentences = (_newest(closed), *_listed(judged.reasons), _held(closed))
    return Verdict(word, tone, sentences, ACTIONS[judged.decision], until)


def _listed(reasons: tuple[str, ...]) -> list[str]:
    return [f"{reason[0].upper()}{reason[1:]}." for reason in reasons]


def _newest(closed: pl.DataFrame) -> str:
    row = closed.row(-1, named=True)
    auc = (
        ""
        if row["auc"] is None
        else f"; the forecasts ranked them with AUC {row['auc']:.3f}"
    )
    return (
        f"**Of the {counted(row['n'], 'user')} scored at {row['cutoff']}, "
        f"{percent(row['mean_probability'])} were expected not to come back, and "
        f"{percent(row['churn_rate'])} did not**{auc}."
    )


def _held(closed: pl.DataFrame) -> str:
    """How often the AUC lay where it was promised to be."""
    known = closed.drop_nulls(["auc", "auc_low", "auc_high"])
    if known.is_empty():
        return "What was expected of these scorings was not recorded."
    n_held = known.filter(pl.col("auc").is_between("auc_low", "auc_high")).height
    return (
        f"At {n_held} of {known.height} closed dates the AUC lay in the interval that was "
        "stated when they were scored and that holds in 8 of 10 cases; dates whose "
        "horizons overlap are hardly independent."
    )


def span(
    closed: pl.DataFrame,
    first_outcome: date | None,
) -> str:
    """From when until when there are outcomes, or when the first one comes."""
    if closed.height:
        first, last = closed["cutoff"][0], closed["cutoff"][-1]
        return (
            f"{counted(closed.height, 'scoring')} of {first} to {last} have outcomes."
        )
    if first_outcome is None:
        return "Nothing has been scored yet: run `churn run score`."
    return (
        f"No outcome is known yet. The first comes on {first_outcome}, when the horizon "
        "of the oldest scores is over."
    )
