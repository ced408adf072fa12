"""Features and labels of users by groups of buckets, in this process or in those of the study.

Each function that makes a group's frame gets the store and the group, and plain values,
so that it can be sent to another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

import polars as pl

from churn.features import compute, labels
from churn.features.catalogue import Plan
from churn.features.versions import GONE
from churn.hashing import stable_hash
from churn.store import Store, grouped

Group = Sequence[int]


@dataclass(frozen=True)
class Reading:
    """What is read of a store for the features at some cutoffs, as plain values.

    - ``cutoffs`` and ``plan``: see ``compute``.
    - ``share``: share of the users that is kept, those with the lowest stable hash.
    - ``first_gone``: the first day with an event after which a user is gone; null
      without any.
    """

    cutoffs: tuple[date, ...]
    plan: Plan
    share: float
    first_gone: date | None

    @property
    def start(self) -> date:
        """First day of the first observation window."""
        return min(self.cutoffs) - timedelta(days=self.plan.observation_days)


def reading(
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
    share: float = 1.0,
) -> Reading:
    """What is read of a store for the features at these cutoffs."""
    volume = store.scan("volume").filter(pl.col("kind").is_in(GONE))
    first_gone = volume.select(pl.col("date").min()).collect().item()
    return Reading(tuple(cutoffs), plan, share, first_gone)


def level(store: Store, reading: Reading) -> pl.DataFrame:
    """The app-wide figures at each cutoff, see ``compute.app_level``."""
    rows = store.scan("activity", since=reading.start)
    work = partial(_active_users, reading=reading)
    by_day = grouped.frames(store, work, _groups(store, rows), "the app's active days")
    return compute.level_of(pl.concat(by_day), reading.cutoffs, reading.plan)


def _active_users(
    store: Store,
    buckets: Group,
    reading: Reading,
) -> pl.DataFrame:
    activity = store.scan("activity", buckets, since=reading.start)
    return compute.active_users(activity, reading.cutoffs, reading.plan)


def features(
    store: Store,
    reading: Reading,
    level: pl.DataFrame,
) -> list[pl.DataFrame]:
    """Features of each group's users at all cutoffs, in the order of the groups."""
    work = partial(features_of, reading=reading, level=level)
    return grouped.frames(store, work, groups(store, reading), "features")


def features_of(
    store: Store,
    buckets: Group,
    reading: Reading,
    level: pl.DataFrame,
) -> pl.DataFrame:
    """Features of one group's users at all cutoffs, see ``compute.compute``."""
    activity, users = kept(store, buckets, reading)
    eligible_days = store.settings.windows.eligible_days
    return compute.compute(
        activity,
        users,
        reading.cutoffs,
        reading.plan,
        eligible_days,
        level,
    )


def eligible_users(store: Store, reading: Reading) -> list[pl.DataFrame]:
    """Each group's users who are eligible at each cutoff: user_id, cutoff."""
    work = partial(_eligible_users, reading=reading)
    return grouped.frames(store, work, groups(store, reading), "the number of users")


def _eligible_users(
    store: Store,
    buckets: Group,
    reading: Reading,
) -> pl.DataFrame:
    activity, users = kept(store, buckets, reading)
    return compute.eligible_users(
        activity,
        users,
        reading.cutoffs,
        reading.plan,
        store.settings.windows.eligible_days,
    )


def name_counts(
    store: Store,
    cutoff: date,
    observation_days: int,
) -> list[pl.DataFrame]:
    """Each group's users by event name and property, see ``compute.name_counts``."""
    start = cutoff - timedelta(days=observation_days)
    rows = store.scan("activity", since=start)
    work = partial(_name_counts, cutoff=cutoff, observation_days=observation_days)
    return grouped.frames(store, work, _groups(store, rows), "event names")


def _name_counts(
    store: Store,
    buckets: Group,
    cutoff: date,
    observation_days: int,
) -> pl.DataFrame:
    start = cutoff - timedelta(days=observation_days)
    activity = store.scan("activity", buckets, since=start)
    sources = store.settings.sources
    return compute.name_counts(activity, cutoff, observation_days, sources)


def first_days(
    searches: pl.DataFrame,
    store: Store,
    end: date,
    as_of: date,
) -> pl.DataFrame:
    """The ``labels.first_days`` of searches in the activity before ``end``.

    The searches of a group are those whose user is in its buckets.
    """
    work = partial(_first_days, end=end, as_of=as_of)
    rows = _searched(store, None, searches, end)
    found = grouped.frames(store, work, _groups(store, rows), "labels", searches)
    return pl.concat(found)


def _first_days(
    store: Store,
    buckets: Group,
    searches: pl.DataFrame,
    end: date,
    as_of: date,
) -> pl.DataFrame:
    activity = _searched(store, buckets, searches, end)
    counts_as_active = store.settings.activity.counts_as_active
    return labels.first_days(activity, searches, counts_as_active, as_of)


def _searched(
    store: Store,
    buckets: Group | None,
    searches: pl.DataFrame,
    end: date,
) -> pl.LazyFrame:
    """Activity of the days that are searched, as far as they lie before ``end``."""
    since: Any = searches["since"].min()
    until: Any = searches["until"].max()
    rows = store.scan("activity", buckets, since=since)
    in_time = pl.col("date").is_between(pl.lit(since), pl.lit(until), closed="left")
    return rows.filter(in_time & (pl.col("date") < end))


def groups(store: Store, reading: Reading) -> list[Group]:
    """Buckets in groups that fit in memory one at a time, if this is read."""
    return _groups(store, _activity(store, None, reading))


def _groups(store: Store, rows: pl.LazyFrame) -> list[Group]:
    """Buckets in groups that fit in memory one at a time, if these rows are read."""
    return grouped.groups(store, rows.select(pl.len()).collect().item())


def kept(
    store: Store,
    buckets: Group,
    reading: Reading,
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Activity and users of some buckets, as far as their users are kept."""
    is_kept = pl.lit(True)
    if reading.share < 1:
        is_kept = stable_hash("user_id") <= int(reading.share * (2**64 - 1))
    _, users = tables(store, buckets)
    activity = _activity(store, buckets, reading)
    return activity.filter(is_kept), users.filter(is_kept)


def _activity(
    store: Store,
    buckets: Group | None,
    reading: Reading,
) -> pl.LazyFrame:
    """Activity of the observation windows, and earlier rows that say who is gone.

    The windows reach to before the last cutoff.
    """
    start, first_gone = reading.start, reading.first_gone
    in_days = pl.col("date").is_between(start, max(reading.cutoffs), closed="left")
    recent = store.scan("activity", buckets, since=start).filter(in_days)
    if first_gone is None or first_gone >= start:
        return recent
    is_gone = (pl.col("date") < start) & pl.col("kind").is_in(GONE)
    earlier = store.scan("activity", buckets, since=first_gone).filter(is_gone)
    return pl.concat([recent, earlier])


def tables(
    store: Store, buckets: Sequence[int] | None = None
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Daily activity and users of some buckets, or of all.

    Users have user_id, known_date and first_date, a day in the study's time zone.
    """
    activity = store.scan("activity", buckets)
    first_at = pl.col("first_at").dt.convert_time_zone(store.settings.timezone)
    users = store.scan("users", buckets).select(
        "user_id", "known_date", first_at.dt.date().alias("first_date")
    )
    return activity, users
