"""The daily activity of an invented app, drawn at once for millions of users.

How often users come is very uneven: many come now and then, a few nearly every day.
They arrive at any time, a third of them before the log begins, and leave for good at
some time. Purchases have revenue, two events have a numeric property, and a few rows
became known days later than they happened.
"""

from datetime import date

import numpy as np
import polars as pl

from churn.store.schemas import ActivityTable, Users

FIRST_DAY = date(2025, 1, 1)
EVENTS_PER_USER = 20
FURTHER_EVENTS = 1.5
"""Mean number of events of a visit after its first one."""

SHAPE = 0.5
"""Shape of the gamma distribution of visits per day over users; small is uneven."""

STAY_DAYS = 200
"""Mean number of days from a user's arrival to the day they leave for good."""

LATE_RATE = 0.02
UNINSTALL_RATE = 0.3
SECONDS_PER_DAY = 86_400

KINDS = {
    "install": "install",
    "uninstall": "uninstall",
    "push_sent": "message_sent",
    "push_opened": "message_engaged",
    "purchase": "purchase",
    "open": "session_start",
}
"""Kinds of events by name; those of all others are ``in_app``."""

SHARES = {
    "open": 0.26,
    "view": 0.2,
    "search": 0.12,
    "push_sent": 0.08,
    "add": 0.06,
    "play": 0.06,
    "level": 0.04,
    "save": 0.03,
    "follow": 0.02,
    "share": 0.02,
    "rate": 0.02,
    "comment": 0.02,
    "purchase": 0.02,
    "push_opened": 0.01,
    "invite": 0.01,
    "remove": 0.01,
    "settings": 0.01,
    "help": 0.01,
}
"""Shares of the events of a visit; installs and uninstalls come once."""

PROPERTIES = {"level": "points", "purchase": "items"}
"""The numeric property of an event, by the event's name."""

NAMES = (*SHARES, "install", "uninstall")


def people(n_events: int, n_days: int, seed: int = 0) -> pl.DataFrame:
    """The users of a log of about so many events, and how often each comes.

    Columns: user_id, platform; arrival, begin and end, which are numbers of days from
    the log's first one; n_visits, the expected number of visits from begin to end.
    """
    n_users = n_events // EVENTS_PER_USER
    rng = np.random.default_rng([seed, n_users])
    arrival = rng.integers(-n_days // 2, n_days, n_users)
    end = np.minimum(arrival + rng.exponential(STAY_DAYS, n_users), n_days)
    begin = np.maximum(arrival, 0)
    n_visits = rng.gamma(SHAPE, size=n_users) * np.maximum(end - begin, 0)
    n_wanted = n_events / (1 + FURTHER_EVENTS)
    number = pl.int_range(n_users, eager=True).cast(pl.String).str.zfill(9)
    columns = {
        "user_id": "user-" + number,
        "platform": rng.choice(["ios", "android"], n_users),
        "arrival": arrival,
        "begin": begin,
        "end": end,
        "n_visits": n_visits * n_wanted / n_visits.sum(),
    }
    return pl.DataFrame(columns)


def events(users: pl.DataFrame, n_days: int, seed: int) -> pl.DataFrame:
    """Every event of some users: user, day, second, event, delay, value.

    ``user`` is the user's row number, ``event`` the place of its name in NAMES. ``delay``
    is the number of days after which the event became known, null for most.
    ``value`` is the amount of a purchase, or the property of another event.
    """
    rng = np.random.default_rng([1, seed])
    visitor = np.repeat(np.arange(users.height), rng.poisson(users["n_visits"]))
    begin, end = users["begin"].to_numpy()[visitor], users["end"].to_numpy()[visitor]
    day = begin + rng.random(visitor.size) * (end - begin)
    n_events = 1 + rng.poisson(FURTHER_EVENTS, visitor.size)
    size = int(n_events.sum())
    columns = {
        "user": np.repeat(visitor, n_events),
        "day": np.repeat(day.astype(int), n_events),
        "event": rng.choice(len(SHARES), size, p=[*SHARES.values()]),
        "late": rng.random(size) < LATE_RATE,
        "delay": rng.integers(1, 6, size),
    }
    everything = pl.concat([pl.DataFrame(columns), *_once(users, n_days, rng)])
    late = pl.when("late").then("delay")
    return everything.select(
        pl.col("user", "day").cast(pl.Int32),
        pl.col("event").cast(pl.UInt8),
        late.cast(pl.Int32).alias("delay"),
        second=pl.Series(rng.integers(0, SECONDS_PER_DAY, everything.height)),
        value=pl.Series(rng.gamma(2, 10, everything.height).round(2)),
    )


def _once(
    users: pl.DataFrame, n_days: int, rng: np.random.Generator
) -> list[pl.DataFrame]:
    """Installs of those who arrive, and uninstalls of some of those who leave."""
    numbered = users.with_row_index("user")
    has_uninstalled = pl.Series(rng.random(users.height) < UNINSTALL_RATE)
    left = (pl.col("end") < n_days) & (pl.col("end") >= 0) & has_uninstalled
    came = numbered.filter(pl.col("arrival") >= 0)
    once = {"install": came.with_columns(day="arrival")}
    once["uninstall"] = numbered.filter(left).with_columns(day=pl.col("end").floor())
    return [
        rows.select(
            pl.col("user", "day").cast(pl.Int64),
            event=pl.lit(NAMES.index(name), pl.Int64),
            late=pl.lit(False),
            delay=pl.lit(0, pl.Int64),
        )
        for name, rows in once.items()
    ]


def daily(users: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The events summed by user, day, name and day known, as a store holds them.

    Beside the columns of ActivityTable there are ``platform`` and ``bucket``.
    """
    second = pl.col("second")
    sums = rows.group_by("user", "day", "event", "delay").agg(
        n=pl.len().cast(pl.Int64),
        total=pl.col("value").sum(),
        first=second.min(),
        last=second.max(),
    )
    of_user = users.select("user_id", "platform", "bucket")
    named = pl.concat([sums, of_user[sums["user"]]], how="horizontal").with_columns(
        pl.col("event").replace_strict(dict(enumerate(NAMES)), return_dtype=pl.String)
    )
    event = pl.col("event")
    start = pl.lit(FIRST_DAY)
    day = pl.duration(days=pl.col("day"))
    columns = {
        "source": pl.lit("table"),
        "date": start + day,
        "kind": event.replace_strict(KINDS, default="in_app"),
        "known_date": start + day + pl.duration(days=pl.col("delay")),
        "n_other_currency": pl.lit(0, pl.Int64),
        "revenue": pl.when(event == "purchase").then("total").otherwise(0.0),
        "first_at": _instant("first"),
        "last_at": _instant("last"),
        "sums": _sums(),
    }
    keys = ["bucket", "platform", *ActivityTable.column_names()]
    return named.select(
        "user_id", "platform", "bucket", "event", "n", **columns
    ).select(keys)


def _instant(second: str) -> pl.Expr:
    midnight = pl.lit(FIRST_DAY).cast(pl.Datetime("us", "UTC"))
    return midnight + pl.duration(days=pl.col("day"), seconds=pl.col(second))


def _sums() -> pl.Expr:
    dtype = ActivityTable.create_empty().schema["sums"]
    name = pl.col("event").replace_strict(PROPERTIES, default=None)
    entry = pl.concat_list(pl.struct(name=name, total="total"))
    return pl.when(name.is_not_null()).then(entry).otherwise([]).cast(dtype)


def seen(users: pl.DataFrame, activity: pl.DataFrame) -> pl.DataFrame:
    """The table of users: when each of those with activity came first."""
    present = users.join(activity.select("user_id").unique(), on="user_id", how="semi")
    arrival = pl.col("arrival").alias("day")
    first = present.with_columns(arrival, first=pl.lit(0))
    columns = ["bucket", *Users.column_names()]
    return first.with_columns(
        source=pl.lit("table"),
        known_date=pl.lit(None, pl.Date),
        first_at=_instant("first"),
    ).select(columns)
