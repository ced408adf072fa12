"""Samples of a store, and their corruption from a day on, for the leakage check.

A corrupted sample holds the data as it was known on that day, and false rows of two
sorts, one for each clock: rows dated on or after the day, and rows dated before it but
learned on or after it.
"""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from churn import clocks
from churn.events import adoption
from churn.hashing import stable_hash
from churn.settings import Cluster, Settings
from churn.store import Store
from churn.store.places import Place

N_USERS = 400
"""Largest number of users in the sample that a training's leakage check uses.

A leak is a fault of the code and shows for nearly every user, so that a few hundred are
enough, and the check stays within a few percent of a training's time.
"""

TABLES = ("activity", "users", "anonymous", "edges", "merges", "volume")
"""All tables that a training could read."""

FALSE_KINDS = ("in_app", "purchase", "install")
"""Kinds of events falsely reported for every user."""

LEAVING_KINDS = ("uninstall", "erasure", "merge")
"""Kinds of events that end eligibility, falsely reported for every second user."""

LARGE = 10**6
"""Number of events in a false row, by which its property sums are multiplied too."""

Tables = dict[str, pl.DataFrame]


def sample(
    store: Store,
    start: date,
    end: date,
    max_users: int = N_USERS,
) -> Tables:
    """Tables of users active from ``start`` to before ``end``, under pseudonyms.

    Whole buckets are read until they hold ``max_users`` users; anonymous activity in
    these buckets is included. Adopted history is left out, since each copy derives it
    anew.
    """
    n_in_one = len(_active_users(store, start, end, 1))
    n_buckets = min(store.n_buckets, -(-max_users // max(n_in_one, 1)))
    user_ids = _active_users(store, start, end, n_buckets).head(max_users)
    tables = {
        name: store.scan(name, range(n_buckets), adopted=False) for name in TABLES
    }
    for name in ("activity", "users"):
        is_sampled = pl.col("user_id").is_in(user_ids.implode())
        tables[name] = tables[name].filter(is_sampled)
    each_id = pl.col("ids").explode(empty_as_null=False)
    anonymous_ids = tables["anonymous"].select(each_id.unique().alias("id"))
    tables["edges"] = tables["edges"].join(
        anonymous_ids,
        on="id",
        how="semi",
    )
    return {name: _pseudonymous(table).collect() for name, table in tables.items()}


def _active_users(
    store: Store,
    start: date,
    end: date,
    n_buckets: int,
) -> pl.Series:
    """Ids of users active in the days, in the order of their stable hash."""
    in_days = pl.col("date").is_between(start, end, closed="left")
    activity = store.scan("activity", range(n_buckets), adopted=False)
    rows = activity.filter(in_days)
    users = rows.select("user_id").unique().sort(stable_hash("user_id"))
    return users.collect()["user_id"]


def _pseudonymous(table: pl.LazyFrame) -> pl.LazyFrame:
    """Replace ids by their hash, so that files left by a killed run identify nobody."""
    names = table.collect_schema().names()
    columns = [
        stable_hash(name).cast(pl.String).alias(name)
        for name in ("user_id", "id", "into")
        if name in names
    ]
    if "ids" in names:
        each_hash = stable_hash(pl.element()).cast(pl.String)
        columns.append(pl.col("ids").list.eval(each_hash))
    return table.with_columns(columns)


def write_copy(
    store: Store,
    folder: Path,
    tables: Tables,
) -> Store:
    """A store in ``folder`` with these tables; devices are matched to users anew.

    It is never committed, so this process alone can read it.
    """
    alone = store.settings.model_copy(update={"cluster": Cluster()})
    copy = replace(
        store,
        place=Place(str(folder)),
        settings=alone,
        versions={},
        n_buckets=1,
        tag=None,
    )
    for name, rows in tables.items():
        copy = copy.append(name, rows.with_columns(bucket=pl.lit(0)))
    return adoption.adopt(copy, before={})


def corrupt(
    tables: Tables,
    day: date,
    learned: date,
    settings: Settings,
) -> Tables:
    """The tables as known on ``day``, with false data dated or learned later.

    False rows are dated ``day``, or are dated before it and known from ``learned`` on.
    """
    midnight = datetime.combine(learned, time(), ZoneInfo(settings.timezone))
    learned_at = pl.lit(midnight).dt.convert_time_zone("UTC")
    is_past = clocks.local_date("learned_at", settings.timezone) < learned
    edges = tables["edges"]
    false_edges = edges.with_columns(learned_at=learned_at, user_id=pl.lit("false"))
    source = settings.sources[0]
    return {
        "activity": _corrupt_days(tables["activity"], "user_id", day, learned, source),
        "anonymous": _corrupt_days(tables["anonymous"], "ids", day, learned, source),
        "users": _corrupt_users(tables["users"], day, learned, settings.timezone),
        "edges": pl.concat([edges.filter(is_past), false_edges]),
        "merges": tables["merges"].filter(is_past),
        "volume": _corrupt_volume(tables["volume"], day),
    }


def _corrupt_volume(volume: pl.DataFrame, day: date) -> pl.DataFrame:
    """Large counts from the day on; names stay, as a study may list them as active."""
    n = pl.when(pl.col("date") >= day).then(LARGE).otherwise("n")
    return volume.with_columns(n.cast(pl.Int64).alias("n"))


def _corrupt_days(
    rows: pl.DataFrame, key: str, day: date, learned: date, source: str
) -> pl.DataFrame:
    """Past activity, with false activity that no feature may see.

    It is dated on the first forbidden day, or on earlier days but learned too late.
    ``key`` is the column that names the person.
    """
    is_past = (pl.col("date") < day) & clocks.known_by(pl.lit(learned))
    past = rows.filter(is_past)
    large_sum = pl.field("total") * LARGE + 1
    sums = pl.col("sums").list.eval(pl.element().struct.with_fields(large_sum))
    false_sum = pl.lit([{"name": "false", "total": 1.0}])
    false = pl.concat([past, _false_events(past, key)]).with_columns(
        n=pl.lit(LARGE, pl.Int64),
        revenue=pl.lit(-1e9),
        sums=pl.concat_list(sums, false_sum),
    )
    future = _dated(false, day).with_columns(known_date=pl.lit(None, pl.Date))
    late = false.with_columns(known_date=pl.lit(learned), source=pl.lit(source))
    late_yesterday = _dated(late, day - timedelta(days=1))
    return pl.concat([past, future, late, late_yesterday])


def _false_events(past: pl.DataFrame, key: str) -> pl.DataFrame:
    """One false event of every kind per person."""
    events = pl.DataFrame({"kind": (*FALSE_KINDS, *LEAVING_KINDS)}).with_columns(
        event="false " + pl.col("kind")
    )
    people = past.unique(key, maintain_order=True).drop("kind", "event")
    each = people.with_row_index("number").join(events, how="cross")
    leaves = pl.col("number") % 2 == 0
    is_kept = leaves | ~pl.col("kind").is_in(LEAVING_KINDS)
    return each.filter(is_kept).select(past.columns)


def _dated(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """The rows moved to ``day``, with their instants."""
    shift = pl.duration(days=(pl.lit(day) - pl.col("date")).dt.total_days())
    return rows.with_columns(pl.col("first_at", "last_at") + shift, date=pl.lit(day))


def _corrupt_users(
    users: pl.DataFrame, day: date, learned: date, timezone: str
) -> pl.DataFrame:
    """Past users, with false rows, learned late, of a first day thirty years earlier."""
    was_seen = clocks.local_date("first_at", timezone) < day
    past = users.filter(was_seen & clocks.known_by(pl.lit(learned)))
    long_ago = pl.col("first_at").dt.offset_by("-30y")
    false = past.with_columns(long_ago, known_date=pl.lit(learned))
    return pl.concat([past, false])
