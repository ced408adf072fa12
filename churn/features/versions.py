"""Activity as it was known at each of several cutoffs, in one table.

If every row is known on its own day, what was known of a user at a cutoff is the
beginning of what is known later: the days before that cutoff. Where a row became known
too late for a cutoff, the table holds the user once more, as a second version with the
rows known by then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from churn.clocks import known_before, known_by
from churn.events.activity import counted_once
from churn.features.catalogue import Plan
from churn.kinds import EVENT_KINDS, is_active

GONE = ("erasure", "merge")
"""Kinds after which a user is never scored again.

The user asked for erasure, or was merged into another user.
"""

NUMBER = pl.col("user_id").to_physical().cast(pl.Int64)
"""The number of a row's user, whose id must be an Enum."""

LONGEST_SPAN = timedelta(days=400)
"""Longest time between cutoffs that share a table.

Weights that halve with every few days are kept for the table's newest day, and would be
too small for a number after some years.
"""


@dataclass(frozen=True)
class Known:
    """Rows of activity as known at several cutoffs.

    - ``rows``: activity, with the number of its user's version in ``version``.
    - ``user_ids``: the user of each version, shape (n_versions,).
    - ``at_cutoff``: the versions that count at each cutoff, ascending.
    """

    rows: pl.DataFrame
    user_ids: pl.Series
    at_cutoff: dict[date, np.ndarray]


def observed(
    activity: pl.LazyFrame, cutoff: date, observation_days: int, sources: Sequence[str]
) -> pl.LazyFrame:
    """Activity in the window before the cutoff, by both clocks.

    If several ``sources`` report the same event, the first of them counts.
    """
    in_window = _in_window(pl.lit(cutoff), observation_days)
    return counted_once(activity.filter(in_window), sources)


def _in_window(cutoff: pl.Expr, days: int) -> pl.Expr:
    return known_before(cutoff) & (pl.col("date") >= cutoff - pl.duration(days=days))


def by_number(
    activity: pl.LazyFrame, users: pl.LazyFrame, plan: Plan
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both tables, collected, with user ids as an Enum of the users who have activity.

    Users are then compared and sorted as numbers, and so are kinds. Of activity only
    the columns that features need are read; ``is_active`` says whether a row counts as
    active, and ``place`` its event's place in the plan's vocabulary, null for others.
    Rows of ``users`` without activity are left out.
    """
    columns = ["user_id", "date", "known_date", "n", "revenue", "first_at", "last_at"]
    if plan.properties:
        columns.append("sums")
    if len(plan.sources) > 1:
        columns += ["source", "event"]
    place = pl.col("event").cast(pl.Enum(plan.vocabulary), strict=False)
    rows = activity.select(
        *columns,
        pl.col("kind").cast(pl.Enum(EVENT_KINDS), strict=False),
        is_active=is_active(plan.counts_as_active),
        place=place.to_physical(),
    ).collect()
    ids = pl.Enum(rows["user_id"].unique().sort())
    user_id = pl.col("user_id").cast(ids, strict=False)
    have_activity = users.with_columns(user_id).drop_nulls("user_id")
    return rows.with_columns(user_id), have_activity.collect()


def groups(
    rows: pl.DataFrame, cutoffs: Sequence[date], plan: Plan
) -> Iterator[list[date]]:
    """The cutoffs in groups that can share a table, from rows ``by_number``.

    A group has no more rows of second versions than there are rows, unless one cutoff
    alone has, so that a source that reports everything late costs time but no memory.
    Its cutoffs lie within ``LONGEST_SPAN``. A single cutoff is not looked into.
    """
    if len(cutoffs) == 1:
        yield list(cutoffs)
        return
    by_user = rows.group_by("user_id").len("n_rows")
    late = _late(rows.filter(known_by(pl.lit(max(cutoffs)))), cutoffs, plan)
    counts = late.join(by_user, on="user_id").group_by("cutoff").agg(pl.sum("n_rows"))
    n_second = dict(counts.iter_rows())
    group: list[date] = []
    for cutoff in cutoffs:
        n_rows = sum(n_second.get(other, 0) for other in [*group, cutoff])
        span = max([*group, cutoff]) - min([*group, cutoff])
        if group and (n_rows > rows.height or span > LONGEST_SPAN):
            yield group
            group = []
        group.append(cutoff)
    yield group


def known(rows: pl.DataFrame, cutoffs: Sequence[date], plan: Plan) -> Known:
    """What was known at each cutoff, from rows ``by_number``.

    Users who were gone at a cutoff have no version for it.
    """
    length = (max(cutoffs) - min(cutoffs)).days + plan.observation_days
    newest = observed(rows.lazy(), max(cutoffs), length, plan.sources).collect()
    gone = _gone(rows, cutoffs)
    late = _late(newest, cutoffs, plan).join(gone, on=["user_id", "cutoff"], how="anti")
    ids = rows["user_id"].dtype
    everybody = pl.Series("user_id", ids.categories, ids)  # type: ignore[attr-defined]
    first = len(everybody)
    late = late.with_columns(version=pl.int_range(first, first + late.height))
    second = _second_versions(rows, late, plan)
    replaced = pl.concat([gone, late.select("user_id", "cutoff")])
    at_cutoff = {}
    for cutoff in cutoffs:
        is_at = pl.col("cutoff") == cutoff
        is_current = np.full(first, True)
        is_current[replaced.filter(is_at).select(NUMBER).to_series()] = False
        versions = late.filter(is_at)["version"].sort().to_numpy()
        at_cutoff[cutoff] = np.append(np.flatnonzero(is_current), versions)
    return Known(
        rows=pl.concat([newest.with_columns(version=NUMBER), second]),
        user_ids=pl.concat([everybody, late["user_id"]]),
        at_cutoff=at_cutoff,
    )


def _gone(rows: pl.DataFrame, cutoffs: Sequence[date]) -> pl.DataFrame:
    """Users who were known at a cutoff to be gone for ever: user_id, cutoff."""
    gone = rows.lazy().filter(pl.col("kind").is_in(GONE))
    pairs = gone.join(_frame(cutoffs), how="cross").filter(
        known_before(pl.col("cutoff"))
    )
    return pairs.select("user_id", "cutoff").unique().collect()


def _late(newest: pl.DataFrame, cutoffs: Sequence[date], plan: Plan) -> pl.DataFrame:
    """Users of whom a row in a cutoff's window was not known by it: user_id, cutoff."""
    late = newest.lazy().filter(pl.col("known_date") > pl.col("date"))
    days = late.select("user_id", "date", "known_date").unique()
    cutoff = pl.col("cutoff")
    age = (cutoff - pl.col("date")).dt.total_days()
    in_window = age.is_between(1, plan.observation_days)
    pairs = days.join(_frame(cutoffs), how="cross")
    too_late = pairs.filter(in_window & ~known_by(cutoff))
    return too_late.select("user_id", "cutoff").unique().collect()


def _frame(cutoffs: Sequence[date]) -> pl.LazyFrame:
    return pl.LazyFrame({"cutoff": list(cutoffs)})


def _second_versions(
    rows: pl.DataFrame, late: pl.DataFrame, plan: Plan
) -> pl.DataFrame:
    """The rows of late users as they were known at the cutoff of their version."""
    own = rows.lazy().join(late.lazy(), on="user_id")
    in_window = _in_window(pl.col("cutoff"), plan.observation_days)
    seen = counted_once(own.filter(in_window), plan.sources, person="version")
    return seen.drop("cutoff").collect()
