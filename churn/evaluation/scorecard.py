"""What the predictions mean for the business: by segment, platform and tenth; revenue
at risk; profit of contacting.

Every table is judged by what happened after the test cutoffs; ``predictions`` are those
of ``churn.evaluation.metrics``.
"""

from datetime import timedelta

import numpy as np
import polars as pl

from churn.clocks import known_before, local_date
from churn.events.activity import counted_once
from churn.hashing import stable_hash
from churn.scoring import segments
from churn.store import Store

N_GROUPS = 10
REVENUE_DAYS = 30
Z = 1.96
DEPTHS = 50


def by_segment(store: Store, predictions: pl.DataFrame) -> pl.DataFrame:
    """``rates`` of the chosen model by segment, highest first, each test cutoff cut
    plainly, without hysteresis.
    """
    known = _with_users(store, predictions)
    parts = [
        part.with_columns(segments.assign(part, store.settings))
        for part in known.partition_by("cutoff")
    ]
    order = pl.Enum(segments.names(store.settings))
    table = rates(
        pl.concat(parts).with_columns(pl.col("segment").cast(order)), "segment"
    )
    return table.with_columns(pl.col("segment").cast(pl.String))


def by_platform(store: Store, predictions: pl.DataFrame) -> pl.DataFrame:
    """``rates`` of the chosen model by the platform on which a user was known to be
    seen before the cutoff.
    """
    return rates(_with_users(store, predictions), "platform")


def _with_users(store: Store, predictions: pl.DataFrame) -> pl.DataFrame:
    """The chosen predictions with ``platform`` (several: more than one) and
    ``tenure_days``, as known at the cutoff.
    """
    chosen = predictions.filter(pl.col("model") == "chosen")
    users = store.scan("users").with_columns(
        local_date("first_at", store.settings.timezone).alias("date")
    )
    seen = (
        chosen.lazy()
        .select("user_id", "cutoff")
        .join(users, on="user_id")
        .filter(known_before(pl.col("cutoff")))
    )
    platforms = pl.col("platform").drop_nulls().unique()
    platform = (
        pl.when(platforms.len() > 1)
        .then(pl.lit("several"))
        .otherwise(platforms.first())
    )
    tenure = (pl.col("cutoff").first() - pl.col("date").min()).dt.total_days()
    facts = seen.group_by("user_id", "cutoff").agg(
        platform.alias("platform"), tenure.alias("tenure_days")
    )
    joined = (
        chosen.lazy()
        .join(facts, on=["user_id", "cutoff"], how="left", maintain_order="left")
        .collect()
    )
    return joined.with_columns(pl.col("platform").fill_null("not stated"))


def rates(rows: pl.DataFrame, by: str) -> pl.DataFrame:
    """Predicted and actual churn of each group: by, n, predicted_rate, churn_rate, its
    95 % interval, found_share.

    ``n`` counts a user once per test cutoff, the Wilson interval (churn_low,
    churn_high) once in all: the same user a week later is hardly new evidence.
    ``found_share``: of all churners, those in this group.
    """
    found = rows.group_by(by).agg(
        n=pl.len(),
        n_users=pl.col("user_id").n_unique(),
        predicted_rate=pl.col("probability").mean(),
        churn_rate=pl.col("churned").mean(),
        found_share=pl.col("churned").sum() / rows["churned"].sum(),
    )
    low, high = (
        _wilson(sign).alias(name)
        for sign, name in ((-1, "churn_low"), (1, "churn_high"))
    )
    return found.with_columns(low, high).sort(by)


def _wilson(sign: int) -> pl.Expr:
    """One end of the Wilson score interval of ``churn_rate`` over ``n_users``."""
    p, n = pl.col("churn_rate"), pl.col("n_users")
    spread = Z * (p * (1 - p) / n + Z**2 / (4 * n**2)).sqrt()
    return (p + Z**2 / (2 * n) + sign * spread) / (1 + Z**2 / n)


def revenue(store: Store, predictions: pl.DataFrame) -> pl.DataFrame:
    """Revenue of each user at one cutoff, of the 30 days before it as known then:
    user_id, revenue; in one currency.

    Of refunds and the like too, as they are; where several sources report the same
    purchase it counts once.
    """
    cutoff = predictions["cutoff"][0]
    rows = store.scan("activity").join(
        predictions.lazy().select("user_id").unique(), on="user_id", how="semi"
    )
    window = rows.filter(
        known_before(pl.lit(cutoff)),
        pl.col("date") >= cutoff - timedelta(days=REVENUE_DAYS),
    )
    return (
        counted_once(window, store.settings.sources)
        .group_by("user_id")
        .agg(pl.col("revenue").sum())
        .collect()
    )


def tenths(predictions: pl.DataFrame, revenue: pl.DataFrame) -> pl.DataFrame:
    """Ten groups of one cutoff's users, 1 most likely to return … 10 least, ties by the
    stable hash.

    Columns: group, n, predicted_rate, churn_rate (did not return within the horizon),
    revenue (of the 30 days before), at_risk (that revenue times the group's churn
    rate).
    """
    order = predictions.with_columns(pl.col("probability").round(segments.DIGITS)).sort(
        "probability", stable_hash("user_id")
    )
    group = pl.int_range(pl.len()) * N_GROUPS // pl.len() + 1
    known = order.with_columns(group=group).join(revenue, on="user_id", how="left")
    return (
        known.group_by("group")
        .agg(
            n=pl.len(),
            predicted_rate=pl.col("probability").mean(),
            churn_rate=pl.col("churned").mean(),
            revenue=pl.col("revenue").sum(),
        )
        .with_columns(at_risk=pl.col("revenue") * pl.col("churn_rate"))
        .sort("group")
    )


def profit_threshold(
    value_per_saved: float, cost_per_contact: float, save_rate: float
) -> float:
    """The probability from which a contact pays: where p · save_rate · value_per_saved
    exceeds its cost.

    Above 1 none does, infinite without a value. Assumes that of those who would churn a
    share of ``save_rate`` stays because of the message, whatever their probability,
    that stayers gain and lose nothing by it, and that a saved user is worth the same
    whoever it is.

    >>> round(profit_threshold(20.0, 0.5, 0.1), 3)
    0.25
    """
    worth = save_rate * value_per_saved
    return cost_per_contact / worth if worth > 0 else float("inf")


def profit(
    predictions: pl.DataFrame,
    value_per_saved: float,
    cost_per_contact: float,
    save_rate: float,
) -> pl.DataFrame:
    """Profit of contacting the riskiest users of one cutoff: probability, n, depth
    (each fiftieth), and two sums.

    ``expected`` by the probabilities, ``realised`` by who then churned; ``probability``
    is that of the last one contacted. Assumptions: ``profit_threshold``. Empty without
    a value.
    """
    worth = save_rate * value_per_saved
    ordered = predictions.sort(
        "probability", stable_hash("user_id"), descending=[True, False]
    ).select(
        "probability",
        n=pl.int_range(1, pl.len() + 1),
        depth=pl.int_range(1, pl.len() + 1) / pl.len(),
        expected=(pl.col("probability") * worth - cost_per_contact).cum_sum(),
        realised=(pl.col("churned") * worth - cost_per_contact).cum_sum(),
    )
    ends = pl.Series(
        np.unique(np.ceil(np.arange(1, DEPTHS + 1) * ordered.height / DEPTHS)),
        dtype=pl.Int64,
    )
    return (
        ordered.filter(pl.col("n").is_in(ends.implode()))
        if worth > 0
        else ordered.clear()
    )
