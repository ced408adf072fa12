"""Gates on the days of the log: their volume, names, users, hours, columns, receipts
and currencies.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from churn.clocks import known_before
from churn.scoring.gate import Case, verdict
from churn.settings import Settings

WEEKS = 4  # before a day, that say what is usual
RECENT_DAYS = (
    7  # compared with the weeks before, for rows without a user and for columns
)
# standard deviations of a count, and of a series' own days, by which a day must be off
NOISE = 5.0
MIN_ROWS = 100  # below it a share or a profile says nothing
MIN_EVENT = 20.0  # events a day from which a name is missed when it is gone
EVERY_DAY = 0.95  # share of the days from which a name came every day
MIN_AMOUNTS = 20  # of the window, from which their currencies are looked at
# log-likelihood per event by which a shifted clock must explain a day better than a
# right one
CLOCK_GAIN = 0.1
CLOCK_SHARE = (
    0.7  # of all that is unusual about a day's hours that the shift must explain
)
MIN_FILLED = 0.05  # share of rows from which a column counts as usually filled
MIN_LOST = 50  # filled rows expected of a day, from which a column is missed
LOST = 0.1  # of its usual share, below which a column is lost
OLD_DAYS = 7  # between event and receipt, beyond which a row is history sent in later


def _back(cutoff: date, days: int) -> date:
    return cutoff - timedelta(days=days)


def _span(cutoff: date, days: int) -> str:
    return f"{_back(cutoff, days)} to {_back(cutoff, 1)}"


def _usual(
    rows: pl.DataFrame, by: Sequence[str], cutoff: date, window_days: int
) -> pl.DataFrame:
    """Each key's events on each of the last days, and how many are usual: by, date, n,
    usual.

    Usual is the median of the same weekday in the four weeks before, each as it was
    known at that age: what comes late always is nobody's fault. A day without events
    counts as none from the key's first day on; usual is null while fewer than two such
    weekdays are known.
    """
    start, week = _back(cutoff, window_days), pl.DataFrame({"week": range(WEEKS + 1)})
    days = (
        pl.date_range(start, _back(cutoff, 1), eager=True)
        .alias("date")
        .to_frame()
        .join(week, how="cross")
    )
    ago = pl.duration(weeks=pl.col("week"))
    keys = rows.group_by(by).agg(first=pl.col("date").min())
    grid = keys.join(days, how="cross").filter(pl.col("date") - ago >= pl.col("first"))
    recent = rows.filter(pl.col("date") >= _back(start, 7 * WEEKS)).join(
        week, how="cross"
    )
    aged = recent.with_columns(pl.col("date", "known_date") + ago).filter(
        known_before(pl.lit(cutoff))
    )
    counts = aged.group_by(*by, "date", "week").agg(pl.col("n").sum())
    every = grid.join(counts, on=[*by, "date", "week"], how="left").with_columns(
        pl.col("n").fill_null(0)
    )
    before = pl.col("n").filter(pl.col("week") > 0)
    usual = pl.when(before.len() > 1).then(before.median()).alias("usual")
    return (
        every.group_by(*by, "date")
        .agg(pl.col("n").filter(pl.col("week") == 0).sum(), usual)
        .sort(*by, "date")
    )


def day_ratios(known: pl.DataFrame, settings: Settings, cutoff: date) -> pl.DataFrame:
    """Each judged day's events over the usual ones: extract, platform, date, n, usual,
    ratio; platform "": all.

    Usual grows as the app does: times the median of the neighbouring days' own ratios.
    So growth, decline and weekends are nobody's fault. Platforms are judged where an
    extract states more than one.
    """
    several = (pl.col("platform") != "") & (
        pl.col("platform").n_unique().over("extract") > 1
    )
    rows = pl.concat([known.with_columns(platform=pl.lit("")), known.filter(several)])
    usual = _usual(
        rows, ["extract", "platform"], cutoff, settings.gates.window_days
    ).filter(pl.col("usual") > 0)
    raw = pl.col("n") / pl.col("usual")
    growth = (
        raw.rolling_median(15, min_samples=1, center=True)
        .over("extract", "platform")
        .clip(0.5, 2.0)
    )
    return usual.with_columns(usual=pl.col("usual") * growth).with_columns(ratio=raw)


def missing_day(days: pl.DataFrame, settings: Settings, cutoff: date) -> dict[str, Any]:
    """Fails if an extract or platform has far fewer events than usual on a weekday:
    users would look churned.
    """
    limit = settings.gates.min_day_share
    cases = _off(days, pl.col("ratio") < limit)
    expected, cure = (
        f"at least {limit:.0%} of the usual",
        "Fetch the missing files and ingest again",
    )
    return verdict(
        cutoff,
        "missing_day",
        cases,
        expected,
        cure,
        "every judged day is as its weekday usually is",
    )


def excess_day(days: pl.DataFrame, settings: Settings, cutoff: date) -> dict[str, Any]:
    """Fails if a day has far more events than is usual for its weekday: delivered
    twice, or a clock that was wrong.
    """
    limit = settings.gates.max_day_share
    cases = _off(days, pl.col("ratio") > limit)
    expected, cure = (
        f"at most {limit:.0%} of the usual",
        "Look for a double delivery, remove it and ingest anew",
    )
    return verdict(
        cutoff,
        "excess_day",
        cases,
        expected,
        cure,
        "no judged day has more than its weekday usually has",
    )


def _off(days: pl.DataFrame, condition: pl.Expr) -> list[Case]:
    """Days beyond the limit and beyond noise: of counting, and by which the series' own
    days usually differ.

    Platforms are named only where not all of them are off.
    """
    part, off, apart = (
        pl.col("platform") != "",
        pl.col("off"),
        ((pl.col("n") + 1) / (pl.col("usual") + 1)).log().abs(),
    )
    beyond_count = (pl.col("n") - pl.col("usual")).abs() > NOISE * pl.col(
        "usual"
    ).sqrt()
    beyond_spread = apart > NOISE * 1.4826 * apart.median().over(
        "extract", "platform"
    )  # a normal deviation's median
    judged = days.with_columns(off=condition & beyond_count & beyond_spread)
    found = judged.filter(off & ~(part & (off | ~part).all().over("extract", "date")))
    return [
        (
            f"{extract} {platform}".strip(),
            str(day),
            f"{n:,.0f} events, {ratio:.0%} of the usual {usual:,.0f}",
        )
        for extract, platform, day, n, usual, ratio, _ in found.sort(
            "date", "extract", "platform"
        ).iter_rows()
    ]


def vanished_event(known: pl.DataFrame, cutoff: date) -> dict[str, Any]:
    """Fails if a name that came every day has not come on its extract's last known one:
    renamed, or lost.
    """
    names, n = _usual(known, ["extract", "event"], cutoff, 7 * WEEKS + 1), pl.col("n")
    there = names.filter(n.sum().over("extract", "date") > 0)
    last = pl.col("date") == pl.col("date").max().over("extract")
    every = there.with_columns(
        share=(n > 0).filter(~last).mean().over("extract", "event")
    )
    gone = every.filter(
        last, n == 0, pl.col("usual") >= MIN_EVENT, pl.col("share") > EVERY_DAY
    )
    cases = [
        (f"{extract} {event}", str(day), f"none of the usual {usual:,.0f}")
        for extract, event, day, _, usual, _ in gone.iter_rows()
    ]
    cure = "If it was renamed, put the new name into the study and train again"
    return verdict(
        cutoff,
        "vanished_event",
        cases,
        "every usual event",
        cure,
        "no usual event is gone",
    )


def unknown_users(
    known: pl.DataFrame, settings: Settings, cutoff: date
) -> dict[str, Any]:
    """Fails if in an extract the share of events without a user rose by more than the
    limit in the last week.
    """
    limit, week = settings.gates.max_unknown_rise, _back(cutoff, RECENT_DAYS)
    window, recent = (
        known.filter(pl.col("date") >= _back(week, 7 * WEEKS)),
        pl.col("date") >= week,
    )
    rates = window.group_by("extract").agg(
        _unknown_rate(recent).alias("now"),
        _unknown_rate(~recent).alias("before"),
        pl.col("n").filter(recent).sum(),
    )
    risen = rates.filter(
        pl.col("n") >= MIN_ROWS, pl.col("now") - pl.col("before") > limit
    ).sort("extract")
    cases = [
        (
            extract,
            _span(cutoff, RECENT_DAYS),
            f"{now:.1%} of events have no user, {before:.1%} in the weeks before",
        )
        for extract, now, before, _ in risen.iter_rows()
    ]
    cure = "Look for a lost id column or a release that sets no user id"
    whole = "no more events lack a user than in the weeks before"
    return verdict(
        cutoff, "unknown_users", cases, f"a rise of at most {limit:.0%}", cure, whole
    )


def _unknown_rate(part: pl.Expr) -> pl.Expr:
    """Share of events without a user; null without events, so that a new extract isn't
    judged.
    """
    return (
        pl.col("n_without_user").filter(part).sum() / pl.col("n").filter(part).sum()
    ).fill_nan(None)


def clock_shift(
    counted: pl.DataFrame, settings: Settings, cutoff: date
) -> dict[str, Any]:
    """Fails if a day's hours are the usual ones of its weekday moved by the limit or
    more: a wrong zone or clock.
    """
    limit = settings.gates.max_clock_shift_hours
    hours = counted.filter(pl.col("measure") == "hour")
    hours = hours.with_columns(
        hour=pl.col("value").cast(pl.Int64), known_date=pl.lit(None, pl.Date)
    )
    usual = _usual(hours, ["extract", "hour"], cutoff, settings.gates.window_days)
    days = (
        usual.group_by("date", "extract")
        .agg("hour", "n", pl.col("usual").fill_null(0.0))
        .sort("date", "extract")
    )
    moved = [
        (extract, str(day), _moved(_clock(hour, n), _clock(hour, usual)))
        for day, extract, hour, n, usual in days.iter_rows()
    ]
    cases = [
        (extract, day, f"the usual hours moved by {h:+d}")
        for extract, day, h in moved
        if abs(h) >= limit
    ]
    expected, cure = (
        f"hours moved by less than {limit}",
        "Check the extract's timezone for these days and ingest anew",
    )
    return verdict(
        cutoff,
        "clock_shift",
        cases,
        expected,
        cure,
        "every judged day's hours are the usual ones",
    )


def _clock(hour: list[int], values: list[float]) -> np.ndarray:
    clock = np.zeros(24)
    clock[hour] = values
    return clock


def _moved(n: np.ndarray, usual: np.ndarray) -> int:
    """By how many hours the usual profile must move to explain a day; 0 unless that is
    clearly better than not at all.

    On the first day of a shift the hours moved out of it are gone and none have moved
    in, so each shift is tried as a turn of the clock and with those hours empty. The
    same hours empty without a shift are a part of the day lost.
    """
    if min(n.sum(), usual.sum()) < MIN_ROWS:
        return 0
    hour, best, still = np.arange(24), (_fit(n, usual), 0), _fit(n, usual)
    for hours in range(-11, 13):
        inside, moved = (hour >= hours) & (hour < 24 + hours), np.roll(usual, hours)
        best = max(best, (_fit(n, moved), hours), (_fit(n, moved * inside), hours))
        still = max(still, _fit(n, usual * inside))
    gain = best[0] - still
    return best[1] if gain >= max(CLOCK_GAIN, CLOCK_SHARE * (_fit(n, n) - still)) else 0


def _fit(n: np.ndarray, profile: np.ndarray) -> float:
    """Log-likelihood per event of hourly counts under a profile; one event more in each
    hour, so that none has none.
    """
    return float(n @ np.log((profile + 1) / (profile + 1).sum()) / n.sum())


def bulk_backfill(
    known: pl.DataFrame, settings: Settings, cutoff: date
) -> dict[str, Any]:
    """Fails if much of what was received on a day was over a week old: history that
    past cutoffs did not know.
    """
    limit = settings.gates.max_backfill_rate
    old = (
        pl.col("n")
        .filter(pl.col("date") < pl.col("known_date") - pl.duration(days=OLD_DAYS))
        .sum()
    )
    received = known.filter(
        pl.col("known_date") >= _back(cutoff, settings.gates.window_days)
    )
    days = received.group_by("known_date", "extract").agg(
        old.alias("old"), pl.col("n").sum()
    )
    bulk = days.filter(
        pl.col("old") >= MIN_ROWS, pl.col("old") > limit * pl.col("n")
    ).sort("known_date", "extract")
    cases = [
        (
            extract,
            str(day),
            f"{old / n:.0%} of {n:,} events received were over {OLD_DAYS} days old",
        )
        for day, extract, old, n in bulk.iter_rows()
    ]
    expected = f"at most {limit:.0%} of a day's receipts"
    cure = (
        "Cutoffs up to that day don't know them: train again once later ones are mature"
    )
    return verdict(
        cutoff,
        "bulk_backfill",
        cases,
        expected,
        cure,
        "no day brought much old history",
    )


def schema_change(counted: pl.DataFrame, cutoff: date) -> dict[str, Any]:
    """Fails if a column usually filled is all but empty on a day of the last week:
    renamed or lost.

    A day's rows are the events of its hours; shares of them are compared with the four
    weeks before.
    """
    week = _back(cutoff, RECENT_DAYS)
    window, before = (
        counted.filter(pl.col("date") >= _back(week, 7 * WEEKS)),
        pl.col("date") < week,
    )
    rows = (
        window.filter(pl.col("measure") == "hour")
        .group_by("extract", "date")
        .agg(rows=pl.col("n").sum())
    )
    filled = (
        window.filter(pl.col("measure") == "column")
        .group_by("extract", "value", "date")
        .agg(pl.col("n").sum())
    )
    every = rows.join(filled.select("extract", "value").unique(), on="extract")
    every = every.join(
        filled, on=["extract", "value", "date"], how="left"
    ).with_columns(pl.col("n").fill_null(0))
    share = pl.col("n").filter(before).sum() / pl.col("rows").filter(before).sum()
    usual = every.with_columns(
        share=share.over("extract", "value").fill_nan(0.0)
    ).filter(~before)
    expected = pl.col("share") * pl.col("rows")
    lost = usual.filter(
        pl.col("share") >= MIN_FILLED,
        expected >= MIN_LOST,
        pl.col("n") < LOST * expected,
    )
    cases = [
        (
            f"{extract} column {column}",
            str(day),
            f"filled in {n:,} of {rows:,} rows, usually in {share:.0%}",
        )
        for extract, day, rows, column, n, share in lost.sort(
            "date", "extract", "value"
        ).iter_rows()
    ]
    cure = "If it was renamed, name it in the extract's columns and ingest anew"
    return verdict(
        cutoff,
        "schema_change",
        cases,
        "columns filled as usual",
        cure,
        "every usual column is filled",
    )


def mixed_currencies(
    counted: pl.DataFrame, settings: Settings, cutoff: date
) -> dict[str, Any]:
    """Fails if many of the window's amounts are in another currency than the study's:
    they are in no revenue.
    """
    limit, ours, days = (
        settings.gates.max_other_currency_rate,
        settings.activity.currency,
        settings.gates.window_days,
    )
    recent = counted.filter(
        pl.col("measure") == "currency", pl.col("date") >= _back(cutoff, days)
    )
    amounts = (
        recent.group_by("value")
        .agg(pl.col("n").sum())
        .sort("n", "value", descending=True)
    )
    others, n = amounts.filter(pl.col("value") != ours), int(amounts["n"].sum())
    n_other = int(others["n"].sum())
    seen = (
        f"{n_other:,} of {n:,} are not in {ours}, most of them in {others['value'][0]}"
        if n_other
        else ""
    )
    cases = (
        [("amounts", _span(cutoff, days), seen)]
        if n >= MIN_AMOUNTS and n_other > limit * n
        else []
    )
    expected, cure = (
        f"at most {limit:.0%} in others",
        "Set activity.currency to the commonest, or convert the amounts",
    )
    return verdict(
        cutoff,
        "mixed_currencies",
        cases,
        expected,
        cure,
        f"nearly all amounts are in {ours}",
    )
