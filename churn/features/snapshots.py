"""One row per eligible user and cutoff: features and label, built bucket by bucket."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import polars as pl

from churn.errors import StudyError
from churn.features import compute, labels
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.hashing import stable_hash
from churn.settings import Windows
from churn.store import Store
from churn.store.schemas import Snapshot

log = logging.getLogger(__name__)


def build(
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
    as_of: date | None = None,
) -> pl.DataFrame:
    """Snapshots of all cutoffs, sorted by cutoff and user: user_id, cutoff, the
    catalogue's columns, then the label's.

    ``as_of``: what the labels may know, see ``label``. Raises CutoffError for a cutoff
    the log can't answer for.
    """
    return label(observe(store, cutoffs, plan), store, as_of)


def training_rows(
    store: Store, cutoffs: Sequence[date], plan: Plan, as_of: date
) -> pl.DataFrame:
    """All that a training as of a day learns from: see ``with_open``, labelled as known
    then.

    Where that would be far more than ``max_training_rows``, a share of the users is
    left out before anything is built.
    """
    needed = Calendar.of(store).with_open(cutoffs, as_of)
    share = learned_share(store, needed, plan)
    return label(observe(store, needed, plan, share=share), store, as_of)


def learned_share(store: Store, cutoffs: Sequence[date], plan: Plan) -> float:
    """Of the users, how many make up the training rows: a little more than needed, as
    the rest is cut off exactly.
    """
    keys = ["user_id", "cutoff"]
    n_rows = observe(
        store, [max(cutoffs)], replace(plan, vocabulary=(), properties=()), keys
    ).height
    return min(
        1.0,
        1.2 * store.settings.backtest.max_training_rows / max(n_rows * len(cutoffs), 1),
    )


def observe(
    store: Store,
    cutoffs: Sequence[date],
    plan: Plan,
    columns: Sequence[str] = (),
    share: float = 1.0,
) -> pl.DataFrame:
    """Snapshots without their label: features of the users eligible at each cutoff.

    ``columns``: only these, for what needs no feature. ``share``: of the users only
    those who come first by the stable hash.
    """
    Calendar.of(store).check(cutoffs)
    rows, _ = tables(store)
    level = compute.app_level(rows, cutoffs, plan).collect().lazy()
    n_rows = rows.select(pl.len()).collect().item()
    parts = [
        of_users(held_rows, held_users, [cutoff], plan, store.settings.windows, level)
        .select(columns or pl.all())
        .collect()
        for buckets in store.passes(n_rows)
        for held_rows, held_users in [_in_memory(tables(store, buckets), share)]
        for cutoff in cutoffs
    ]
    snapshot = pl.concat(parts).sort("cutoff", "user_id")
    log.info("snapshot: %d rows at %d cutoffs", snapshot.height, len(cutoffs))
    return snapshot


def _in_memory(
    frames: tuple[pl.LazyFrame, pl.LazyFrame], share: float
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Read once, not once per cutoff, and only that share of the users."""
    mine = (
        pl.lit(True)
        if share >= 1
        else stable_hash("user_id") <= int(share * (2**64 - 1))
    )
    return frames[0].filter(mine).collect().lazy(), frames[1].filter(
        mine
    ).collect().lazy()


def label(
    snapshot: pl.DataFrame, store: Store, as_of: date | None = None
) -> pl.DataFrame:
    """Add ``churned``: true without activity in the horizon, null where the horizon
    isn't over by ``as_of``.

    And ``return_days``: from the horizon's first day to the first activity in it before
    ``as_of``; null without any.

    ``as_of`` (default, and at most: the day after the store's coverage) also hides what
    became known later than a source takes to settle from then on: a model trained as of
    that day could not have seen it.
    """
    end = min(as_of or date.max, Calendar.of(store).end)
    rows = tables(store)[0].filter(pl.col("date") < end)
    cutoffs = snapshot["cutoff"].unique().to_list() or [
        end
    ]  # an empty one gets its columns all the same
    came = labels.returned(
        rows,
        cutoffs,
        store.settings.windows,
        store.settings.activity.counts_as_active,
        Calendar.of(store).settled(end),
    ).collect()
    marked = snapshot.drop("churned", "return_days", strict=False).join(
        came, on=["user_id", "cutoff"], how="left", maintain_order="left"
    )
    mature = (
        pl.col("cutoff")
        + timedelta(
            days=store.settings.windows.lead_days + store.settings.windows.horizon_days
        )
        <= end
    )
    labelled = marked.with_columns(
        pl.when(mature).then(pl.col("return_days").is_null()).alias("churned")
    )
    Snapshot.validate(labelled.select(Snapshot.column_names()))
    return labelled


def tables(
    store: Store, buckets: Sequence[int] | None = None
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Daily activity and users (first_date in the study's time zone) of some buckets,
    or of all.
    """
    users = store.scan("users", buckets)
    first = (
        pl.col("first_at")
        .dt.convert_time_zone(store.settings.timezone)
        .dt.date()
        .alias("first_date")
    )
    return store.scan("activity", buckets), users.select("user_id", "known_date", first)


def of_users(
    rows: pl.LazyFrame,
    users: pl.LazyFrame,
    cutoffs: Sequence[date],
    plan: Plan,
    windows: Windows,
    level: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """Features of whole users; the one road from activity to features, for training,
    scoring and the poison check.
    """
    return compute.compute(rows, users, cutoffs, plan, windows.eligible_days, level)


def plan(store: Store, newest_cutoff: date) -> Plan:
    """The feature plan as it could be made at ``newest_cutoff``. Raises StudyError for
    unknown active events.
    """
    check_active_events(store)
    rows, _ = tables(store)
    window = (
        rows,
        newest_cutoff,
        store.settings.windows.observation_days,
        store.settings.sources,
    )
    return Plan(
        observation_days=store.settings.windows.observation_days,
        counts_as_active=store.settings.activity.counts_as_active,
        vocabulary=compute.vocabulary(*window),
        properties=compute.properties(*window),
        sources=store.settings.sources,
    )


def check_active_events(
    store: Store,
) -> None:
    """Raise StudyError if counts_as_active names an event or kind that the log has
    never seen.
    """
    volume = (
        store.scan("volume").group_by("event", "kind").agg(pl.col("n").sum()).collect()
    )
    seen = {*volume["event"], *("kind:" + volume["kind"])}
    missing = [
        name for name in store.settings.activity.counts_as_active if name not in seen
    ]
    if missing:
        common = (
            volume.group_by("event")
            .agg(pl.col("n").sum())
            .sort("n", "event", descending=[True, False])
        )
        names = ", ".join(common["event"].head(20))
        raise StudyError(
            f"activity.counts_as_active: {', '.join(missing)} not in the log; the commonest are {names}"
        )
