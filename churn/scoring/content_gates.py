"""Gates on the content of events: users, columns, currencies and copies."""

from datetime import date
from typing import Any

import polars as pl

from churn.scoring.baseline import MIN_ROWS, RECENT_DAYS, WEEKS, days_before, span
from churn.scoring.gate import Case, verdict
from churn.settings import Settings

# Fewest amounts in the window for which currencies are checked. Of fewer, a single tourist
# would be a share beyond the limit.
MIN_AMOUNTS = 20
# Smallest share of filled rows for which a column counts as usually filled. A rarer one
# may be empty on a day without any fault.
MIN_FILLED = 0.05
# Fewest expected filled rows on a day for which a column is checked.
MIN_EXPECTED = 50
# Fewest copies on a day for which the day is checked.
MIN_COPIES = 20
# A column with a smaller share of its expected filled rows counts as lost. Not 0, since
# old versions of an app fill a renamed column for a while.
LOST = 0.1


def unknown_users(
    known: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if the share of an extract's events without a user rose in the last week.

    The rise is measured against the four weeks before.
    """
    limit = settings.gates.max_unknown_rise
    rates = _unknown_rates(known, cutoff)
    is_risen = pl.col("now") - pl.col("before") > limit
    risen = rates.filter(pl.col("n") >= MIN_ROWS, is_risen).sort("extract")
    cases = [
        Case(
            where=row["extract"],
            days=span(cutoff, RECENT_DAYS),
            seen=(
                f"{row['now']:.1%} of events have no user, "
                f"{row['before']:.1%} in the weeks before"
            ),
        )
        for row in risen.iter_rows(named=True)
    ]
    return verdict(
        cutoff,
        "unknown_users",
        cases,
        expected=f"a rise of at most {limit:.0%}",
        cure="Look for a lost id column or a release that sets no user id",
        all_clear="no more events lack a user than in the weeks before",
    )


def _unknown_rates(known: pl.DataFrame, cutoff: date) -> pl.DataFrame:
    """Share of events without a user, by extract: now, before, and n of the last week.

    A share is null where there are no events, as before an extract began.
    """
    week = days_before(cutoff, RECENT_DAYS)
    window = known.filter(pl.col("date") >= days_before(week, 7 * WEEKS))
    is_recent = pl.col("date") >= week

    def rate(part: pl.Expr) -> pl.Expr:
        without = pl.col("n_without_user").filter(part).sum()
        return (without / pl.col("n").filter(part).sum()).fill_nan(None)

    return window.group_by("extract").agg(
        rate(is_recent).alias("now"),
        rate(~is_recent).alias("before"),
        pl.col("n").filter(is_recent).sum(),
    )


def schema_change(counted: pl.DataFrame, cutoff: date) -> dict[str, Any]:
    """Fails if a usually filled column is nearly empty on a day of the last week.

    The column was then renamed or lost. Shares of filled rows are compared with those
    of the four weeks before.
    """
    filled = _filled_columns(counted, cutoff)
    expected = pl.col("share") * pl.col("rows")
    lost = filled.filter(
        pl.col("share") >= MIN_FILLED,
        expected >= MIN_EXPECTED,
        pl.col("n") < LOST * expected,
    )
    cases = [
        Case(
            where=f"{row['extract']} column {row['value']}",
            days=str(row["date"]),
            seen=(
                f"filled in {row['n']:,} of {row['rows']:,} rows, "
                f"usually in {row['share']:.0%}"
            ),
        )
        for row in lost.sort("date", "extract", "value").iter_rows(named=True)
    ]
    return verdict(
        cutoff,
        "schema_change",
        cases,
        expected="columns filled as usual",
        cure="If it was renamed, name it in the extract's columns and ingest anew",
        all_clear="every usually filled column is filled",
    )


def _filled_columns(counted: pl.DataFrame, cutoff: date) -> pl.DataFrame:
    """Filled rows of each column on each day of the last week.

    Columns: extract, date, rows, value (the column's name), n, and share, that of
    filled rows in the weeks before. A day's rows are the events of all its hours.
    """
    week = days_before(cutoff, RECENT_DAYS)
    window = counted.filter(pl.col("date") >= days_before(week, 7 * WEEKS))
    hours = window.filter(pl.col("measure") == "hour")
    rows = hours.group_by("extract", "date").agg(rows=pl.col("n").sum())
    columns = window.filter(pl.col("measure") == "column")
    filled = columns.group_by("extract", "value", "date").agg(pl.col("n").sum())
    names = filled.select("extract", "value").unique()
    every = rows.join(names, on="extract").join(
        filled, on=["extract", "value", "date"], how="left"
    )
    is_before = pl.col("date") < week
    n = pl.col("n").filter(is_before).sum()
    share = (n / pl.col("rows").filter(is_before).sum()).over("extract", "value")
    zeros = every.with_columns(pl.col("n").fill_null(0))
    return zeros.with_columns(share=share.fill_nan(0.0)).filter(~is_before)


def mixed_currencies(
    counted: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if many amounts of the window are in a currency other than the study's.

    Such amounts are counted, but add nothing to revenue.
    """
    limit = settings.gates.max_other_currency_rate
    currency = settings.activity.currency
    days = settings.gates.window_days
    recent = counted.filter(
        pl.col("measure") == "currency", pl.col("date") >= days_before(cutoff, days)
    )
    amounts = recent.group_by("value").agg(pl.col("n").sum())
    others = amounts.filter(pl.col("value") != currency)
    others = others.sort("n", "value", descending=True)
    n = int(amounts["n"].sum())
    n_other = int(others["n"].sum())
    cases = []
    if n >= MIN_AMOUNTS and n_other > limit * n:
        commonest = others["value"][0]
        seen = (
            f"{n_other:,} of {n:,} are not in {currency}, most of them in {commonest}"
        )
        cases.append(Case("amounts", span(cutoff, days), seen))
    return verdict(
        cutoff,
        "mixed_currencies",
        cases,
        expected=f"at most {limit:.0%} in others",
        cure="Set activity.currency to the commonest, or convert the amounts",
        all_clear=f"nearly all amounts are in {currency}",
    )


def copied_day(
    counted: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if many more of a day's events than usual are copies of other rows.

    The cause is mostly a day that an export holds twice. Copies are equal rows of one
    file, without event ids: with ids, a row that comes again is no new event. The usual
    share is the median of the extract's days, since rows that are equal by chance are
    common where times are coarse.
    """
    limit = settings.gates.max_copy_rate
    days = _copy_rates(counted, settings, cutoff)
    is_risen = pl.col("rate") - pl.col("usual") > limit
    copied = days.filter(pl.col("copies") >= MIN_COPIES, is_risen)
    cases = [
        Case(
            where=row["extract"],
            days=str(row["date"]),
            seen=(
                f"{row['copies']:,} of {row['n']:,} rows are copies of others, "
                f"{row['rate']:.0%} where {row['usual']:.0%} is usual"
            ),
            off=row["rate"],
        )
        for row in copied.sort("date", "extract").iter_rows(named=True)
    ]
    return verdict(
        cutoff,
        "copied_day",
        cases,
        expected=f"at most {limit:.0%} more copies than usual",
        cure="Look for a day that was exported twice, remove it and ingest anew",
        all_clear="no day has many more copies of rows than usual",
    )


def _copy_rates(
    counted: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> pl.DataFrame:
    """Share of copies on each day of the window, and the usual share of the extract.

    Columns: extract, date, n, copies, rate, usual.
    """
    day = ["extract", "date"]
    of_hour = counted.filter(pl.col("measure") == "hour")
    of_copy = counted.filter(pl.col("measure") == "copy")
    n = of_hour.group_by(day).agg(pl.col("n").sum())
    copies = of_copy.group_by(day).agg(copies=pl.col("n").sum())
    both = n.join(copies, on=day, how="left")
    filled = both.with_columns(pl.col("copies").fill_null(0))
    rates = filled.with_columns(rate=pl.col("copies") / pl.col("n"))
    usual = rates.with_columns(usual=pl.col("rate").median().over("extract"))
    first = days_before(cutoff, settings.gates.window_days)
    return usual.filter(pl.col("date") >= first)
