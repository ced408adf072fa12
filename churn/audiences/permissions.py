"""Who may not be listed, and which advertising ids their owners still allow.

Rows whose consent was refused are not in the event log; the quarantine has hashes of
their ids. Rows of people who limit tracking are there without advertising ids.
"""

from datetime import date, timedelta

import polars as pl

from churn import clocks
from churn.events import erasure
from churn.settings.audiences import ADVERTISING
from churn.store import Store

REFUSED = "consent_refused"
LIMITED = "tracking_limited"

FILE_SPAN = timedelta(days=1)
"""Time that a file covers at most: so much later than its last kept row may a row be
that was kept out.
"""

NEWEST_ROWS: dict[str, pl.DataType | type[pl.DataType]] = {
    "user_id": pl.String,
    "platform": pl.String,
    "rank": pl.Int64,
    "event_time": pl.Datetime("us", "UTC"),
    "ids": pl.List(pl.String),
}


def own_ids(store: Store) -> pl.DataFrame:
    """Ids that only one user has ever had, who is not erased.

    Columns: id, user_id, learned_at. An erased user counts among those who had an id.
    """
    edges = store.scan("edges").group_by("id", "user_id")
    earliest = edges.agg(pl.col("learned_at").min())
    has_one_user = pl.col("user_id").n_unique().over("id") == 1
    return earliest.filter(has_one_user & ~erasure.is_forgotten()).collect()


def refusing(
    store: Store,
    owned: pl.DataFrame,
    reason: str,
) -> pl.Series:
    """Users of whom rows were kept out for this reason, and none was kept since.

    A row that was kept out has no time, so it counts as a day later than the last event
    of its file. Each source is looked at by itself, because others don't ask for
    consent.
    """
    files = store.scan("files").select("file_id", "last_at", "ingested_at")
    kept_out = store.scan("quarantine").filter(pl.col("reason") == reason)
    refused = (
        kept_out.join(files, on="file_id", how="left")
        .explode("subjects")
        .group_by("source", subject=pl.col("subjects"))
        .agg(refused_at=pl.coalesce("last_at", "ingested_at").max() + FILE_SPAN)
    )
    newest = (
        store.scan("activity")
        .group_by("user_id", "source")
        .agg(kept_at=pl.col("last_at").max())
    )
    ids = owned.lazy().select("user_id", tag="id")
    users = newest.select("user_id").unique()
    tags = pl.concat([ids, users.with_columns(tag=erasure.USER + pl.col("user_id"))])
    hashed = tags.with_columns(subject=erasure.hashed(store.salt, pl.col("tag")))
    found = (
        refused.join(hashed, on="subject")
        .join(newest, on=["user_id", "source"], how="left")
        .filter(
            pl.col("kept_at").is_null() | (pl.col("refused_at") >= pl.col("kept_at"))
        )
    )
    return found.select(pl.col("user_id").unique()).collect()["user_id"]


def allowed_ids(
    store: Store,
    owned: pl.DataFrame,
    since: date,
) -> pl.DataFrame:
    """Advertising ids that stand in their user's newest rows: user_id, id.

    Users who limit tracking have newer rows without one: the reader has removed it, the
    vendor has left it out or zeroed it. Rows before the day ``since`` don't count. Each
    platform is looked at by itself. Of several sources that carry advertising ids the
    study's first one decides.
    """
    ranks = _carriers(store)
    parts = [pl.DataFrame(schema=NEWEST_ROWS)]
    for buckets in store.passes(store.n_rows("events")) if ranks else []:
        events = store.scan("events", buckets, since=since)
        day = clocks.local_date("event_time", store.settings.timezone)
        is_carrier = pl.col("source").is_in(list(ranks))
        rows = events.filter(is_carrier & (day >= since)).with_columns(
            rank=pl.col("source").replace_strict(
                ranks, default=None, return_dtype=pl.Int64
            )
        )
        parts.append(_newest(_with_user(rows, owned)).collect())
    newest = _newest(pl.concat(parts).lazy())
    ids = newest.select("user_id", id=pl.col("ids")).explode("id").unique()
    own = owned.lazy().select("id", "user_id")
    return ids.filter(is_advertising()).join(own, on=["id", "user_id"]).collect()


def is_advertising() -> pl.Expr:
    """Whether ``id``, written "type:value", may be forbidden for tracking."""
    return pl.col("id").str.contains(f"^(?:{'|'.join(ADVERTISING)}):")


def _carriers(store: Store) -> dict[str, int]:
    """Sources that have ever carried an advertising id, with their place in the study."""
    edges = store.scan("edges").filter(is_advertising())
    sources = set(edges.select(pl.col("source").unique()).collect()["source"])
    ordered = [source for source in store.settings.sources if source in sources]
    return {source: rank for rank, source in enumerate(ordered)}


def _with_user(rows: pl.LazyFrame, owned: pl.DataFrame) -> pl.LazyFrame:
    """Rows with their user: their own, or that of one of their ids but advertising ids.

    Somebody who is logged out limits tracking all the same.
    """
    columns = list(NEWEST_ROWS)
    owners = owned.lazy().filter(~is_advertising()).select("id", "user_id")
    anonymous = rows.filter(pl.col("user_id").is_null()).drop("user_id")
    single = anonymous.with_columns(id=pl.col("ids")).explode("id")
    adopted = single.join(owners, on="id")
    own = rows.filter(pl.col("user_id").is_not_null())
    return pl.concat([own.select(columns), adopted.select(columns)])


def _newest(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The ids of the newest rows of each user and platform, from the first source."""
    key = ("user_id", "platform")
    first = rows.filter(pl.col("rank") == pl.col("rank").min().over(key))
    last = first.filter(pl.col("event_time") == pl.col("event_time").max().over(key))
    return last.unique()
