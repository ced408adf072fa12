"""The leakage check: no feature or label may use information from the future.

A sample of the store's users is copied under pseudonyms into two temporary stores. In
one of them everything dated, received or learned from a day on is replaced by false
data (see ``corruption``). Both copies pass through all steps of a training: devices are
matched with users, the plan is made, and features and labels are built. Results that
rest on data from before that day must be the same in both. The check therefore finds a
leak without knowing its table or function. ``check`` runs in every training, at two
cutoffs and on a few hundred users.
"""

import logging
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import polars.selectors as cs

from churn.errors import LeakError
from churn.features import corruption, snapshots
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.store import Store

log = logging.getLogger(__name__)

TOLERANCE = 1e-9
"""Largest relative difference of equal numbers, as the order of summation varies."""

N_LISTED = 10
"""Number of changed columns that an error message lists."""

KEY = ["user_id", "cutoff"]
LABELS = ("churned", "return_days")
LABEL_PREFIX = "the label "


def check(
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
    as_of: date,
) -> int:
    """Stop a training that uses the future; return the number of rows compared.

    When data is corrupted from the oldest or the newest cutoff on, no feature at or
    before that cutoff may change, nor may the plan made at the newest. When data is
    corrupted from the end of the settling days after ``as_of`` on, no label may change.
    Raises LeakError naming the features, the labels or the parts of the plan that
    changed by more than rounding.
    """
    tested = sorted({min(cutoffs), max(cutoffs)})
    oldest, newest = tested[0], tested[-1]
    eligible_days = timedelta(days=store.settings.windows.eligible_days)
    sample = corruption.sample(store, oldest - eligible_days, newest)
    days = [(cutoff, cutoff) for cutoff in tested]
    days.append((as_of, Calendar.of(store).settled(as_of)))
    with TemporaryDirectory() as folder:
        original = corruption.write_copy(store, Path(folder, "original"), sample)
        original_plan, rows = training_input(original, tested, plan, as_of)
        for day, learned in days:
            false_tables = corruption.corrupt(sample, day, learned, store.settings)
            place = Path(folder, f"corrupted-from-{day}")
            corrupted = corruption.write_copy(store, place, false_tables)
            corrupted_plan, corrupted_rows = training_input(
                corrupted, tested, plan, as_of
            )
            if day >= newest:
                _compare_plans(original_plan, corrupted_plan, day)
            before = _known_before(rows, day, as_of)
            compare(before, _known_before(corrupted_rows, day, as_of), day)
    log.info("leakage check passed: %d rows at %d cutoffs", rows.height, len(tested))
    return rows.height


def training_input(
    store: Store, cutoffs: list[date], plan: Plan, as_of: date
) -> tuple[Plan, pl.DataFrame]:
    """The input of a training: the plan, and the labelled snapshots."""
    made = snapshots.plan(store, cutoffs[-1])
    return made, snapshots.training_rows(store, cutoffs, plan, as_of)


def _known_before(
    rows: pl.DataFrame,
    day: date,
    as_of: date,
) -> pl.DataFrame:
    """The columns that must not depend on data from ``day`` on.

    These are the features of cutoffs up to ``day``, and the labels if ``day`` is
    ``as_of`` or later.
    """
    names = {name: f"{LABEL_PREFIX}{name}" for name in LABELS}
    past = rows.filter(pl.col("cutoff") <= day).rename(names)
    return past if day >= as_of else past.drop(cs.starts_with(LABEL_PREFIX))


def compare(
    original: pl.DataFrame,
    corrupted: pl.DataFrame,
    day: date,
) -> None:
    """Raise LeakError unless both frames have the same keys and equal numbers.

    Keys are user_id and cutoff. ``day`` is the day from which data was corrupted.
    """
    both = original.join(
        corrupted,
        on=KEY,
        suffix=":corrupted",
    )
    changed = []
    if not both.height == original.height == corrupted.height:
        changed.append("the set of eligible users")
    names = [name for name in original.columns if name not in KEY]
    changed += [name for name in names if _differs(both, name)]
    _raise_if_any(changed, day)


def _compare_plans(
    original: Plan,
    corrupted: Plan,
    day: date,
) -> None:
    changed = [
        f"the plan's {name}"
        for name, value in vars(original).items()
        if value != getattr(corrupted, name)
    ]
    _raise_if_any(changed, day)


def _raise_if_any(changed: list[str], day: date) -> None:
    if changed:
        raise LeakError(
            f"leakage check at {day}: {', '.join(changed[:N_LISTED])} changed although "
            "only data dated, or learned, from that day on was changed. The "
            "computation uses the future; correct it before training."
        )


def _differs(both: pl.DataFrame, name: str) -> bool:
    a = pl.col(name).cast(pl.Float64)
    b = pl.col(f"{name}:corrupted").cast(pl.Float64)
    scale = pl.max_horizontal(a.abs(), b.abs(), 1.0)
    is_close = ((a - b).abs() <= TOLERANCE * scale).fill_null(False)
    is_same = (a.eq_missing(b) | is_close).all()
    return not bool(both.select(is_same).item())
