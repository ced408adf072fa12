"""Features of users at cutoffs, with the plan's vocabulary and the app-wide trend.

Input: daily activity, users, and a plan. Output: one row per eligible user and cutoff.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

import polars as pl

from churn.clocks import known_before
from churn.features import app_week, eligible, user_days, versions
from churn.features.catalogue import Plan, catalogue
from churn.features.columns import APP_DAYS
from churn.features.numbers import numbers
from churn.features.window import Window
from churn.kinds import is_active

N_NAMES = 12
"""Number of event names that are counted one by one.

Each adds a column for every window. The names that most people have come first, and one
that few have is null or 0 for nearly everybody: it costs time and fits noise.
"""

N_PROPERTIES = 5
"""Number of numeric properties that are summed one by one.

Fewer than event names, because sums are only as good as the app's own bookkeeping, and
amounts of money are in the revenue already.
"""


def name_counts(
    activity: pl.LazyFrame,
    cutoff: date,
    observation_days: int,
    sources: Sequence[str] = (),
) -> pl.DataFrame:
    """Users of each event name and numeric property in the window before ``cutoff``.

    Columns: is_event, name, n_users; n_times, the user-days of an event and the rows of
    a property. What was not known by the cutoff doesn't count. ``activity`` holds all
    rows of its users; the numbers of several such parts add up.
    """
    window = versions.observed(activity, cutoff, observation_days, sources)
    users = pl.col("user_id").n_unique()
    user_days = pl.struct("user_id", "date").n_unique()
    events = window.group_by(pl.col("event").alias("name")).agg(
        n_users=users, n_times=user_days
    )
    names = pl.col("sums").list.eval(pl.element().struct.field("name"))
    each = window.select("user_id", names.alias("name")).explode("name").drop_nulls()
    properties = each.group_by("name").agg(n_users=users, n_times=pl.len())
    counts = pl.col("n_users", "n_times").cast(pl.Int64)
    both = [
        part.select(pl.lit(is_event).alias("is_event"), "name", counts)
        for is_event, part in ((True, events), (False, properties))
    ]
    return pl.concat(both).collect()


def vocabulary(counts: Iterable[pl.DataFrame]) -> tuple[str, ...]:
    """The event names with most users, from the ``name_counts`` of all users.

    Users count and not rows, because one crawler may have more rows than everybody
    else. Ties are broken by user-days and then by name. The vocabulary is fixed at the
    newest training cutoff, so that no later event can choose a feature.
    """
    events = pl.concat(counts).filter(pl.col("is_event"))
    return _commonest(events, N_NAMES)


def properties(counts: Iterable[pl.DataFrame]) -> tuple[str, ...]:
    """The numeric properties with most users, from the ``name_counts`` of all users.

    Ties are broken by the number of rows and then by name.
    """
    numbers = pl.concat(counts).filter(~pl.col("is_event"))
    return _commonest(numbers, N_PROPERTIES)


def _commonest(counts: pl.DataFrame, most: int) -> tuple[str, ...]:
    summed = counts.group_by("name").agg(pl.col("n_users", "n_times").sum())
    order = ["n_users", "n_times", "name"]
    commonest = summed.sort(order, descending=[True, True, False])
    return tuple(commonest["name"].head(most))


def app_level(
    parts: Iterable[pl.LazyFrame], cutoffs: Sequence[date], plan: Plan
) -> pl.DataFrame:
    """What all users' activity tells before each cutoff: cutoff, app_trend, app days.

    ``app_trend`` is a log ratio: active days per day in the last 7 days over those in
    the last 28, or in the observation window if that is shorter. ``app_week`` explains
    the columns ``APP_DAYS``. ``parts`` are the activity of all users; each part holds
    all rows of its users, and is read by itself.
    """
    by_day = pl.concat([active_users(part, cutoffs, plan) for part in parts])
    return level_of(by_day, cutoffs, plan)


def level_of(
    by_day: pl.DataFrame,
    cutoffs: Sequence[date],
    plan: Plan,
) -> pl.DataFrame:
    """The ``app_level`` of the users counted in ``by_day`` by ``active_users``."""
    length = _level_days(plan)
    rows = []
    for cutoff in cutoffs:
        known = by_day.filter(known_before(pl.lit(cutoff)))
        trend = _app_trend(known, cutoff, length)
        week = app_week.of(known, cutoff, plan.observation_days)
        rows.append({"cutoff": cutoff, "app_trend": trend, **week})
    return pl.DataFrame(rows)


def _level_days(plan: Plan) -> int:
    """Days before a cutoff that ``app_level`` looks at."""
    return min(28, plan.observation_days)


def active_users(
    activity: pl.LazyFrame,
    cutoffs: Sequence[date],
    plan: Plan,
) -> pl.DataFrame:
    """Numbers of active users (n) by day and by the day on which that was known.

    ``activity`` holds all rows of its users; the numbers of several such parts add up.
    """
    first = min(cutoffs) - timedelta(days=_level_days(plan))
    in_time = pl.col("date").is_between(first, max(cutoffs), closed="left")
    active = activity.filter(in_time & is_active(plan.counts_as_active))
    # A user's day is known as soon as any row of it is.
    known = pl.max_horizontal("date", "known_date").min().alias("known_date")
    user_days = active.group_by("user_id", "date").agg(known)
    return user_days.group_by("date", "known_date").agg(n=pl.len()).collect()


def _app_trend(known: pl.DataFrame, cutoff: date, length: int) -> float:
    """The trend from the rows of ``active_users`` that were known at the cutoff."""
    last_month = known.filter(pl.col("date") >= cutoff - timedelta(days=length))
    last_week = last_month.filter(pl.col("date") >= cutoff - timedelta(days=7))
    pace_7d = (last_week["n"].sum() + 1) / 7
    pace_28d = (last_month["n"].sum() + 1) / 28
    return math.log(pace_7d) - math.log(pace_28d)


def compute(
    activity: pl.LazyFrame,
    users: pl.LazyFrame,
    cutoffs: Sequence[date],
    plan: Plan,
    eligible_days: int,
    level: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Features of the users eligible at each cutoff: user_id, cutoff, the catalogue.

    Training, scoring and the leakage check all compute features with this function. A
    user is eligible if active within ``eligible_days`` before the cutoff by both
    clocks, and not known to have uninstalled since, to have asked for erasure, or to
    have been merged into another user. ``activity`` and ``users`` must hold all rows of
    each user, so pass whole buckets. ``level`` is the ``app_level`` of all users; by
    default it is computed from the given users.

    Cutoffs share one table of user-days (see ``versions``), as far as memory allows.
    """
    if level is None:
        level = app_level([activity], cutoffs, plan)
    levels = {row.pop("cutoff"): row for row in level.to_dicts()}
    rows, first_seen = versions.by_number(activity, users, plan)
    features = {name: feature.expr for name, feature in catalogue(plan).items()}
    names = _needed(features.values())
    parts = []
    for cutoff, window in _windows(rows, cutoffs, plan, eligible_days):
        tenure = eligible.tenure(first_seen.lazy(), cutoff).collect()
        facts = numbers(window, names).with_columns(
            window.user_ids(),
            cutoff=pl.lit(cutoff),
            **{name: pl.lit(value) for name, value in levels[cutoff].items()},
        )
        parts.append(facts.join(tenure, on="user_id", how="left"))
    user_id = pl.col("user_id").cast(pl.String)
    # In one piece, because many small ones leave holes in memory when they are freed.
    return pl.concat(parts, rechunk=True).select(user_id, "cutoff", **features)


def eligible_users(
    activity: pl.LazyFrame,
    users: pl.LazyFrame,
    cutoffs: Sequence[date],
    plan: Plan,
    eligible_days: int,
) -> pl.DataFrame:
    """The users for whom ``compute`` has features: user_id, cutoff."""
    rows, _ = versions.by_number(activity, users, plan)
    parts = [
        pl.DataFrame(window.user_ids()).with_columns(cutoff=pl.lit(cutoff))
        for cutoff, window in _windows(rows, cutoffs, plan, eligible_days)
    ]
    return pl.concat(parts).with_columns(pl.col("user_id").cast(pl.String))


def _windows(
    rows: pl.DataFrame, cutoffs: Sequence[date], plan: Plan, eligible_days: int
) -> Iterator[tuple[date, Window]]:
    """Each cutoff, with the window of the users who are eligible at it."""
    for together in versions.groups(rows, cutoffs, plan):
        known = versions.known(rows, together, plan)
        days = user_days.build(known, plan)
        for cutoff in together:
            everybody = known.at_cutoff[cutoff]
            window = Window.before(cutoff, days, everybody, plan.observation_days)
            yield cutoff, eligible.eligible(window, eligible_days)


def _needed(expressions: Iterable[pl.Expr]) -> list[str]:
    """The numbers about user-days that features name."""
    names = {name for expr in expressions for name in expr.meta.root_names()}
    return sorted(names - {"cutoff", "tenure_days", "app_trend", *APP_DAYS})
