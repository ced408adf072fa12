"""What the model's figures mean, in sentences for readers.

Sentences are Markdown. They say what the figure is good for before they name it.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from churn.evaluation.calibration import Fault, judge
from churn.evaluation.learning_curve import ENOUGH
from churn.evaluation.next_period import COVERAGE
from churn.evaluation.periods import n_independent
from churn.model.fitting import Model
from churn.model.selection import Choice
from churn.model.training import one_weekday
from churn.report.numbers import percent, within
from churn.settings import Settings, Windows

RULE = "the simple rule *longest silent first*"
"""What the baseline, recency, is called where nobody need know its name."""

AS_A_RANKING = "Use them to rank the users, not as percentages."

MEANINGS: dict[Fault, str] = {
    "none": ": nothing suggests that the probabilities are off.",
    "unknown": (
        ": whether the probabilities are off is not known, because all had the same "
        "outcome."
    ),
    "off": (
        ". **OUT OF BOUNDS: the level of the probabilities is off.** "
        f"{AS_A_RANKING} Train again on newer cutoffs, and until the level holds cut "
        "segments by share, not by probability."
    ),
    "flat": (
        ". **OUT OF BOUNDS: the probabilities don't separate those who left from those "
        "who stayed**, or separate them completely, so that their spread can't be "
        "judged."
    ),
    "extreme": (
        f". **OUT OF BOUNDS: high and low probabilities are too far apart.** "
        f"{AS_A_RANKING}"
    ),
    "timid": (
        f". **OUT OF BOUNDS: high and low probabilities are not far enough apart.** {AS_A_RANKING}"
    ),
}
"""How a sentence about the newest test cutoff ends, by what is wrong there."""

FEW_FORECASTS = 500
"""Tested forecasts below which chance moves the weights more than the log does.

The prior on the usual weights counts as 40 forecasts at each cutoff.
"""


def training(model: Model, settings: Settings) -> str:
    """What a model learned from, and how its probabilities are corrected."""
    most = settings.backtest.max_training_rows
    warning = one_weekday(model.cutoffs)
    return (
        f"**{model.model_id}** learned from {model.n_rows:,} rows (at most {most:,}) "
        f"of {len(model.cutoffs)} cutoffs; {model.churn_rate:.1%} of them churned. "
        f"Correction of the level: {model.correction.kind}."
        f"{warning and f' **WARNING: {warning}.**'}"
        f"{model.gaps and f' **Missing data: {model.gaps}.**'}"
    )


def borrowed(choice: Choice) -> str:
    """What of a model's recipe its own log could not show; empty for enough tests.

    >>> from churn.model.pipelines import Recipe
    >>> borrowed(Choice(Recipe({"logistic": 1.0})))[:44]
    'The log is too short to test the members of '
    """
    folds = choice.folds
    if folds.is_empty():
        return (
            "The log is too short to test the members of the blend against each other: "
            "weights and rounds are the usual ones for so many users, and nothing "
            "could be corrected."
        )
    tested = folds.filter(pl.col("candidate") == folds["candidate"].first())
    n = int(tested["n"].sum())
    if n >= FEW_FORECASTS:
        return ""
    return (
        f"Only {n:,} forecasts at {tested.height} cutoff(s) could be tested, so the "
        "weights lean strongly on the usual ones for so many users."
    )


def answer(figures: pl.DataFrame, gains: pl.DataFrame, windows: Windows) -> str:
    """Whom the chosen model finds, in two sentences, over all test cutoffs.

    ``figures``: from ``evaluation.metrics.by_cutoff``; ``gains``: from ``lift_table``.
    """
    is_chosen = pl.col("model") == "chosen"
    over_all = figures.filter(is_chosen & pl.col("cutoff").is_null())
    row = over_all.row(0, named=True)
    if not row["churn_rate"]:
        return (
            "**Nobody left at any date tested:** how well those who leave are found is "
            "not known."
        )
    tenth = row["churn_rate_top_tenth"]
    return (
        f"**Of the riskiest tenth {10 * tenth:.0f} in 10 ({percent(tenth)}) did not "
        f"come back {within(windows)}, of all users {percent(row['churn_rate'])}.** "
        f"{_reached(gains)}"
    )


def _reached(gains: pl.DataFrame) -> str:
    fifth = gains.filter(pl.col("depth") == 0.2)
    captures = dict(fifth.select("model", "capture").iter_rows())
    by_rule = ""
    if "recency" in captures:
        by_rule = f"; {RULE} would have reached {percent(captures['recency'])}"
    return (
        "Messages to the riskiest fifth would have reached "
        f"{percent(captures['chosen'])} of those who left{by_rule}."
    )


def evidence(cutoffs: Sequence[date], horizon_days: int) -> str:
    """On how many independent periods figures over these test cutoffs rest.

    >>> evidence([date(2026, 3, 1)], 28)[:54]
    'The figures rest on a single date tested: how far anot'
    """
    if len(cutoffs) < 2:
        return (
            "The figures rest on a single date tested: how far another period would "
            "move them is not known."
        )
    spread = (max(cutoffs) - min(cutoffs)).days
    n = n_independent(cutoffs, horizon_days)
    return (
        f"The figures rest on {len(cutoffs)} dates tested within {spread} days, which "
        f"look {horizon_days} days ahead and so are worth {n:.1f} independent periods; "
        "intervals allow for what another period may bring."
    )


def next_period(expected: pl.DataFrame) -> str:
    """What to expect of the next scoring, from ``evaluation.next_period.estimate``.

    >>> figures = {"figure": ["auc", "log_loss"], "estimate": [0.83, 0.5]}
    >>> limits = {"low": [0.8, 0.4], "high": [0.86, 0.6]}
    >>> next_period(pl.DataFrame(figures | limits))[:56]
    'At the next scoring expect an AUC of 0.830 (0.800 to 0.8'
    """
    auc, log_loss = (_expected(row) for row in expected.iter_rows(named=True))
    if expected["low"].is_null().any():
        trust = (
            "How far off that may be is not known: less than two periods with a known "
            "outcome lie behind it that don't overlap."
        )
    else:
        trust = (
            f"Of such intervals {COVERAGE:.0%} hold the figure that then comes true; "
            "they are wide where past figures, or the churn rate, moved much."
        )
    return (
        f"At the next scoring expect an AUC of {auc} and a log loss of {log_loss}. "
        "AUC: how often a churner is ranked above a user who stays. Log loss: lower is "
        f"better. {trust}"
    )


def _expected(row: dict[str, Any]) -> str:
    if row["estimate"] is None:
        return "unknown size"
    if row["low"] is None:
        return f"{row['estimate']:.3f}"
    return f"{row['estimate']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def calibration(table: pl.DataFrame, limit: float) -> str:
    """Whether the newest test cutoff's probabilities mean what they say.

    If not, what to do. ``table``: that of ``evaluation.calibration.by_cutoff``.
    ``limit``: ``gates.max_calibration_shift``.
    """
    row = table.row(-1, named=True)
    forecast = row["forecast_churn_rate"]
    actual = row["churn_rate"]
    compared = (
        f"At {row['cutoff']} a churn rate of {forecast:.1%} was forecast, and "
        f"{actual:.1%} churned"
    )
    fault = judge(row, limit)
    if fault == "slightly off":
        way = "low" if actual > forecast else "high"
        return f"{compared}: too {way} by more than chance, but within the limit."
    return f"{compared}{MEANINGS[fault]}"


def ceiling(skill: float | None) -> str:
    """What a ceiling skill means; empty where the true probabilities are unknown."""
    if skill is None:
        return ""
    if skill != skill:
        return "This app is simulated, and nothing tells its users apart."
    return (
        f"This app is simulated: the model knows {skill:.0%} of what could be known "
        "(100% would be the true probabilities)."
    )


def learning_curve(table: pl.DataFrame) -> str:
    """How many users, and how many days of history, are enough."""
    if table.is_empty():
        return (
            "Not run, since it trains a dozen models: "
            "`churn run evaluate -p learning_curve=true`."
        )
    parts = table.partition_by("what", maintain_order=True)
    return " ".join(_enough(part) for part in parts)


def _enough(part: pl.DataFrame) -> str:
    what = part["what"][0]
    known = part.drop_nulls("log_loss")
    if known.height < 2:
        return f"Too few {what} to say how many are enough."
    most = known["n"][-1]
    is_close = pl.col("log_loss") <= pl.col("log_loss").last() + ENOUGH
    enough = known.filter(is_close)["n"][0]
    if enough == most:
        return f"More {what} than the {most:,} there are may still help."
    return (
        f"{enough:,} {what} are enough: with all {most:,} the log loss is lower by "
        f"less than {ENOUGH}."
    )
