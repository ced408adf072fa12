"""Whether a challenger takes the place of the champion, by a paired comparison.

Both have scored the same users at the same past dates, so that most of what chance does
to one it does to the other as well, and small differences can be told.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from churn.evaluation import intervals

CHALLENGER, CHAMPION = "challenger", "champion"

FIGURES = ("auc", "log_loss")


@dataclass(frozen=True)
class Margins:
    """By how much a challenger may be worse than an old champion, above 0."""

    auc_loss: float
    log_loss_rise: float


@dataclass(frozen=True)
class Difference:
    """A figure of the challenger less that of the champion, with its 95 % interval.

    ``gain`` is turned so that above 0 the challenger is better.
    """

    figure: str
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Decision:
    """Whether to promote the challenger, and why.

    - ``why``: a sentence without a full stop.
    - ``differences``: those of AUC and log loss; none if nothing was compared.
    - ``n_cutoffs``: number of past dates that were compared.
    - ``by_users_alone``: whether the intervals hold for other users only, and not for
      other periods, since there was one date.
    """

    promote: bool
    why: str
    differences: tuple[Difference, ...] = ()
    n_cutoffs: int = 0
    by_users_alone: bool = False


def decide(
    predictions: pl.DataFrame,
    horizon_days: int,
    is_old: bool,
    margins: Margins,
    random_state: int,
    n_resamples: int = 1000,
) -> Decision:
    """Promote a challenger that is better, or one not worse than an old champion.

    ``predictions``: user_id, cutoff, churned, model (challenger or champion),
    probability. ``is_old``: whether the champion is old, so that a newer model that is
    as good is preferred.

    Better: the 95 % interval of the gain in AUC or in log loss lies above 0, and the
    other figure is not worse by more than its margin. Each of the two errs in 2.5 % of
    the cases upwards, so that of equal challengers at most 5 % count as better. Not
    worse: both intervals lie above minus the margin.
    """
    found = intervals.bootstrap(
        predictions, horizon_days, random_state, n_resamples=n_resamples
    )
    n_cutoffs = predictions["cutoff"].n_unique()
    # With one date, or one with both outcomes, the interval for periods is infinite.
    compared = found.filter(pl.col("less").is_not_null())
    alone = not np.isfinite(compared.select("low", "high").to_numpy()).all()
    gains = tuple(_gain(found, figure, alone) for figure in FIGURES)
    if not all(np.isfinite(gain.gain) for gain in gains):
        return by_age_alone(is_old, "all users had the same outcome")
    limits = (margins.auc_loss, margins.log_loss_rise)
    is_safe = [gain.low >= -most for gain, most in zip(gains, limits, strict=True)]
    is_better = [gain.low > 0 for gain in gains]
    promote, why = _decision(is_safe, is_better, is_old, gains, margins)
    return Decision(promote, why, gains, n_cutoffs, alone)


def _gain(
    found: pl.DataFrame,
    figure: str,
    by_users_alone: bool,
) -> Difference:
    row = found.row(
        by_predicate=(pl.col("figure") == figure) & pl.col("less").is_not_null(),
        named=True,
    )
    low, high = ("users_low", "users_high") if by_users_alone else ("low", "high")
    value, ends = row["value"], (row[low], row[high])
    is_turned = (row["model"] == CHALLENGER) == (figure == "log_loss")
    if is_turned:
        value, ends = -value, (-ends[1], -ends[0])
    return Difference(figure, value, *ends)


def _decision(
    is_safe: list[bool],
    is_better: list[bool],
    is_old: bool,
    gains: tuple[Difference, ...],
    margins: Margins,
) -> tuple[bool, str]:
    if any(is_better) and all(np.array(is_safe) | np.array(is_better)):
        name = "ranking (AUC)" if is_better[0] else "error (log loss)"
        return True, f"it is better by its {name}, by more than chance explains"
    if all(is_safe) and is_old:
        return True, (
            f"it is not worse by more than {margins.auc_loss:g} of AUC and "
            f"{margins.log_loss_rise:g} of log loss, and knows newer outcomes"
        )
    if all(is_safe):
        return False, "it is not better, and the champion is not old"
    if all(gain.high < 0 for gain in gains):
        return False, "it is worse, by more than chance explains"
    return False, (
        "chance is too large to rule out that it is worse by more than the study allows"
    )


def by_age_alone(is_old: bool, because: str) -> Decision:
    """The decision where the past allows no comparison: only an old one gives way."""
    age = "old" if is_old else "not old"
    return Decision(
        is_old, f"the past allows no comparison ({because}), and the champion is {age}"
    )


def without_comparison(why: str) -> Decision:
    """The decision where there is nothing to compare with, which promotes."""
    return Decision(True, why)
