"""Gates on the number of events per day: too few, too many, or none of one name.

Only what people do has days like those of the weeks before. Messages come when a
campaign is sent, and other passive kinds when a vendor reports them, so these are
judged apart: each kind by itself, and only for days that have none at all.
"""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

import polars as pl

from churn.events.days_off import days_off
from churn.kinds import is_by_people
from churn.scoring.baseline import WEEKS, days_before, expected_counts
from churn.scoring.empty_days_off import empty_days_off
from churn.scoring.gate import Case, verdict
from churn.settings import Settings

# Number of standard deviations, both of a Poisson count and of the series' daily
# ratios, beyond which a day fails. A night judges dozens of days in every extract and on
# every platform: at three deviations chance alone would stop many nights.
NOISE = 5.0
# Number of weeks before the window whose days show as well how much a weekday varies.
NOISE_WEEKS = 8
# Ratio of a normal distribution's standard deviation to its median absolute deviation.
SIGMA_PER_MAD = 1.4826
# Fewest expected events per day for which an event name is checked. That none of 20 come
# is no chance, while a name of 3 a day is missing on every twentieth day.
MIN_EVENT = 20.0
# An event name on a larger share of days counts as occurring every day. One missing day
# in a month is allowed, so that an earlier loss doesn't end the check of that name.
EVERY_DAY = 0.95
# A passive kind on a larger share of days does. Several of them may be missing.
NEARLY_EVERY_DAY = 0.9


def day_ratios(
    known: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> pl.DataFrame:
    """Ratio of actual to expected events on each day of the window.

    Columns: extract, platform ("" for all platforms), kind, date, n, expected, ratio,
    spread (the usual relative deviation on that weekday, see ``_spread``).
    What people do is counted together, with an empty kind; the days of a passive kind
    are listed only if it has none. The expected number follows the app's growth: it is
    multiplied by the median ratio of neighbouring days, so that growth, decline and
    weekends make no day fail. Platforms are listed only if an extract states more than
    one. Public holidays and the days around them are left out, unless they are empty in
    an extract that has events on days off as well.
    """
    left_out = holidays(settings, cutoff)
    by_people = is_by_people(settings.activity.counts_as_active)
    done = known.filter(by_people)
    people = _people_days(done, settings, cutoff, left_out)
    empty_off = empty_days_off(done, settings, cutoff, left_out)
    people = pl.concat(
        [people, empty_off.select(people.columns)], how="vertical_relaxed"
    )
    passive = known.filter(~by_people)
    absent = _absent_days(passive, settings, cutoff, left_out)
    # A day without anything at all is named once.
    empty = people.filter(pl.col("platform") == "", pl.col("n") == 0)
    others = absent.join(empty, on=["extract", "date"], how="anti")
    return pl.concat([people, others.select(people.columns)])


def holidays(settings: Settings, cutoff: date) -> dict[date, str]:
    """Days off in the study's country, by name, among all days that are compared."""
    n_days = settings.gates.window_days + 7 * (NOISE_WEEKS + 2 * WEEKS)
    first, last = days_before(cutoff, n_days), days_before(cutoff, 1)
    return days_off(settings.gates, first, last)


def _people_days(
    done: pl.DataFrame,
    settings: Settings,
    cutoff: date,
    left_out: Collection[date],
) -> pl.DataFrame:
    """The days of what people do, by extract and platform."""
    n_platforms = pl.col("platform").n_unique().over("extract")
    several = (pl.col("platform") != "") & (n_platforms > 1)
    total = done.with_columns(platform=pl.lit(""))
    rows = pl.concat([total, done.filter(several)])
    key = ["extract", "platform"]
    window_days = settings.gates.window_days
    n_days = window_days + 7 * NOISE_WEEKS
    counts = expected_counts(rows, key, cutoff, n_days, left_out)
    counts = counts.filter(pl.col("expected") > 0)
    raw = pl.col("n") / pl.col("expected")
    median = raw.rolling_median(
        15,
        min_samples=1,
        center=True,
    ).over(key)
    growth = median.clip(0.5, 2.0)
    grown = counts.with_columns(
        kind=pl.lit(""),
        expected=pl.col("expected") * growth,
    )
    days = grown.with_columns(ratio=raw).with_columns(spread=_spread(key))
    columns = ("extract", "platform", "kind", "date", "n", "expected", "ratio")
    window = days.filter(pl.col("date") >= days_before(cutoff, window_days))
    return window.select(*columns, "spread")


def _distance() -> pl.Expr:
    """How far a day's number is from the expected one, as a logarithm."""
    return ((pl.col("n") + 1) / (pl.col("expected") + 1)).log().abs()


def _spread(key: Sequence[str]) -> pl.Expr:
    """Standard deviation of the distance: that of the series, or of the weekday.

    The larger one counts: in a shop whose Sundays vary more than its working days, a
    Sunday must be further off to be unusual. A day without any event is no variation of
    its weekday, so that of the series counts.
    """
    weekday = pl.col("date").dt.weekday()
    of_series = _distance().median().over(key)
    of_weekday = _distance().median().over(*key, weekday)
    larger = pl.max_horizontal(of_series, of_weekday)
    is_empty = pl.col("n") == 0
    return SIGMA_PER_MAD * pl.when(is_empty).then(of_series).otherwise(larger)


def _absent_days(
    passive: pl.DataFrame,
    settings: Settings,
    cutoff: date,
    left_out: Collection[date],
) -> pl.DataFrame:
    """Days without any event of a passive kind that comes nearly every day."""
    window_days = settings.gates.window_days
    key = ["extract", "kind"]
    n_days = window_days + 7 * WEEKS
    days = expected_counts(passive, key, cutoff, n_days, left_out)
    share = (pl.col("n") > 0).mean().over(key)
    absent = days.filter(
        share > NEARLY_EVERY_DAY,
        pl.col("n") == 0,
        pl.col("expected") > 0,
        pl.col("date") >= days_before(cutoff, window_days),
    )
    return absent.with_columns(
        platform=pl.lit(""),
        expected=pl.col("expected").cast(pl.Float64),
        ratio=pl.lit(0.0),
        spread=pl.lit(0.0),
    )


def missing_day(
    days: pl.DataFrame,
    settings: Settings,
    cutoff: date,
    cut_off: Sequence[Case] = (),
    empty: Sequence[Case] = (),
) -> dict[str, Any]:
    """Fails if an extract or platform has far fewer events than is usual on a weekday.

    So does a day that is ``empty`` (see ``empty_days``), and one that is ``cut_off``
    (see ``silent_hours``) and has fewer events than usual, whatever the noise. The
    users whose events are missing would look churned.
    """
    limit = settings.gates.min_day_share
    few = _cases(days, pl.col("ratio") < limit)
    few += [case for case in empty if case[:2] not in {case[:2] for case in few}]
    named = {case[:2] for case in few}
    total = (pl.col("platform") == "") & (pl.col("kind") == "")
    is_less = pl.col("n") < pl.col("expected")
    less = days.filter(total, is_less).select("extract", pl.col("date").cast(pl.String))
    open_to_doubt = set(less.iter_rows()) - named
    cut = [case for case in cut_off if case[:2] in open_to_doubt]
    return verdict(
        cutoff,
        "missing_day",
        sorted([*few, *cut], key=lambda case: case.days),
        expected=f"at least {limit:.0%} of the usual",
        cure="Fetch the missing files and ingest again",
        all_clear=(
            "every day has as many events as its weekday usually has"
            f"{_not_judged(settings, cutoff)}"
        ),
    )


def _not_judged(settings: Settings, cutoff: date) -> str:
    """The holidays of the window, which no gate has judged by their events."""
    first = days_before(cutoff, settings.gates.window_days)
    off = holidays(settings, cutoff)
    named = [f"{day} ({name})" for day, name in off.items() if day >= first]
    if not named:
        return ""
    return f"; not judged, as days off in {settings.gates.country}: {', '.join(named)}"


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

    The noise is that of a random count, and the usual variation of the series. A
    platform is named only if not all platforms of the extract are affected.
    """
    expected = pl.col("expected")
    is_platform = pl.col("platform") != ""
    key = ["extract", "platform", "kind"]
    beyond_count = (pl.col("n") - expected).abs() > NOISE * expected.sqrt()
    beyond_spread = _distance() > NOISE * pl.col("spread")
    is_off = is_beyond_limit & beyond_count & beyond_spread
    marked = days.with_columns(is_off=is_off)
    off = pl.col("is_off")
    everywhere = (off | ~is_platform).all().over("extract", "kind", "date")
    failing = marked.filter(off & ~(is_platform & everywhere))
    rows = failing.sort("date", *key).iter_rows(named=True)
    return [
        Case(
            where=" ".join(filter(None, (row[name] for name in key))),
            days=str(row["date"]),
            seen=(
                f"{row['n']:,.0f} events, {row['ratio']:.0%} of the usual "
                f"{row['expected']:,.0f}"
            ),
            off=row["ratio"] if row["ratio"] > 1 else 1 - row["ratio"],
        )
        for row in rows
    ]


def vanished_event(
    known: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> dict[str, Any]:
    """Fails if an event that occurred every day is absent on its extract's last day.

    The event was then renamed or lost. The last day is the last one on which people did
    anything that the extract has; if it is a day off, the last one before it.
    """
    left_out = holidays(settings, cutoff)
    done = known.filter(is_by_people(settings.activity.counts_as_active))
    n_days = 7 * WEEKS + 1
    names = expected_counts(done, ["extract", "event"], cutoff, n_days, left_out)
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
