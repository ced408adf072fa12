"""Snapshots built from a store: features and label of each eligible user and cutoff.

Users are read bucket by bucket, so that memory stays bounded.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import polars as pl

from churn.errors import StudyError
from churn.features import by_group, compute, labels
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.store import Store
from churn.store.schemas import Snapshot

log = logging.getLogger(__name__)

SPARE_ROWS = 1.2
"""Number of rows to build per training row wanted; the surplus is dropped later.

The number of users is estimated from one cutoff, and others have fewer: without a
surplus the training would fall short of ``max_training_rows``.
"""

N_NAMED = 20
"""Number of the commonest events that an error message lists."""


def build(
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
    as_of: date | None = None,
) -> pl.DataFrame:
    """Features and label of each eligible user and cutoff, sorted by cutoff and user.

    Columns: user_id, cutoff, the features of the catalogue, and the columns that
    ``label`` adds, where ``as_of`` is explained. Raises CutoffError for a cutoff
    outside the data.
    """
    return label(observe(store, cutoffs, plan), store, as_of)


def training_rows(
    store: Store, cutoffs: Sequence[date], plan: Plan, as_of: date
) -> pl.DataFrame:
    """Snapshots for a training on a given day, with the labels known by that day.

    The open cutoff joins ``cutoffs`` (see ``Calendar.with_open``). If the rows would be
    far more than ``max_training_rows``, a share of the users is left out before
    anything is built.
    """
    needed = Calendar.of(store).with_open(cutoffs, as_of)
    share = learned_share(store, needed, plan)
    return label(observe(store, needed, plan, share=share), store, as_of)


def learned_share(
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
) -> float:
    """Share of the users whose snapshots fill ``max_training_rows``, with a surplus.

    It is 1 at most, see ``share_of``.
    """
    wanted = SPARE_ROWS * store.settings.backtest.max_training_rows
    return share_of(wanted, store, cutoffs, plan)


def share_of(
    n_rows: float,
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
) -> float:
    """Share of the users who have about ``n_rows`` snapshots at these cutoffs.

    It is estimated from the number of users eligible at the newest cutoff; 1 at most.
    """
    bare_plan = replace(
        plan,
        vocabulary=(),
        properties=(),
    )
    n_users = eligible_users(store, [max(cutoffs)], bare_plan).height
    return min(1.0, n_rows / max(n_users * len(cutoffs), 1))


def observe(
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
    share: float = 1.0,
) -> pl.DataFrame:
    """Snapshots without their label: features of the users eligible at each cutoff.

    ``share`` keeps only that share of the users, those with the lowest stable hash.
    Raises CutoffError for a cutoff outside the data.
    """
    read = reading(store, cutoffs, plan, share)
    features = by_group.features(store, read, by_group.level(store, read))
    snapshot = _in_order(features)
    log.info("snapshot: %d rows at %d cutoffs", snapshot.height, len(cutoffs))
    return snapshot


def eligible_users(
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
    share: float = 1.0,
) -> pl.DataFrame:
    """The users eligible at each cutoff, without features: user_id, cutoff.

    ``share`` and error as in ``observe``.
    """
    read = reading(store, cutoffs, plan, share)
    return _in_order(by_group.eligible_users(store, read))


def reading(
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
    share: float = 1.0,
) -> by_group.Reading:
    """What is read for the features at these cutoffs, see ``by_group.reading``.

    Raises CutoffError for a cutoff outside the data.
    """
    Calendar.of(store).check(cutoffs)
    return by_group.reading(store, cutoffs, plan, share)


def _in_order(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The rows of all parts, sorted by cutoff and user; no part is left in the list.

    One column at a time is moved, so that values are in memory only once.
    """
    together = pl.concat(parts)
    parts.clear()
    order = together.select(pl.arg_sort_by("cutoff", "user_id")).to_series()
    columns = together.get_columns()[::-1]
    del together
    return pl.DataFrame([columns.pop().gather(order) for _ in range(len(columns))])


def label(
    snapshot: pl.DataFrame, store: Store, as_of: date | None = None
) -> pl.DataFrame:
    """Add ``churned`` and ``return_days``, as known by ``as_of``.

    - ``churned``: true without activity in the horizon; null where the horizon is not
      over by ``as_of``, or where too many of its days are missing from the log.
    - ``return_days``: days from the horizon's first day to the user's first activity in
      it before ``as_of``; null without any. For a user who was merged into another one,
      the other's activity counts from the day of the merge on.

    ``as_of`` is by default, and at most, the day after the store's coverage. What a
    source reported later than its settling time after ``as_of`` does not count: a model
    trained as of that day could not have known it.
    """
    calendar = Calendar.of(store)
    end = min(as_of or date.max, calendar.end)
    windows = store.settings.windows
    settled = calendar.settled(end)
    merged = labels.merged_users(store, settled) if store.n_rows("merges") else None
    find = partial(by_group.first_days, store=store, end=end, as_of=settled)
    returns = labels.returned(snapshot, windows, merged, find)
    horizon_days = timedelta(days=windows.lead_days + windows.horizon_days)
    is_mature = pl.col("cutoff") + horizon_days <= end
    cutoffs = snapshot["cutoff"].unique()
    known = [day for day in cutoffs if calendar.has_whole_horizon(day)]
    is_known = is_mature & pl.col("cutoff").is_in(known)
    churned = pl.when(is_known).then(pl.col("return_days").is_null())
    unlabelled = snapshot.drop("churned", "return_days", strict=False)
    dated = unlabelled.with_columns(returns["return_days"])
    labelled = dated.with_columns(churned=churned)
    Snapshot.validate(labelled.select(Snapshot.column_names()))
    return labelled


def plan(store: Store, newest_cutoff: date) -> Plan:
    """The feature plan, made from what was known at ``newest_cutoff``.

    Raises StudyError if ``counts_as_active`` names an unknown event or kind.
    """
    check_active_events(store)
    settings = store.settings
    observation_days = settings.windows.observation_days
    counts = by_group.name_counts(store, newest_cutoff, observation_days)
    return Plan(
        observation_days=observation_days,
        counts_as_active=settings.activity.counts_as_active,
        vocabulary=compute.vocabulary(counts),
        properties=compute.properties(counts),
        sources=settings.sources,
        timezone=settings.timezone,
    )


def check_active_events(store: Store) -> None:
    """Raise StudyError if counts_as_active names an event or kind not in the log."""
    volume = store.scan("volume").group_by("event", "kind").agg(pl.col("n").sum())
    counts = volume.collect()
    known = {*counts["event"], *("kind:" + counts["kind"])}
    names = store.settings.activity.counts_as_active
    missing = [name for name in names if name not in known]
    if missing:
        by_event = counts.group_by("event").agg(pl.col("n").sum())
        commonest = by_event.sort("n", "event", descending=[True, False])
        listed = ", ".join(commonest["event"].head(N_NAMED))
        raise StudyError(
            f"activity.counts_as_active: {', '.join(missing)} not in the log; "
            f"the commonest are {listed}"
        )
