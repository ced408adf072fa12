"""Verdicts about a model: what it learned, and whether its forecasts can be used."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from churn.evaluation.calibration import judge
from churn.evaluation.periods import n_independent
from churn.model.fitting import Model
from churn.model.selection import Choice, choice_metrics
from churn.model.training import one_weekday
from churn.report.forecast_sentences import FEW_FORECASTS, RULE, answer
from churn.report.money_sentences import profit_in_short
from churn.report.numbers import counted, percent, span
from churn.report.verdict import Tone, Verdict
from churn.settings import Settings

Stakes = tuple[float, float, float]
"""Value of a saved user, cost of a contact, share of contacted leavers who stay."""


def training(
    model: Model,
    choice: Choice,
    until: date | None,
) -> Verdict:
    """What was learned and from what, and whether it did better than a simple rule."""
    learned = (
        f"**It learned from {model.n_rows:,} users as they were at "
        f"{counted(len(model.cutoffs), 'past date')} "
        f"({span(min(model.cutoffs), max(model.cutoffs))}), of whom "
        f"{percent(model.churn_rate)} then did not come back.** A user counts once for "
        "each date."
    )
    warnings = tuple(filter(None, (one_weekday(model.cutoffs), model.gaps)))
    compared, is_tested = _compared(choice)
    tone: Tone = "caution" if warnings or not is_tested else "good"
    sentences = (learned, compared, *(f"Mind: {text}." for text in warnings))
    action = "Run `3_evaluate`, which says whether the forecasts can be used."
    return Verdict("Trained", tone, sentences, action, until)


def _compared(choice: Choice) -> tuple[str, bool]:
    """How the model did on later dates, and whether that rests on enough forecasts."""
    folds = choice.folds
    if folds.is_empty():
        return (
            "The log is too short to test it on later dates: the parts of the model "
            "have their usual weights.",
            False,
        )
    tested = folds.filter(pl.col("candidate") == folds["candidate"].first())
    n = int(tested["n"].sum())
    dates = counted(tested.height, "later date")
    losses = choice_metrics(choice)
    rule = losses.get("log_loss recency")
    own = losses.get("log_loss blend")
    if rule is None or own is None:
        return f"Tested on {n:,} forecasts at {dates}.", n >= FEW_FORECASTS
    way = "nearer to" if own < rule else "no nearer to"
    return (
        f"Tested on {n:,} forecasts at {dates}, it was {way} what then happened than "
        f"{RULE} (error {own:.3f} against {rule:.3f}; these tests chose its parts, so "
        "they are slightly kind).",
        n >= FEW_FORECASTS,
    )


@dataclass(frozen=True)
class Evidence:
    """What an evaluation found, in the frames of ``evaluation``.

    ``figures``: metrics.by_cutoff; ``gains``: metrics.lift_table; ``levels``:
    calibration.by_cutoff; ``intervals``: intervals.bootstrap; ``newest``: predictions
    of the chosen model at the newest test cutoff.
    """

    figures: pl.DataFrame
    gains: pl.DataFrame
    levels: pl.DataFrame
    intervals: pl.DataFrame
    newest: pl.DataFrame

    @property
    def dates(self) -> list[date]:
        """The dates tested, oldest first."""
        return self.levels["cutoff"].to_list()


def evaluation(
    found: Evidence,
    settings: Settings,
    stakes: Stakes,
    until: date | None,
) -> Verdict:
    """Whether the forecasts can be used, for what, and how far to trust them."""
    figures = _over_all(found.figures)
    if not 0 < figures["churn_rate"] < 1:
        return _one_outcome(figures["churn_rate"], found.dates, settings, until)
    word, tone, action = _judged(found, settings)
    sentences = (
        answer(found.figures, found.gains, settings.windows),
        profit_in_short(found.newest, *stakes, settings.activity.currency),
        _trust(found.levels, settings),
    )
    return Verdict(word, tone, sentences, action, until)


def _over_all(figures: pl.DataFrame) -> dict[str, float]:
    is_chosen = pl.col("model") == "chosen"
    return figures.filter(is_chosen & pl.col("cutoff").is_null()).row(0, named=True)


def _one_outcome(
    churn_rate: float,
    dates: Sequence[date],
    settings: Settings,
    until: date | None,
) -> Verdict:
    who = "Everybody" if churn_rate else "Nobody"
    sentence = (
        f"{who} left at {counted(len(dates), 'past date')} tested: how well those who "
        "leave are told from those who stay is not known."
    )
    action = (
        f"Look in `1_explore` whether {settings.windows.horizon_days} days are the "
        "right silence to call leaving."
    )
    return Verdict("Not known", "caution", (sentence,), action, until)


def _judged(found: Evidence, settings: Settings) -> tuple[str, Tone, str]:
    """The word, its tone and what to do."""
    if not _beats_chance(found.intervals):
        return (
            "Do not use",
            "bad",
            "Do not send these scores: look at the definition in `1_explore`, or "
            "collect more history.",
        )
    is_better, is_certain = _beats_rule(found.intervals)
    if not is_better:
        return (
            "Not better than a simple rule",
            "caution",
            "Message the longest silent first; more history or another definition "
            "helps more than another model.",
        )
    top = settings.segments[0].name
    newest = found.levels.row(-1, named=True)
    fault = judge(newest, settings.gates.max_calibration_shift)
    if fault in {"off", "flat", "extreme", "timid"}:
        return (
            "Use with care",
            "caution",
            "Use the order of the users and cut segments by share (`share` in "
            "churn.toml): the percentages are off. Train again on newer dates.",
        )
    if not is_certain or fault == "unknown":
        return (
            "Use with care",
            "caution",
            f"Run `4_score` and message segment `{top}`; look here again when more "
            "dates have been tested.",
        )
    return "Usable", "good", f"Run `4_score`, and message segment `{top}`."


def _beats_chance(intervals: pl.DataFrame) -> bool:
    """Whether leavers are ranked above stayers more often than chance would."""
    auc = (pl.col("figure") == "auc") & (pl.col("model") == "chosen")
    own = intervals.filter(auc & pl.col("less").is_null()).row(0, named=True)
    return bool(own["users_low"] > 0.5)


def _beats_rule(intervals: pl.DataFrame) -> tuple[bool, bool]:
    """Whether the model was better than recency, and would be in other periods.

    A better order of the users is enough, since they can be messaged by it; better
    percentages are, unless the order is worse.
    """
    is_pair = (pl.col("model") == "chosen") & (pl.col("less") == "recency")
    rows = {row["figure"]: row for row in intervals.filter(is_pair).to_dicts()}
    auc, loss = rows["auc"], rows["log_loss"]
    was_worse = auc["users_high"] < 0
    was_better = auc["users_low"] > 0 or loss["users_high"] < 0
    is_certain = auc["low"] > 0 or loss["high"] < 0
    return was_better and not was_worse, is_certain


def _trust(levels: pl.DataFrame, settings: Settings) -> str:
    """How far the expected share of leavers was off, and on how much that rests."""
    missed = (pl.col("forecast_churn_rate") - pl.col("churn_rate")).abs()
    worst = levels.sort(missed).row(-1, named=True)
    dates = levels["cutoff"].to_list()
    expected = percent(worst["forecast_churn_rate"])
    actual = percent(worst["churn_rate"])
    if len(dates) < 2:
        return (
            f"Compared with what happened after a single date, {dates[0]}: {expected} "
            f"were expected to leave and {actual} did. How far off another period "
            "would be is not known."
        )
    n = n_independent(dates, settings.windows.horizon_days)
    return (
        f"Compared with what happened after {len(dates)} past dates "
        f"({span(dates[0], dates[-1])}), which are worth {n:.1f} separate periods: the "
        f"share expected to leave was off most at {worst['cutoff']}, where {expected} "
        f"were expected and {actual} left. Another period may be further off."
    )
