"""Expected numbers of events per day, with which the gates compare actual numbers."""

from collections.abc import Collection, Sequence
from datetime import date, timedelta

import polars as pl

from churn.clocks import known_before

# Number of weeks before a day from which its expected counts are taken. The median of
# four weekdays bears one odd day; more weeks would lag behind an app that grows.
WEEKS = 4
# Days before the cutoff whose shares are compared with those of the weeks before.
RECENT_DAYS = 7
# Fewest events from which a share or an hourly profile is computed: with 100 the 95 %
# interval of a share is within 10 points to either side.
MIN_ROWS = 100


def days_before(cutoff: date, days: int) -> date:
    """The date ``days`` days before the cutoff."""
    return cutoff - timedelta(days=days)


def span(cutoff: date, days: int) -> str:
    """First and last of the days before the cutoff, as text."""
    return f"{days_before(cutoff, days)} to {days_before(cutoff, 1)}"


def expected_counts(
    rows: pl.DataFrame,
    by: Sequence[str],
    cutoff: date,
    window_days: int,
    left_out: Collection[date] = (),
) -> pl.DataFrame:
    """Events of each key on each day of the window, and how many are expected.

    ``rows``: the columns ``by``, date, known_date, n. Returns ``by``, date, n,
    expected. The expected number is the median of the same weekday in the four weeks
    before. Each of these days is counted as it was known when it was as old as the day
    is now, so that events which always arrive late don't count as missing. From a key's
    first day on, a day without events counts as 0. ``expected`` is null while fewer
    than two such weekdays are known. Days that are ``left_out``, such as holidays, are
    neither listed nor compared with; earlier weeks take their place.
    """
    n_weeks = 2 * WEEKS if left_out else WEEKS
    counts = _aged_counts(rows, by, cutoff, window_days, n_weeks)
    grid = _grid(rows, by, cutoff, window_days, n_weeks)
    if left_out:
        grid = _without(grid, by, left_out)
    key = [*by, "date", "week"]
    every = grid.join(
        counts,
        on=key,
        how="left",
    ).with_columns(pl.col("n").fill_null(0))
    before = pl.col("n").filter(pl.col("week") > 0)
    expected = pl.when(before.len() > 1).then(before.median()).alias("expected")
    now = pl.col("n").filter(pl.col("week") == 0).sum()
    return every.group_by(*by, "date").agg(now, expected).sort(*by, "date")


def _weeks(n_weeks: int) -> pl.DataFrame:
    return pl.DataFrame({"week": range(n_weeks + 1)})


def _without(
    grid: pl.DataFrame,
    by: Sequence[str],
    left_out: Collection[date],
) -> pl.DataFrame:
    """The grid without these days, with the nearest four other weeks of each day."""
    compared = pl.col("date") - pl.duration(weeks=pl.col("week"))
    is_usual = ~compared.is_in(list(left_out))
    is_listed = ~pl.col("date").is_in(list(left_out))
    usual = grid.filter(is_usual & is_listed)
    nearest = pl.col("week").rank("ordinal").over(*by, "date") <= WEEKS + 1
    return usual.filter(nearest)


def _grid(
    rows: pl.DataFrame,
    by: Sequence[str],
    cutoff: date,
    window_days: int,
    n_weeks: int,
) -> pl.DataFrame:
    """Every combination of key, day of the window and number of weeks back.

    Combinations before the key's first day are left out.
    """
    start = days_before(cutoff, window_days)
    days = pl.date_range(start, days_before(cutoff, 1), eager=True).alias("date")
    first_days = rows.group_by(by).agg(first=pl.col("date").min())
    weeks = days.to_frame().join(_weeks(n_weeks), how="cross")
    grid = first_days.join(weeks, how="cross")
    compared = pl.col("date") - pl.duration(weeks=pl.col("week"))
    return grid.filter(compared >= pl.col("first"))


def _aged_counts(
    rows: pl.DataFrame,
    by: Sequence[str],
    cutoff: date,
    window_days: int,
    n_weeks: int,
) -> pl.DataFrame:
    """Events by key, day and weeks back, as known when that day was equally old."""
    first = days_before(cutoff, window_days + 7 * n_weeks)
    recent = rows.filter(pl.col("date") >= first)
    recent = recent.join(_weeks(n_weeks), how="cross")
    shift = pl.duration(weeks=pl.col("week"))
    aged = recent.with_columns(pl.col("date", "known_date") + shift)
    known = aged.filter(known_before(pl.lit(cutoff)))
    return known.group_by(*by, "date", "week").agg(pl.col("n").sum())
