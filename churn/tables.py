"""Schema of every table that crosses a module border, the words they share, and the stable user hash."""

import hashlib

import dataframely as dy
import polars as pl

ACTIVE_KINDS = ("session_start", "session_end", "in_app", "purchase", "refund", "message_engaged")
"""Kinds that a person caused; what an empty ``counts_as_active`` means."""

PASSIVE_KINDS = (
    "install",
    "reinstall",
    "reattribution",
    "uninstall",
    "message_sent",
    "subscription_change",
    "erasure",
    "ad_revenue",
    "other",
)
"""Kinds that happen to a person; never activity unless the study names them."""

EVENT_KINDS = ACTIVE_KINDS + PASSIVE_KINDS

TIME_BASES = ("exact", "tz_assumed", "skew_corrected", "estimated", "detected")
"""How an event time came about; ``estimated`` times are never features."""

UTC_TIME = pl.Datetime("us", "UTC")


class Events(dy.Schema):
    """The event log: one row, one thing that happened."""

    event_id = dy.String(primary_key=True)
    source = dy.String(nullable=False)
    source_file = dy.String(nullable=False)
    source_row = dy.Int64(nullable=False)
    event_time = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)
    event_time_basis = dy.String(nullable=False, regex="^(" + "|".join(TIME_BASES) + ")$")
    received_time = dy.Datetime(time_unit="us", time_zone="UTC", nullable=True)
    event_kind = dy.String(nullable=False, regex="^(" + "|".join(EVENT_KINDS) + ")$")
    event = dy.String(nullable=False, min_length=1)
    user_id = dy.String(nullable=True, min_length=1)
    anonymous_id = dy.String(nullable=True)
    platform = dy.String(nullable=True)
    country = dy.String(nullable=True)
    app_version = dy.String(nullable=True)
    revenue = dy.Float64(nullable=True)
    currency = dy.String(nullable=True)
    media_source = dy.String(nullable=True)
    properties = dy.String(nullable=True)


class Quarantine(dy.Schema):
    """Rows kept out of the event log, each with its reason; holds no content of the row."""

    source = dy.String(nullable=False)
    source_file = dy.String(nullable=False)
    source_row = dy.Int64(nullable=False)
    reason = dy.String(nullable=False)


class Volume(dy.Schema):
    """Events per extract, local day, event and kind, with and without a user: what coverage and gates look at."""

    extract = dy.String(nullable=False)
    date = dy.Date(nullable=False)
    event = dy.String(nullable=False)
    kind = dy.String(nullable=False)
    n = dy.Int64(nullable=False)
    n_without_user = dy.Int64(nullable=False)


class ActivityTable(dy.Schema):
    """Daily activity. Rows of one key may repeat, since late rows are appended: sum them on read."""

    user_id = dy.String(nullable=False)
    date = dy.Date(nullable=False)
    event = dy.String(nullable=False)
    kind = dy.String(nullable=False)
    known_date = dy.Date(nullable=True)
    n = dy.Int64(nullable=False)
    revenue = dy.Float64(nullable=False)
    n_other_currency = dy.Int64(nullable=False)
    first_at = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)
    last_at = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)


class Users(dy.Schema):
    """When a user was first seen, once per day on which that became known; the earliest known one counts."""

    user_id = dy.String(nullable=False)
    first_at = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)
    known_date = dy.Date(nullable=True)


class Snapshot(dy.Schema):
    """One row per eligible user at one cutoff; the feature columns come from the catalogue."""

    user_id = dy.String(primary_key=True)
    cutoff = dy.Date(primary_key=True)
    churned = dy.Bool(nullable=True)


class Scores(dy.Schema):
    """One row per eligible user: calibrated probability of churn and the segment it falls in."""

    user_id = dy.String(primary_key=True)
    cutoff = dy.Date(primary_key=True)
    probability = dy.Float64(nullable=False, min=0.0, max=1.0)
    segment = dy.String(nullable=False)
    score = dy.Int64(nullable=False, min=0, max=100)
    model_id = dy.String(nullable=False)


class Findings(dy.Schema):
    """What each gate said of one cutoff."""

    cutoff = dy.Date(nullable=False)
    gate = dy.String(nullable=False)
    passed = dy.Bool(nullable=False)
    days = dy.String(nullable=False)
    expected = dy.String(nullable=False)
    seen = dy.String(nullable=False)
    sentence = dy.String(nullable=False)


def stable_hash(values: pl.Series) -> pl.Series:
    """64-bit hash of each string, equal in every version and on every machine (blake2b, big-endian).

    Shape (n,) str → (n,) u64; null stays null.

    >>> stable_hash(pl.Series(["a", "b"])).to_list()
    [4681665781835383343, 9543904841865449333]
    """
    distinct = values.unique().drop_nulls().to_list()
    digests = [int.from_bytes(hashlib.blake2b(v.encode(), digest_size=8).digest(), "big") for v in distinct]
    hashes = pl.Series(digests, dtype=pl.UInt64)
    return values.replace_strict(pl.Series(distinct, dtype=pl.String), hashes, default=None, return_dtype=pl.UInt64)


def bucket_of(values: pl.Series, n_buckets: int) -> pl.Series:
    """Bucket number 0 … n_buckets − 1 of each id; null stays null."""
    return (stable_hash(values) % n_buckets).cast(pl.UInt16)
