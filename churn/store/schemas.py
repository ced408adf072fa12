"""Schema of every table that crosses a module border, the words they share, and the
stable user hash.
"""

import dataframely as dy
import polars as pl

from churn.kinds import EVENT_KINDS

TIME_BASES = ("exact", "tz_assumed", "skew_corrected", "estimated", "detected")
"""How an event time came about; ``estimated`` times are never features."""


UTC_TIME = pl.Datetime("us", "UTC")


class Events(dy.Schema):
    """The event log: one row, one thing that happened."""

    event_id = dy.String(primary_key=True)
    source = dy.String(primary_key=True)
    source_file = dy.String(nullable=False)
    source_row = dy.Int64(nullable=False)
    event_time = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)
    event_time_basis = dy.String(
        nullable=False, regex="^(" + "|".join(TIME_BASES) + ")$"
    )
    received_time = dy.Datetime(time_unit="us", time_zone="UTC", nullable=True)
    event_kind = dy.String(nullable=False, regex="^(" + "|".join(EVENT_KINDS) + ")$")
    event = dy.String(nullable=False, min_length=1)
    user_id = dy.String(nullable=True, min_length=1)
    anonymous_id = dy.String(nullable=True)
    ids = dy.List(
        dy.String(), nullable=False
    )  # every id that may join, as "type:value"
    platform = dy.String(nullable=True)
    country = dy.String(nullable=True)
    app_version = dy.String(nullable=True)
    revenue = dy.Float64(nullable=True)
    currency = dy.String(nullable=True)
    revenue_usd = dy.Float64(nullable=True)  # as the vendor converted it
    media_source = dy.String(nullable=True)
    properties = dy.String(nullable=True)


class Quarantine(dy.Schema):
    """Rows kept out of the event log, each with its reason; holds no content of the
    row.
    """

    source = dy.String(nullable=False)
    source_file = dy.String(nullable=False)
    source_row = dy.Int64(nullable=False)
    reason = dy.String(nullable=False)
    subjects = dy.List(
        dy.String(), nullable=False
    )  # salted hashes of the row's ids, so that it can be erased


class Files(dy.Schema):
    """Every file ever read: where it was, how it is recognised, and what became of its
    rows.
    """

    extract = dy.String(nullable=False)
    address = dy.String(nullable=False)  # path or URL
    stamp = dy.String(
        nullable=False
    )  # size and time of change, or the object's entity tag
    digest = dy.String(nullable=False)  # SHA-256
    ingested_at = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)
    rows = dy.Int64(nullable=False)
    kept = dy.Int64(nullable=False)
    duplicate = dy.Int64(nullable=False)
    copies = dy.Int64(
        nullable=False
    )  # of the duplicates: those whose first copy came with the same ingest
    quarantined = dy.Int64(nullable=False)


class Volume(dy.Schema):
    """Events per extract, platform, local day, day known, event and kind: what coverage
    and gates look at.
    """

    extract = dy.String(nullable=False)
    platform = dy.String(nullable=False)  # "" where not stated
    date = dy.Date(nullable=False)
    known_date = dy.Date(nullable=True)
    event = dy.String(nullable=False)
    kind = dy.String(nullable=False)
    n = dy.Int64(nullable=False)
    n_without_user = dy.Int64(nullable=False)


class Tally(dy.Schema):
    """Events per extract and local day by one property: hour of the day, filled column,
    or currency of revenue.
    """

    extract = dy.String(nullable=False)
    date = dy.Date(nullable=False)
    measure = dy.String(nullable=False, regex="^(hour|column|currency)$")
    value = dy.String(nullable=False)
    n = dy.Int64(nullable=False)


class Daily(dy.Schema):
    """What daily activity holds of one day, kind and event. Rows may repeat, since late
    ones append: sum on read.
    """

    source = dy.String(nullable=False)
    date = dy.Date(nullable=False)
    event = dy.String(nullable=False)
    kind = dy.String(nullable=False)
    known_date = dy.Date(nullable=True)
    n = dy.Int64(nullable=False)
    revenue = dy.Float64(nullable=False)
    n_other_currency = dy.Int64(nullable=False)
    first_at = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)
    last_at = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)
    # Sums of numeric properties by name; null in rows stored before there were any.
    sums = dy.List(
        dy.Struct(
            {"name": dy.String(nullable=False), "total": dy.Float64(nullable=False)}
        ),
        nullable=True,
    )


class ActivityTable(Daily):
    """Daily activity of users; ``known_date`` is the day from which a row was known to
    be this user's.
    """

    user_id = dy.String(nullable=False)


class Anonymous(Daily):
    """Daily activity of rows without a user, waiting for the day on which one of their
    ids is.
    """

    ids = dy.List(dy.String(), nullable=False)
    platform = dy.String(nullable=True)


class Users(dy.Schema):
    """When a user was seen, by source, platform and the day on which that became
    known.
    """

    user_id = dy.String(nullable=False)
    source = dy.String(nullable=False)
    platform = dy.String(nullable=True)
    known_date = dy.Date(nullable=True)
    first_at = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)
    last_at = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)


class Edges(dy.Schema):
    """That an id was this user's: from rows that carry both. Rows may repeat; the
    earliest ``learned_at`` counts.
    """

    source = dy.String(nullable=False)
    id = dy.String(nullable=False)  # "type:value"
    user_id = dy.String(nullable=False)
    learned_at = dy.Datetime(
        time_unit="us", time_zone="UTC", nullable=False
    )  # event and receipt both over


class Merges(dy.Schema):
    """That a vendor declared two ids one: ``id`` became ``into``; ``user_id`` is the
    name ``id`` had, if any.
    """

    id = dy.String(nullable=False)
    into = dy.String(nullable=False)
    user_id = dy.String(nullable=True)
    learned_at = dy.Datetime(time_unit="us", time_zone="UTC", nullable=False)


class Tombstones(dy.Schema):
    """Salted hash of every id of the people who were erased: all that is kept of them,
    so that they stay erased.
    """

    subject = dy.String(nullable=False)


class Snapshot(dy.Schema):
    """One row per eligible user at one cutoff; the feature columns come from the
    catalogue.
    """

    user_id = dy.String(primary_key=True)
    cutoff = dy.Date(primary_key=True)
    churned = dy.Bool(nullable=True)


REASON = "^(risky|safe)_[a-z]+$"
"""What a reason looks like: its direction, and the kind of feature it rests on."""


class Scores(dy.Schema):
    """One row per eligible user: calibrated probability of churn, the segment it falls
    in, and why.
    """

    user_id = dy.String(primary_key=True)
    cutoff = dy.Date(primary_key=True)
    probability = dy.Float64(nullable=False, min=0.0, max=1.0)
    segment = dy.String(nullable=False)
    score = dy.Int64(nullable=False, min=0, max=100)
    reason_1 = dy.String(
        nullable=True, regex=REASON
    )  # the first explains why the risk is high, or low
    reason_2 = dy.String(nullable=True, regex=REASON)
    reason_3 = dy.String(nullable=True, regex=REASON)
    model_id = dy.String(nullable=False)
    identifier = dy.String(
        nullable=True
    )  # how Braze knows the user; null: it doesn't, or another user shares it


class Findings(dy.Schema):
    """What each gate said of one cutoff."""

    cutoff = dy.Date(nullable=False)
    gate = dy.String(nullable=False)
    passed = dy.Bool(nullable=False)
    days = dy.String(nullable=False)
    expected = dy.String(nullable=False)
    seen = dy.String(nullable=False)
    sentence = dy.String(nullable=False)


BY_TABLE: dict[str, type[dy.Schema]] = {
    "events": Events,
    "activity": ActivityTable,
    "users": Users,
    "anonymous": Anonymous,
    "edges": Edges,
    "merges": Merges,
    "files": Files,
    "quarantine": Quarantine,
    "volume": Volume,
    "tally": Tally,
    "tombstones": Tombstones,
}
"""The schema of each table that is stored in batches."""
