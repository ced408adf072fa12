"""What features are made of: numbers about each user's days before a cutoff.

A feature is an expression over these numbers, with one row per user. The expression
names the numbers that it needs, and ``numbers`` computes them from a column of the
user-day table (see ``user_days.UserDays``). Ages count days back from the cutoff: the
day just before it has age 1. A total over no day is 0; an age or a gap is null where
there is none.
"""

import polars as pl

WHOLE = 0
"""As a number of days: all days of the observation window."""

TENURE = pl.col("tenure_days")
"""Days since first seen, from the users table; null if not known by the cutoff."""

APP_TREND = pl.col("app_trend")
"""The trend of all users' activity before the cutoff."""

APP_DAYS = tuple(f"app_days:{days}" for days in range(1, 7))
"""Names of the app days in the last 1 to 6 days before the cutoff, see ``app_week``."""

CUTOFF = pl.col("cutoff")
"""The cutoff itself."""


def total(column: str, days: int = WHOLE) -> pl.Expr:
    """The sum of a column of the user-days over the last ``days`` days.

    >>> parts(total("event:buy", 7).meta.output_name())
    ('total', 'event:buy', 7)
    """
    return _named("total", column, days)


def decayed(column: str, half_life: int) -> pl.Expr:
    """The sum of a column, in which a day's weight halves with its age."""
    return _named("decayed", column, half_life)


def newest(column: str) -> pl.Expr:
    """The age of the newest day on which a column is above 0."""
    return _named("newest", column)


def oldest(column: str) -> pl.Expr:
    """The age of the oldest day on which a column is above 0."""
    return _named("oldest", column)


def largest(column: str) -> pl.Expr:
    """The largest value of a column on one day of the window."""
    return _named("largest", column)


def habit(name: str) -> pl.Expr:
    """A number about the user's active days in their order; ``habits`` lists them."""
    return _named("habit", name)


def app_days(days: pl.Expr) -> pl.Expr:
    """App days in the last ``days`` days, see ``app_week``; a whole week holds 7."""
    rest = days % 7
    beyond_weeks = pl.lit(0.0)
    for number, name in enumerate(APP_DAYS, 1):
        beyond_weeks = pl.when(rest == number).then(name).otherwise(beyond_weeks)
    return days - rest + beyond_weeks


def _named(what: str, column: str, number: int = WHOLE) -> pl.Expr:
    return pl.col(f"{what}:{column}:{number}")


def parts(name: str) -> tuple[str, str, int]:
    """What such a number is, of which column, and over how many days."""
    what, _, rest = name.partition(":")
    column, _, number = rest.rpartition(":")
    return what, column, int(number)


def mean(column: str, count: str, days: int = WHOLE) -> pl.Expr:
    """The total of a column divided by that of another; null where that is 0."""
    return divided(total(column, days), total(count, days))


def divided(number: pl.Expr, by: pl.Expr) -> pl.Expr:
    """A quotient that is null where the divisor is 0."""
    return pl.when(by != 0).then(number / by)


RECENCY = newest("n_active")
"""Days since the last active day."""

FIRST_ACTIVE = oldest("n_active")
"""Days since the first active day of the window."""

N_GAPS = total("active_day") - 1
"""Number of gaps between neighbouring active days."""
