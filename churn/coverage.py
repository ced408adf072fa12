"""Which days are whole: the last complete day over all extracts, less each source's settling time."""

from datetime import date, timedelta

import polars as pl

from churn import sources
from churn.study import Extract, Study

LIVE_SHARE = 0.01  # of the median day: below it a day holds strays, not data
WHOLE_SHARE = 0.5  # of the same weekday before: below it the last day was cut off half-way


def covered_until(volume: pl.DataFrame, study: Study) -> date | None:
    """The last day on which labels can be trusted; null without any events.

    A stray row far from the others moves nothing: days with under 1 % of the median day's events are not data. The last
    day counts as complete if it has at least half of what the same weekday had in the four weeks before.
    """
    days = [_one_extract(volume, extract) for extract in study.extracts]
    known = [day for day in days if day]
    return min(known) if known else None


def _one_extract(volume: pl.DataFrame, extract: Extract) -> date | None:
    if extract.covered_until:
        return extract.covered_until
    daily = volume.filter(pl.col("extract") == extract.path).group_by("date").agg(pl.col("n").sum()).sort("date")
    if daily.is_empty():
        return None
    live = daily.filter(pl.col("n") >= LIVE_SHARE * pl.col("n").median())
    return _last_whole_day(live) - timedelta(days=sources.settling_days(extract))


def _last_whole_day(live: pl.DataFrame) -> date:
    last: date
    last, n = live.row(-1)
    weeks = [last - timedelta(days=7 * k) for k in range(1, 5)]
    usual = live.filter(pl.col("date").is_in(weeks))["n"].median()
    cut_off = isinstance(usual, float) and n < WHOLE_SHARE * usual
    return last - timedelta(days=1) if cut_off else last
