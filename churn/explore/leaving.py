"""What people did in their last weeks before they left, beside those who stayed."""

from datetime import date, timedelta

import polars as pl

from churn.clocks import known_before, known_by
from churn.events.activity import counted_once
from churn.features import by_group, snapshots
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.kinds import is_active, is_by_people
from churn.store import Store

WEEKS = 4
"""Weeks up to the last activity that are compared."""

MAX_EVENTS = 8
"""Most events compared, the commonest first."""

MIN_USERS = 20
"""Fewest leavers, and fewest stayers, for a comparison of any week."""

SCHEMA = {
    "event": pl.String,
    "weeks_before": pl.Int64,
    "leavers": pl.Float64,
    "stayers": pl.Float64,
    "n_leavers": pl.Int64,
    "n_stayers": pl.Int64,
}


def before_leaving(store: Store) -> pl.DataFrame:
    """Events per user and week before the last activity, of leavers and of stayers.

    Users are those eligible at the newest cutoff whose outcome is known. Each user's
    weeks end with the last active day before that cutoff; ``weeks_before`` 0 is the
    week that includes it. Only what was known before the cutoff counts, and only weeks
    that begin after a user was first seen. Columns: event, weeks_before, leavers and
    stayers (events per user), n_leavers and n_stayers (users). Empty with fewer than 20
    leavers or stayers.
    """
    cutoff = Calendar.of(store).newest_whole()
    users = _users(store, cutoff)
    n_leavers = users["churned"].sum()
    if min(n_leavers, users.height - n_leavers) < MIN_USERS:
        return pl.DataFrame(schema=SCHEMA)
    seen = _user_weeks(users)
    counts = _events(store, cutoff, seen)
    at_risk = seen.group_by("churned", "weeks_before").agg(n_users=pl.len())
    names = counts.group_by("event").agg(pl.col("n").sum())
    names = names.sort("n", "event", descending=[True, False]).head(MAX_EVENTS)
    grid = names.select("event").join(at_risk, how="cross")
    key = ["event", "churned", "weeks_before"]
    rates = grid.join(counts, on=key, how="left").with_columns(
        rate=pl.col("n").fill_null(0) / pl.col("n_users")
    )
    return _side_by_side(rates)


def _users(store: Store, cutoff: date) -> pl.DataFrame:
    """The users eligible at a cutoff: user_id, churned, first_date, last_date."""
    settings = store.settings
    counts_as_active = settings.activity.counts_as_active
    plan = Plan(
        settings.windows.observation_days, counts_as_active, sources=settings.sources
    )
    eligible = snapshots.eligible_users(store, [cutoff], plan)
    labelled = snapshots.label(eligible, store).drop_nulls("churned")
    activity, users = by_group.tables(store)
    active = activity.filter(known_before(pl.lit(cutoff)), is_active(counts_as_active))
    last = active.group_by("user_id").agg(last_date=pl.col("date").max())
    first = users.filter(known_by(pl.lit(cutoff)))
    first = first.group_by("user_id").agg(pl.col("first_date").min())
    known = labelled.lazy().select("user_id", "churned")
    return known.join(first, on="user_id").join(last, on="user_id").collect()


def _user_weeks(users: pl.DataFrame) -> pl.DataFrame:
    """Each user's whole weeks up to the last activity."""
    n_days = (pl.col("last_date") - pl.col("first_date")).dt.total_days() + 1
    weeks = pl.DataFrame({"weeks_before": range(WEEKS)})
    each = users.join(weeks, how="cross")
    return each.filter(n_days >= 7 * (pl.col("weeks_before") + 1))


def _events(
    store: Store,
    cutoff: date,
    seen: pl.DataFrame,
) -> pl.DataFrame:
    """Number of events in these weeks: event, churned, weeks_before, n."""
    settings = store.settings
    oldest = cutoff - timedelta(days=settings.windows.eligible_days + 7 * WEEKS)
    rows = by_group.tables(store)[0].filter(
        known_before(pl.lit(cutoff)),
        pl.col("date") >= oldest,
        is_by_people(settings.activity.counts_as_active),
    )
    once = counted_once(rows, settings.sources)
    last = seen.lazy().select("user_id", "last_date").unique()
    days_before = (pl.col("last_date") - pl.col("date")).dt.total_days()
    dated = once.join(last, on="user_id").with_columns(weeks_before=days_before // 7)
    key = ["user_id", "weeks_before"]
    in_weeks = dated.join(seen.lazy().select(*key, "churned"), on=key)
    counts = in_weeks.group_by("event", "churned", "weeks_before")
    return counts.agg(pl.col("n").sum()).collect()


def _side_by_side(rates: pl.DataFrame) -> pl.DataFrame:
    key = ["event", "weeks_before"]
    columns = {"rate": "", "n_users": "n_"}
    sides = []
    for churned, name in ((True, "leavers"), (False, "stayers")):
        of_side = rates.filter(pl.col("churned") == churned)
        named = {old: prefix + name for old, prefix in columns.items()}
        sides.append(of_side.select(*key, *columns).rename(named))
    table = (
        sides[0]
        .join(sides[1], on=key)
        .select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    )
    return table.sort(key)
