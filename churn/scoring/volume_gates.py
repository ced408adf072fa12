"""Gates on the number of events per day: too few, too many, or none of one name."""

from datetime import date
from typing import Any

import polars as pl

from churn.scoring.baseline import WEEKS, expected_counts
from churn.scoring.gate import Case, verdict
from churn.settings import Settings

# Number of standard deviations, both of a Poisson count and of the series' daily
# ratios, beyond which a day fails.
NOISE = 5.0
# Ratio of a normal distribution's standard deviation to its median absolute deviation.
SIGMA_PER_MAD = 1.4826
# Fewest expected events per day for which an event name is checked.
MIN_EVENT = 20.0
# An event name on a larger share of days counts as occurring every day.
EVERY_DAY = 0.95


def day_ratios(
    known: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> pl.DataFrame:
    """Ratio of actual to expected events on each day of the window.

    Columns: extract, platform ("" for all platforms), date, n, expected, ratio. The
    expected number follows the app's growth: it is multiplied by the median ratio of
    neighbouring days, so that growth, decline and weekends make no day fail. Platforms
    are listed only if an extract states more than one.
    """
    n_platforms = pl.col("platform").n_unique().over("extract")
    several = (pl.col("platform") != "") & (n_platforms > 1)
    total = known.with_columns(platform=pl.lit(""))
    rows = pl.concat([total, known.filter(several)])
    key = ["extract", "platform"]
    counts = expected_counts(rows, key, cutoff, settings.gates.window_days)
    counts = counts.filter(pl.col("expected") > 0)
    raw = pl.col("n") / pl.col("expected")
    median = raw.rolling_median(
        15,
        min_samples=1,
        center=True,
    ).over(key)
    growth = median.clip(0.5, 2.0)
    grown = counts.with_columns(expected=pl.col("expected") * growth)
    return grown.with_columns(ratio=raw)


def missing_day(
    days: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if an extract or platform has far fewer events than is usual on a weekday.

    The users whose events are missing would look churned.
    """
    limit = settings.gates.min_day_share
    return verdict(
        cutoff,
        "missing_day",
        _cases(days, pl.col("ratio") < limit),
        expected=f"at least {limit:.0%} of the usual",
        cure="Fetch the missing files and ingest again",
        all_clear="every day has as many events as its weekday usually has",
    )


def excess_day(
    days: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if a day has far more events than is usual on its weekday.

    Possible causes are files that were delivered twice and wrong clocks.
    """
    limit = settings.gates.max_day_share
    return verdict(
        cutoff,
        "excess_day",
        _cases(days, pl.col("ratio") > limit),
        expected=f"at most {limit:.0%} of the usual",
        cure="Look for a double delivery, remove it and ingest anew",
        all_clear="no day has far more events than its weekday usually has",
    )


def _cases(days: pl.DataFrame, is_beyond_limit: pl.Expr) -> list[Case]:
    """Days whose ratio is beyond both the limit and the noise.

    The noise is that of a random count, and the usual variation between the days of the
    series. A platform is named only if not all platforms of the extract are affected.
    """
    expected = pl.col("expected")
    is_platform = pl.col("platform") != ""
    distance = ((pl.col("n") + 1) / (expected + 1)).log().abs()
    spread = SIGMA_PER_MAD * distance.median().over("extract", "platform")
    beyond_count = (pl.col("n") - expected).abs() > NOISE * expected.sqrt()
    beyond_spread = distance > NOISE * spread
    is_off = is_beyond_limit & beyond_count & beyond_spread
    marked = days.with_columns(is_off=is_off)
    off = pl.col("is_off")
    everywhere = (off | ~is_platform).all().over("extract", "date")
    failing = marked.filter(off & ~(is_platform & everywhere))
    rows = failing.sort("date", "extract", "platform").iter_rows(named=True)
    return [
        Case(
            where=f"{row['extract']} {row['platform']}".strip(),
            days=str(row["date"]),
            seen=(
                f"{row['n']:,.0f} events, {row['ratio']:.0%} of the usual "
                f"{row['expected']:,.0f}"
            ),
        )
        for row in rows
    ]


def vanished_event(known: pl.DataFrame, cutoff: date) -> dict[str, Any]:
    """Fails if an event that occurred every day is absent on its extract's last day.

    The event was then renamed or lost. The last day is the last one on which the
    extract has any events.
    """
    names = expected_counts(known, ["extract", "event"], cutoff, 7 * WEEKS + 1)
    n = pl.col("n")
    filled = names.filter(n.sum().over("extract", "date") > 0)
    is_last = pl.col("date") == pl.col("date").max().over("extract")
    share = (n > 0).filter(~is_last).mean().over("extract", "event")
    is_regular = (pl.col("expected") >= MIN_EVENT) & (pl.col("share") > EVERY_DAY)
    gone = filled.with_columns(share=share).filter(is_last, n == 0, is_regular)
    cases = [
        Case(
            where=f"{row['extract']} {row['event']}",
            days=str(row["date"]),
            seen=f"none of the usual {row['expected']:,.0f}",
        )
        for row in gone.iter_rows(named=True)
    ]
    return verdict(
        cutoff,
        "vanished_event",
        cases,
        expected="every usual event",
        cure="If it was renamed, put the new name into the study and train again",
        all_clear="no usual event is gone",
    )
