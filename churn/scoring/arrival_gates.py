"""Gates on how the data arrived: old history, truncated reports, duplicate rows."""

from datetime import date
from typing import Any

import polars as pl

from churn.scoring.baseline import MIN_ROWS, days_before
from churn.scoring.gate import Case, verdict
from churn.settings import Settings

# Days between event and receipt beyond which a row is old history. Phones that were
# offline report within a few days; what comes after a week was sent again or imported.
OLD_DAYS = 7
# Number of weeks before the newest ingest whose files are checked.
RECENT_WEEKS = 4
# Largest possible numbers of rows of an AppsFlyer raw-data report.
REPORT_LIMITS = (200_000, 1_000_000)


def bulk_backfill(
    known: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if many of the events received on a day were over a week old.

    That history was not known at past cutoffs.
    """
    limit = settings.gates.max_backfill_rate
    first = days_before(cutoff, settings.gates.window_days)
    is_old = pl.col("date") < pl.col("known_date") - pl.duration(days=OLD_DAYS)
    received = known.filter(pl.col("known_date") >= first)
    days = received.group_by("known_date", "extract").agg(
        pl.col("n").filter(is_old).sum().alias("old"), pl.col("n").sum()
    )
    is_bulk = (pl.col("old") >= MIN_ROWS) & (pl.col("old") > limit * pl.col("n"))
    bulk = days.filter(is_bulk).sort("known_date", "extract")
    cases = [
        Case(
            where=extract,
            days=str(day),
            seen=(
                f"{old / n:.0%} of {n:,} events received were over {OLD_DAYS} days old"
            ),
            off=old / n,
        )
        for day, extract, old, n in bulk.iter_rows()
    ]
    return verdict(
        cutoff,
        "bulk_backfill",
        cases,
        expected=f"at most {limit:.0%} of a day's receipts",
        cure=(
            "Cutoffs up to that day don't know them: train again once later ones are "
            "mature"
        ),
        all_clear="no day brought much old history",
    )


def truncated_report(
    files: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if an AppsFlyer file has exactly as many rows as a report can have.

    The rest of the report is then lost. Only files of the last weeks are checked.
    """
    extracts = [e.path for e in settings.extracts if e.source == "appsflyer"]
    ingested_at = pl.col("ingested_at")
    is_recent = ingested_at >= ingested_at.max() - pl.duration(weeks=RECENT_WEEKS)
    is_cut = pl.col("extract").is_in(extracts) & pl.col("rows").is_in(REPORT_LIMITS)
    cut = files.filter(is_recent & is_cut).sort("address")
    cases = [
        Case(
            where=row["address"],
            days=str(row["ingested_at"].date()),
            seen=f"exactly {row['rows']:,} rows",
        )
        for row in cut.iter_rows(named=True)
    ]
    return verdict(
        cutoff,
        "truncated_report",
        cases,
        expected="fewer rows than the limit",
        cure=(
            "AppsFlyer cuts reports off there: fetch the period in shorter ones and "
            "ingest them"
        ),
        all_clear="no report was cut off",
    )


def duplicate_rows(
    files: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if many rows of the newest ingest are copies of other rows in it.

    The cause is mostly a report that was delivered twice.
    """
    limit = settings.gates.max_copy_rate
    is_newest = pl.col("ingested_at") == pl.col("ingested_at").max()
    newest = files.filter(is_newest).sort("copies", "address")
    counts = newest.group_by("extract").agg(
        pl.col("ingested_at", "address").last(), pl.col("copies", "rows").sum()
    )
    has_copies = pl.col("copies") > limit * pl.col("rows")
    copied = counts.filter(pl.col("rows") >= MIN_ROWS, has_copies).sort("extract")
    cases = [
        Case(
            where=row["extract"],
            days=str(row["ingested_at"].date()),
            seen=(
                f"{row['copies']:,} of {row['rows']:,} rows are copies, most of them "
                f"in {row['address']}"
            ),
        )
        for row in copied.iter_rows(named=True)
    ]
    return verdict(
        cutoff,
        "duplicate_rows",
        cases,
        expected=f"at most {limit:.0%} copies",
        cure=(
            "Look for a report delivered twice; if reports overlap on purpose, raise "
            "max_copy_rate"
        ),
        all_clear="few or no rows are copies",
    )
