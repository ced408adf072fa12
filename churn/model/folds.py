"""Validation folds: later cutoffs, each with what was known by then to learn from.

Time order is respected: a fold's training rows come from cutoffs whose horizon was over
at its validation cutoff. Labels are those known when the final model is trained, so if
events arrive late, a fold uses some labels that were not yet known at its cutoff.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from churn.features.cutoffs import Calendar
from churn.hashing import stable_hash
from churn.model import fitting
from churn.settings import Settings

MAX_FOLDS = 3
# Most training rows of a fold; the final fit may have more. A fold only compares members
# and rounds with each other, which so many rows tell apart.
MAX_TRAINING_ROWS = 60_000


@dataclass(frozen=True)
class Fold:
    """One validation cutoff and the rows that belong to it.

    ``training``: rows to learn from. ``newest``: all rows of the newest training
    cutoff. ``validation``: rows of the validation cutoff. ``open_cutoff``: rows of the
    cutoff whose horizon was still open on the day of the validation cutoff; null if
    there is none.
    """

    cutoff: date
    training: pl.DataFrame
    newest: pl.DataFrame
    validation: pl.DataFrame
    open_cutoff: pl.DataFrame | None

    @cached_property
    def y(self) -> np.ndarray:
        """Outcomes at the validation cutoff, shape (n,) of 0 and 1."""
        return fitting.target(self.validation)


def usable(
    snapshot: pl.DataFrame,
    settings: Settings,
) -> list[Fold]:
    """The folds at whose cutoff some users churned and some stayed, oldest first."""
    folds = every(snapshot, settings)
    return [fold for fold in folds if len(np.unique(fold.y)) == 2]


def every(
    snapshot: pl.DataFrame,
    settings: Settings,
) -> Iterator[Fold]:
    """The folds of a labelled snapshot whose training rows hold both outcomes."""
    labelled = with_outcome(snapshot)
    cutoffs = sorted(labelled["cutoff"].unique())
    calendar = Calendar.without_log(settings)
    for training_cutoffs, cutoff in validation_cutoffs(cutoffs, settings):
        is_training = pl.col("cutoff").is_in(training_cutoffs)
        training = sample(labelled.filter(is_training))
        if training["churned"].n_unique() < 2:
            continue
        open_rows = _at(labelled, calendar.open(cutoff) or date.max)
        yield Fold(
            cutoff=cutoff,
            training=training,
            newest=_at(labelled, max(training_cutoffs)),
            validation=_at(labelled, cutoff),
            open_cutoff=None if open_rows.is_empty() else open_rows,
        )


def validation_cutoffs(
    cutoffs: list[date],
    settings: Settings,
) -> list[tuple[list[date], date]]:
    """Training cutoffs and validation cutoff of each fold, oldest first.

    At most ``MAX_FOLDS``, spread evenly; the newest cutoff is always among them. They
    are no multiple of seven cutoffs apart, since their weekdays would then be the same.
    """
    folds = [(_mature(cutoffs, cutoff, settings), cutoff) for cutoff in cutoffs]
    usable = [fold for fold in folds if fold[0]]
    step = max(1, len(usable) // MAX_FOLDS)
    step -= step % 7 == 0
    newest_first = usable[::-1][::step][:MAX_FOLDS]
    return newest_first[::-1]


def with_outcome(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows whose outcome is known, without a copy of them if they come first."""
    n_known = rows.height - rows["churned"].null_count()
    first = rows.head(n_known)
    return rows.drop_nulls("churned") if first["churned"].null_count() else first


def _mature(
    cutoffs: list[date],
    as_of: date,
    settings: Settings,
) -> list[date]:
    return [c for c in cutoffs if settings.windows.horizon(c)[1] <= as_of]


def _at(
    rows: pl.DataFrame,
    cutoff: date,
) -> pl.DataFrame:
    return rows.filter(pl.col("cutoff") == cutoff)


def sample(
    rows: pl.DataFrame,
    most: int = MAX_TRAINING_ROWS,
) -> pl.DataFrame:
    """At most ``most`` rows: all rows of the users with the lowest stable hashes.

    A user's rows are taken together or not at all, and a smaller sample is a subset of
    a larger one.
    """
    if rows.height <= most:
        return rows
    return rows.filter(stable_hash("user_id").rank("max") <= most)
