"""The schema of every table that crosses a module border.

Frames are validated against these when they are stored, and built from them when a
table is empty.
"""

import dataframely as dy
import polars as pl

from churn.kinds import EVENT_KINDS

TIME_BASES = ("exact", "tz_assumed", "skew_corrected", "estimated", "detected")
"""Where an event's time comes from.

``exact``: stated with its time zone. ``tz_assumed``: stated without one and read in the
time zone of the extract. ``skew_corrected``: the vendor corrected the device's clock.
``detected``: the moment the vendor noticed the event. ``estimated``: back-dated by the
vendor, and never used in features.
"""


UTC_TIME = pl.Datetime("us", "UTC")


def _instant(nullable: bool = False) -> dy.Datetime:
    """A column of UTC_TIME."""
    return dy.Datetime(
        time_unit="us",
        time_zone="UTC",
        nullable=nullable,
    )


class Events(dy.Schema):
    """The event log, with one row per event."""

    event_id = dy.String(primary_key=True)
    source = dy.String(primary_key=True)
    source_file = dy.String(nullable=False)
    # The file's row in the table of files.
    file_id = dy.String(nullable=False)
    source_row = dy.Int64(nullable=False)
    event_time = _instant()
    event_time_basis = dy.String(nullable=False, check=lambda c: c.is_in(TIME_BASES))
    received_time = _instant(nullable=True)
    event_kind = dy.String(nullable=False, check=lambda c: c.is_in(EVENT_KINDS))
    event = dy.String(nullable=False, min_length=1)
    user_id = dy.String(nullable=True, min_length=1)
    anonymous_id = dy.String(nullable=True)
    # Every id by which rows of one person may be joined, as "type:value".
    ids = dy.List(dy.String(), nullable=False)
    platform = dy.String(nullable=True)
    country = dy.String(nullable=True)
    app_version = dy.String(nullable=True)
    revenue = dy.Float64(nullable=True)
    currency = dy.String(nullable=True)
    # The revenue in US dollars as the vendor converted it; null if it did not.
    revenue_usd = dy.Float64(nullable=True)
    media_source = dy.String(nullable=True)
    properties = dy.String(nullable=True)


class Quarantine(dy.Schema):
    """Rows kept out of the event log, each with the reason but without its content."""

    source = dy.String(nullable=False)
    source_file = dy.String(nullable=False)
    file_id = dy.String(nullable=False)
    source_row = dy.Int64(nullable=False)
    reason = dy.String(nullable=False)
    # Salted hashes of the row's ids, so that an erasure finds the row.
    subjects = dy.List(dy.String(), nullable=False)


class Files(dy.Schema):
    """Every file that was read, with marks to recognise it and its row counts."""

    extract = dy.String(nullable=False)
    # Path or URL of the file.
    address = dy.String(nullable=False)
    # Name of the file in the event log.
    file_id = dy.String(nullable=False)
    # Size and time of change, or the object's entity tag.
    stamp = dy.String(nullable=False)
    # SHA-256 of the content.
    digest = dy.String(nullable=False)
    ingested_at = _instant()
    rows = dy.Int64(nullable=False)
    kept = dy.Int64(nullable=False)
    duplicate = dy.Int64(nullable=False)
    # Duplicates whose first copy arrived in the same ingest.
    copies = dy.Int64(nullable=False)
    quarantined = dy.Int64(nullable=False)
    # Times of the first and last of the rows that could be kept; null without any.
    first_at = _instant(nullable=True)
    last_at = _instant(nullable=True)


class Volume(dy.Schema):
    """Events per extract, platform, local day, day known, event and kind.

    Coverage and the gates are computed from it.
    """

    extract = dy.String(nullable=False)
    # The empty text if the row states no platform.
    platform = dy.String(nullable=False)
    date = dy.Date(nullable=False)
    known_date = dy.Date(nullable=True)
    event = dy.String(nullable=False)
    kind = dy.String(nullable=False)
    n = dy.Int64(nullable=False)
    n_without_user = dy.Int64(nullable=False)


class Tally(dy.Schema):
    """Events per extract and local day by one measure.

    ``measure`` says what is counted: events by hour of the day, by filled column, by
    currency of revenue, or those that are copies of another row of their file.
    ``value`` is that hour, column name or currency.
    """

    extract = dy.String(nullable=False)
    date = dy.Date(nullable=False)
    measure = dy.String(nullable=False, regex="^(hour|column|currency|copy)$")
    value = dy.String(nullable=False)
    n = dy.Int64(nullable=False)


class Daily(dy.Schema):
    """Columns that activity of users and of anonymous devices share.

    A key (person, source, date, event, kind, known_date) may occur in several rows,
    because late rows are appended: sum on read.
    """

    source = dy.String(nullable=False)
    date = dy.Date(nullable=False)
    event = dy.String(nullable=False)
    kind = dy.String(nullable=False)
    known_date = dy.Date(nullable=True)
    n = dy.Int64(nullable=False)
    revenue = dy.Float64(nullable=False)
    n_other_currency = dy.Int64(nullable=False)
    first_at = _instant()
    last_at = _instant()
    # Sums of numeric properties by name; null in rows that an earlier version wrote
    # without sums.
    sums = dy.List(
        dy.Struct(
            {"name": dy.String(nullable=False), "total": dy.Float64(nullable=False)}
        ),
        nullable=True,
    )


class ActivityTable(Daily):
    """Daily activity of users.

    ``known_date`` is the first day on which the rows were known to belong to this user.
    """

    user_id = dy.String(nullable=False)


class Anonymous(Daily):
    """Daily activity of rows without a user.

    It is adopted by a user once one of its ids is known to belong to that user.
    """

    ids = dy.List(dy.String(), nullable=False)
    platform = dy.String(nullable=True)


class Users(dy.Schema):
    """First event of a user by source and platform, as far as known on a day.

    A first event that a late row made earlier adds a row with its own ``known_date``:
    take the earliest of those known by the day in question.
    """

    user_id = dy.String(nullable=False)
    source = dy.String(nullable=False)
    platform = dy.String(nullable=True)
    known_date = dy.Date(nullable=True)
    first_at = _instant()


class Edges(dy.Schema):
    """Ids that were seen together with a user id, and thus belong to that user.

    A pair may occur in several rows; the earliest ``learned_at`` counts.
    """

    source = dy.String(nullable=False)
    # "type:value".
    id = dy.String(nullable=False)
    user_id = dy.String(nullable=False)
    # The later of event time and time of receipt.
    learned_at = _instant()


class Merges(dy.Schema):
    """Ids that a vendor merged: the profile ``id`` became part of ``into``.

    ``user_id`` is the user id of the merged profile; null if it had none.
    """

    id = dy.String(nullable=False)
    into = dy.String(nullable=False)
    user_id = dy.String(nullable=True)
    learned_at = _instant()


class Tombstones(dy.Schema):
    """Salted hash of every id of an erased person.

    Nothing else of that person is kept. The hash keeps the person's rows out when an
    old extract is read again.
    """

    subject = dy.String(nullable=False)


class Snapshot(dy.Schema):
    """One row per eligible user at one cutoff.

    The feature columns come from the catalogue. ``churned`` is null until the whole
    horizon consists of complete days.
    """

    user_id = dy.String(primary_key=True)
    cutoff = dy.Date(primary_key=True)
    churned = dy.Bool(nullable=True)


BY_TABLE: dict[str, type[dy.Schema]] = {
    "events": Events,
    "activity": ActivityTable,
    "users": Users,
    "adopted_activity": ActivityTable,
    "adopted_users": Users,
    "anonymous": Anonymous,
    "edges": Edges,
    "merges": Merges,
    "files": Files,
    "quarantine": Quarantine,
    "volume": Volume,
    "tally": Tally,
    "tombstones": Tombstones,
}
"""The schema of each table of the store."""
