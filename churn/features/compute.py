"""Features of users at cutoffs, with the plan's vocabulary and the app-wide trend.

Input: daily activity, users, and a plan. Output: one row per eligible user and cutoff.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from churn.clocks import known_before
from churn.features import user_days
from churn.features.catalogue import Plan, catalogue
from churn.kinds import is_active

N_NAMES = 12
"""Number of event names that are counted one by one."""

N_PROPERTIES = 5
"""Number of numeric properties that are summed one by one."""


def vocabulary(
    activity: pl.LazyFrame,
    cutoff: date,
    observation_days: int,
    sources: Sequence[str] = (),
) -> tuple[str, ...]:
    """The event names with most users in the window before ``cutoff``, known by then.

    Users count and not rows, because one crawler may have more rows than everybody
    else. Ties are broken by user-days and then by name. The vocabulary is fixed at the
    newest training cutoff, so that no later event can choose a feature.
    """
    window = user_days.observed(activity, cutoff, observation_days, sources)
    n_user_days = pl.struct("user_id", "date").n_unique()
    counts = window.group_by("event").agg(
        n_users=pl.col("user_id").n_unique(),
        n_user_days=n_user_days,
    )
    commonest = counts.sort(
        "n_users",
        "n_user_days",
        "event",
        descending=[True, True, False],
    )
    return tuple(commonest.head(N_NAMES).collect()["event"])


def properties(
    activity: pl.LazyFrame,
    cutoff: date,
    observation_days: int,
    sources: Sequence[str] = (),
) -> tuple[str, ...]:
    """The numeric properties with most users in the window, known by ``cutoff``.

    Ties are broken by the number of rows and then by name.
    """
    window = user_days.observed(activity, cutoff, observation_days, sources)
    names = pl.col("sums").list.eval(pl.element().struct.field("name"))
    each = window.select("user_id", names.alias("name")).explode("name").drop_nulls()
    counts = each.group_by("name").agg(pl.col("user_id").n_unique(), n_rows=pl.len())
    commonest = counts.sort(
        "user_id",
        "n_rows",
        "name",
        descending=[True, True, False],
    )
    return tuple(commonest.head(N_PROPERTIES).collect()["name"])


def app_level(
    activity: pl.LazyFrame, cutoffs: Sequence[date], plan: Plan
) -> pl.LazyFrame:
    """The trend of all users' activity before each cutoff: cutoff, app_trend.

    ``app_trend`` is a log ratio: active days per day in the last 7 days over those in
    the last 28, or in the observation window if that is shorter.
    """
    active = activity.filter(is_active(plan.counts_as_active))
    window = min(28, plan.observation_days)
    return pl.concat([_app_trend(active, cutoff, window) for cutoff in cutoffs])


def _app_trend(
    active: pl.LazyFrame,
    cutoff: date,
    window: int,
) -> pl.LazyFrame:
    in_window = pl.col("date") >= cutoff - timedelta(days=window)
    recent = active.filter(known_before(pl.lit(cutoff)) & in_window)
    days = recent.select("user_id", "date").unique()
    n_last_week = (pl.col("date") >= cutoff - timedelta(days=7)).sum()
    pace_7d = (n_last_week + 1) / 7
    pace_28d = (pl.len() + 1) / 28
    return days.select(
        pl.lit(cutoff).alias("cutoff"), app_trend=pace_7d.log() - pace_28d.log()
    )


def compute(
    activity: pl.LazyFrame,
    users: pl.LazyFrame,
    cutoffs: Sequence[date],
    plan: Plan,
    eligible_days: int,
    level: pl.LazyFrame | None = None,
) -> pl.LazyFrame:
    """Features of the users eligible at each cutoff: user_id, cutoff, the catalogue.

    Training, scoring and the leakage check all compute features with this function. A
    user is eligible if active within ``eligible_days`` before the cutoff by both
    clocks, and not known to have uninstalled since, to have asked for erasure, or to
    have been merged into another user. ``activity`` and ``users`` must hold all rows of
    each user, so pass whole buckets. ``level`` is the ``app_level`` of all users; by
    default it is computed from the given users.
    """
    days = pl.concat(
        [user_days.build(activity, users, c, plan, eligible_days) for c in cutoffs]
    )
    if level is None:
        level = app_level(activity, cutoffs, plan)
    ordered = user_days.with_gaps(
        days.join(
            level,
            on="cutoff",
            how="left",
        )
    )
    features = catalogue(plan)
    return ordered.group_by("user_id", "cutoff").agg(
        feature.expr.alias(name) for name, feature in features.items()
    )
