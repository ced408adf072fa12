"""What the predictions mean for the business.

Tables by segment, platform and tenth of the users, revenue at risk, and the profit of
contacting. All compare predictions with what happened after the test cutoffs;
``predictions`` are those of ``churn.evaluation.metrics``. Where a cut falls among tied
users, each of them counts with the mean outcome of all tied.
"""

from datetime import timedelta

import numpy as np
import polars as pl

from churn.clocks import known_before, local_date
from churn.errors import ParameterError
from churn.evaluation import periods
from churn.evaluation.metrics import tied
from churn.events.activity import counted_once
from churn.scoring import ranks, segments
from churn.stats.shares import wilson
from churn.store import Store

N_GROUPS = 10
"""Number of groups of equal size that ``tenths`` makes."""

REVENUE_DAYS = 30
"""Days before the cutoff whose revenue is at risk."""

N_DEPTHS = 50
"""Number of points of a profit curve."""


def by_segment(
    store: Store,
    predictions: pl.DataFrame,
) -> pl.DataFrame:
    """``rates`` of the chosen model by segment, riskiest first.

    Each test cutoff is cut by itself, without hysteresis.
    """
    known = _with_users(store, predictions)
    parts = []
    for part in known.partition_by("cutoff"):
        parts.append(part.with_columns(segments.assign(part, store.settings)))
    order = pl.Enum(segments.names(store.settings))
    # Users who are too new for a segment are never cut among.
    is_new = pl.col("segment") == store.settings.policy.unknown_segment
    cut = pl.concat(parts).with_columns(is_new=is_new)
    shared = cut.with_columns(
        tied("churned", "cutoff", "is_new"), pl.col("segment").cast(order)
    )
    table = rates(shared, "segment", store.settings.windows.horizon_days)
    return table.with_columns(pl.col("segment").cast(pl.String))


def by_platform(
    store: Store,
    predictions: pl.DataFrame,
) -> pl.DataFrame:
    """``rates`` of the chosen model by platform, as known at the cutoff."""
    horizon_days = store.settings.windows.horizon_days
    return rates(_with_users(store, predictions), "platform", horizon_days)


def _with_users(
    store: Store,
    predictions: pl.DataFrame,
) -> pl.DataFrame:
    """Predictions of the chosen model with ``platform`` and ``tenure_days``.

    As known at the cutoff. Probabilities are rounded as where segments are cut. A user
    of more than one platform has "several", one without any "not stated".
    """
    rounded = pl.col("probability").round(ranks.DIGITS)
    chosen = (
        predictions.filter(pl.col("model") == "chosen").with_columns(rounded).lazy()
    )
    first_date = local_date("first_at", store.settings.timezone).alias("date")
    users = store.scan("users").with_columns(first_date)
    keys = ["user_id", "cutoff"]
    known = chosen.select(keys).join(users, on="user_id")
    known = known.filter(known_before(pl.col("cutoff")))
    platforms = pl.col("platform").drop_nulls().unique()
    several = pl.when(platforms.len() > 1).then(pl.lit("several"))
    facts = known.group_by(keys).agg(
        several.otherwise(platforms.first()).alias("platform"),
        tenure_days=(pl.col("cutoff").first() - pl.col("date").min()).dt.total_days(),
    )
    joined = chosen.join(
        facts,
        on=keys,
        how="left",
        maintain_order="left",
    )
    return joined.with_columns(pl.col("platform").fill_null("not stated")).collect()


def rates(
    rows: pl.DataFrame,
    by: str,
    horizon_days: int,
) -> pl.DataFrame:
    """Predicted and actual churn of each group.

    Columns: ``by``, n, n_users, predicted_rate, churn_rate, churner_share (of all
    churners), churn_low, churn_high. ``n`` counts a user once per test cutoff. The 95 %
    interval (churn_low, churn_high) is that of Wilson, which counts users once in all,
    since the same user a week later is hardly new evidence. It is widened by how far
    the rate missed its forecast from cutoff to cutoff, see ``periods.half_width``; with
    one test cutoff, which can't show that, it is Wilson's alone.
    """
    table = (
        rows.group_by(by)
        .agg(
            n=pl.len(),
            n_users=pl.col("user_id").n_unique(),
            predicted_rate=pl.col("probability").mean(),
            churn_rate=pl.col("churned").mean(),
            churner_share=pl.col("churned").sum() / rows["churned"].sum(),
        )
        .sort(by)
    )
    groups = [rows.filter(pl.col(by) == group) for group in table[by]]
    halves = [_half_width(group, horizon_days) for group in groups]
    rate = pl.col("churn_rate")
    half = pl.Series(halves, dtype=pl.Float64)
    users_low, users_high = wilson(rate, pl.col("n_users"))
    low = rate - ((rate - users_low) ** 2 + half**2).sqrt()
    high = rate + ((users_high - rate) ** 2 + half**2).sqrt()
    return table.with_columns(churn_low=low.clip(0, 1), churn_high=high.clip(0, 1))


def _half_width(
    group: pl.DataFrame,
    horizon_days: int,
) -> float:
    """By how much other periods may move a group's rate; 0 with one test cutoff."""
    is_churned = pl.col("churned").cast(pl.Float64)
    at_cutoffs = group.group_by("cutoff").agg(
        n=pl.len(),
        variance=is_churned.mean() * (1 - is_churned.mean()),
        missed=(is_churned - pl.col("probability")).mean(),
    )
    known = at_cutoffs.sort("cutoff")
    if known.height < 2:
        return 0.0
    return periods.half_width(
        known["missed"].to_numpy(),
        known["n"].to_numpy(),
        np.diag((known["variance"] / known["n"]).to_numpy()),
        known["cutoff"].to_list(),
        horizon_days,
    )


def revenue(
    store: Store,
    predictions: pl.DataFrame,
) -> pl.DataFrame:
    """Revenue of the users of one cutoff in the 30 days before it, as known then.

    Columns: user_id, revenue. In the study's currency; refunds and the like are added
    as they are. A purchase that several sources report counts once.
    """
    cutoff = predictions["cutoff"][0]
    users = predictions.lazy().select("user_id").unique()
    rows = store.scan("activity").join(
        users,
        on="user_id",
        how="semi",
    )
    first = cutoff - timedelta(days=REVENUE_DAYS)
    window = rows.filter(known_before(pl.lit(cutoff)), pl.col("date") >= first)
    once = counted_once(window, store.settings.sources)
    return once.group_by("user_id").agg(pl.col("revenue").sum()).collect()


def tenths(
    predictions: pl.DataFrame,
    revenue: pl.DataFrame,
) -> pl.DataFrame:
    """Ten groups of one cutoff's users, from 1 (most likely to return) to 10 (least).

    Columns: group, n, predicted_rate, churn_rate, revenue (of the 30 days before),
    at_risk (that revenue times the group's churn rate). Tied users share their revenue
    too.
    """
    known = predictions.join(revenue, on="user_id", how="left")
    rounded = known.with_columns(
        pl.col("probability").round(ranks.DIGITS), pl.col("revenue").fill_null(0)
    )
    shared = rounded.with_columns(tied("churned"), tied("revenue"))
    group = pl.int_range(pl.len()) * N_GROUPS // pl.len() + 1
    grouped = shared.sort("probability").with_columns(group=group)
    table = grouped.group_by("group").agg(
        n=pl.len(),
        predicted_rate=pl.col("probability").mean(),
        churn_rate=pl.col("churned").mean(),
        revenue=pl.col("revenue").sum(),
    )
    at_risk = pl.col("revenue") * pl.col("churn_rate")
    return table.with_columns(at_risk=at_risk).sort("group")


def profit_threshold(
    value_per_saved: float,
    cost_per_contact: float,
    save_rate: float,
) -> float:
    """The probability above which a contact pays.

    It pays where probability × ``save_rate`` × ``value_per_saved`` exceeds the cost:
    nowhere if the threshold is 1 or more; it is infinite without a value. Assumed is
    that of those who would churn a share of ``save_rate`` stays because of the message,
    whatever their probability, that users who would stay gain and lose nothing by it,
    and that all saved users are worth the same.

    >>> round(profit_threshold(20.0, 0.5, 0.1), 3)
    0.25
    """
    worth = worth_of_a_leaver(value_per_saved, save_rate)
    return cost_per_contact / worth if worth > 0 else float("inf")


def worth_of_a_leaver(
    value_per_saved: float,
    save_rate: float,
) -> float:
    """What contacting one user who would leave brings in on average.

    Raises ParameterError for a ``save_rate`` that is no share.

    >>> worth_of_a_leaver(20.0, 0.05)
    1.0
    """
    if not 0 <= save_rate <= 1:
        raise ParameterError(
            f"save_rate={save_rate:g} is no share: write 0.05 for 1 in 20"
        )
    return save_rate * value_per_saved


def break_even_save_rate(
    predictions: pl.DataFrame,
    value_per_saved: float,
    cost_per_contact: float,
) -> float:
    """Share of the leavers who must stay for a contact of all these users to pay.

    More than 1 if it can't pay, and infinite if nobody is expected to leave. The other
    assumptions are those of ``profit_threshold``.
    """
    cost = predictions.height * cost_per_contact
    at_stake = float(predictions["probability"].sum()) * value_per_saved
    return cost / at_stake if at_stake > 0 else float("inf")


def profit(
    predictions: pl.DataFrame,
    value_per_saved: float,
    cost_per_contact: float,
    save_rate: float,
) -> pl.DataFrame:
    """Assumed profit of contacting the riskiest users, at each fiftieth of them.

    Columns: probability (of the last user contacted), n, depth (share of the users),
    expected (profit by the probabilities), hindsight (profit by who then churned). Both
    hang on ``save_rate`` and the other assumptions of ``profit_threshold``: neither was
    earned. Empty without a value.
    """
    worth = worth_of_a_leaver(value_per_saved, save_rate)
    shared = predictions.with_columns(tied("churned"))
    ordered = shared.sort("probability", descending=True)
    rank = pl.int_range(1, pl.len() + 1)
    expected = pl.col("probability") * worth - cost_per_contact
    hindsight = pl.col("churned") * worth - cost_per_contact
    curve = ordered.select(
        "probability",
        n=rank,
        depth=rank / pl.len(),
        expected=expected.cum_sum(),
        hindsight=hindsight.cum_sum(),
    )
    if worth <= 0:
        return curve.clear()
    fiftieths = np.ceil(np.arange(1, N_DEPTHS + 1) * curve.height / N_DEPTHS)
    ends = pl.Series(np.unique(fiftieths), dtype=pl.Int64)
    return curve.filter(pl.col("n").is_in(ends.implode()))
