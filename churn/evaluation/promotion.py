"""Whether a challenger takes the place of the champion, by a paired comparison.

Both have scored the same users at the same past dates, so that most of what chance does
to one it does to the other as well, and small differences show.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from churn.evaluation import intervals

CHALLENGER, CHAMPION = "challenger", "champion"

FIGURES = ("auc", "log_loss")

WIDER = 1.31
"""Width of a 99 % interval of a normal distribution as a multiple of a 95 % one's."""


@dataclass(frozen=True)
class Margins:
    """By how much a challenger may be worse than the champion, above 0.

    AUC is surely not lower by more than ``auc_loss``; log loss was not higher by more
    than ``log_loss_rise``.
    """

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

    - Not worse: the 95 % interval of the gain in AUC lies above minus its margin, and
      the gain in log loss itself does. Its interval need not, since log loss moves from
      period to period with the level of churn, which no model foresees: few periods
      hardly ever prove that it is as good.
    - Better: not worse, and the 99 % interval of the gain in AUC lies above 0, or that
      of the gain in log loss does while AUC itself is no lower. An interval from few
      periods errs up to twice as often as it says, and there are two of them; this
      keeps the equal challengers that count as better below 5 %.
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
    auc, loss = gains
    promote, why = _decision(auc, loss, is_old, margins)
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
    auc: Difference,
    loss: Difference,
    is_old: bool,
    margins: Margins,
) -> tuple[bool, str]:
    """Whether to promote, and why, by the rule of ``decide``."""
    if auc.high < 0 and loss.high < 0:
        return False, "it is worse, by more than chance explains"
    if loss.gain < -margins.log_loss_rise:
        most = f"{margins.log_loss_rise:g}"
        return False, f"its error (log loss) was higher by more than {most}"
    if auc.high < -margins.auc_loss:
        return False, "its ranking (AUC) is worse than the study allows"
    if auc.low < -margins.auc_loss:
        return False, (
            "chance is too large to rule out that its ranking (AUC) is worse by more "
            f"than {margins.auc_loss:g}"
        )
    ranks_better = _is_surely_above_zero(auc)
    if ranks_better or (_is_surely_above_zero(loss) and auc.gain >= 0):
        name = "ranking (AUC)" if ranks_better else "error (log loss)"
        return True, f"it is better by its {name}, by more than chance explains"
    if is_old:
        return True, (
            f"its ranking (AUC) is not worse by more than {margins.auc_loss:g}, and it "
            "knows newer outcomes"
        )
    return False, "it is not better, and the champion is not old"


def _is_surely_above_zero(difference: Difference) -> bool:
    return difference.gain > WIDER * (difference.gain - difference.low)


def by_age_alone(is_old: bool, because: str) -> Decision:
    """The decision where the past allows no comparison: only an old one gives way."""
    age = "old" if is_old else "not old"
    return Decision(
        is_old, f"the past allows no comparison ({because}), and the champion is {age}"
    )


def without_comparison(why: str) -> Decision:
    """The decision where there is nothing to compare with, which promotes."""
    return Decision(True, why)
