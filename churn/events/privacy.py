"""Privacy rules for rows: consent, limited tracking, personal data in properties.

Rows that may not be kept get a fault. The other rows lose those ids and property values
that may not be stored. ``erasure`` removes people who asked for it.
"""

import re
from collections.abc import Sequence

import polars as pl

from churn.events import erasure
from churn.events.erasure import REMOVED
from churn.settings import Settings
from churn.settings.audiences import ADVERTISING
from churn.store.inputs import ADDRESSES

# Patterns of parts of property names: any text, preceding whole words, and a gap
# between words.
MORE = r"[\w$ .-]*"
WORDS = r"(?:[\w$ .-]*[_ .-])?"
GAP = "[_ .-]?"
NAME_OF = (
    "first|last|full|sur|given|family|user|customer|client|contact|member|nick|display"
)
PERSONAL_NAMES = (
    rf"{MORE}e-?mail{MORE}",
    rf"{MORE}phone{MORE}",
    rf"{MORE}mobile{GAP}(?:number|no)",
    "msisdn",
    rf"{WORDS}(?:{NAME_OF}){GAP}name",
    rf"{MORE}address{MORE}",
    rf"street{MORE}",
    rf"{WORDS}(?:postal|zip|post){GAP}code",
    rf"{WORDS}ip(?:v4|v6)?",
    rf"{WORDS}(?:lat(?:itude)?|lng|lon(?:gitude)?)",
    rf"{MORE}birth{MORE}|{WORDS}dob",
    rf"{WORDS}(?:password|passwd|secret)|{MORE}token",
    rf"iban|{WORDS}card{GAP}number|ssn|{WORDS}tax{GAP}(?:no|id|number)",
    rf"idfa|idfv|gaid|aaid|imei|android{GAP}id|advertising{GAP}id",
)
"""Patterns of the names of properties whose values are personal data."""

PERSONAL_VALUES = (
    # E-mail addresses, also inside a URL.
    r"[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+",
    # IPv4 addresses.
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b",
    # IPv6 addresses.
    r"\b(?:[0-9a-fA-F]{1,4}:){5,7}[0-9a-fA-F]{1,4}\b",
    # International telephone numbers.
    r"\+\d[\d ().-]{7,16}\d",
)
"""Patterns of values that are personal data whatever the name of the property."""

UNREADABLE = ("unreadable_time", "unreadable_revenue", "unknown_kind")
"""Faults of one cell, which may be shown."""

IMPOSSIBLE = ("in_the_future", "before_1990")
"""Faults of a time that can be read."""

MAX_SHOWN = 40
"""Number of letters of a cell that are shown."""

VALUE = r'("(?:[^"\\]|\\.)*"|-?[\d.]+)'
"""A JSON value: text or a number."""


def protected(
    rows: pl.LazyFrame, settings: Settings, salt: str, tombstones: pl.Series
) -> pl.LazyFrame:
    """Canonical rows reduced to what may be kept; a row to be dropped has a fault.

    Removed are ids and user ids that the study forbids, advertising ids of people who
    limit tracking if the study says so, and personal data in properties.
    """
    is_limited = pl.col("limited")
    ids = pl.col("ids")
    if settings.privacy.limited_tracking == "unlink":
        ids = pl.when(is_limited).then(_without(ADVERTISING)).otherwise("ids")
    unused = [kind for kind in ADDRESSES if kind not in settings.addresses]
    barred = [*settings.identity.never_join, *unused]
    is_nobody = pl.col("user_id").is_in(list(settings.identity.not_a_user))
    # Faults come first: they look at all ids of a row.
    marked = rows.with_columns(fault=_fault(settings, salt, tombstones), ids=ids)
    return marked.with_columns(
        ids=_without(barred),
        user_id=pl.when(~is_nobody).then("user_id"),
        properties=scrubbed(pl.col("properties"), settings),
        seen=_shown(settings),
    )


def _fault(
    settings: Settings,
    salt: str,
    tombstones: pl.Series,
) -> pl.Expr:
    """Reason for not keeping a row: erasure first, then other faults, then consent."""
    faults: list[pl.Expr] = []
    if tombstones.len():
        is_erased = erasure.intersects(erasure.subjects(salt), tombstones)
        faults.append(pl.when(is_erased).then(pl.lit("forgotten")))
    faults.append(pl.col("fault"))
    if settings.privacy.refused_consent == "drop":
        faults.append(pl.when(~pl.col("consent")).then(pl.lit("consent_refused")))
    if settings.privacy.limited_tracking == "drop":
        faults.append(pl.when(pl.col("limited")).then(pl.lit("tracking_limited")))
    return pl.coalesce(faults)


def _shown(settings: Settings) -> pl.Expr:
    """What may be shown of a cell at fault; null if it is one of the row's ids.

    A cell may hold an id where the columns of a file have moved. A time that can't be
    right is shown as it was read.
    """
    cell = pl.col("seen")
    is_id = (cell == pl.col("user_id")) | (cell == pl.col("anonymous_id"))
    is_shown = pl.col("fault").is_in(UNREADABLE) & ~is_id.fill_null(False)
    written = pl.col("event_time").dt.to_string("%Y-%m-%d %H:%M:%S")
    shown = (
        pl.when(is_shown)
        .then(cell)
        .when(pl.col("fault").is_in(IMPOSSIBLE))
        .then(written)
    )
    patterns = "|".join([*PERSONAL_VALUES, *settings.privacy.scrub_patterns])
    return shown.str.replace_all(patterns, REMOVED).str.head(MAX_SHOWN)


def _without(id_types: Sequence[str]) -> pl.Expr:
    """The row's ids without those of some types."""
    pattern = f"^(?:{'|'.join(map(re.escape, id_types))}):"
    tag = pl.element()
    return pl.col("ids").list.eval(tag.filter(~tag.str.contains(pattern)))


def scrubbed(properties: pl.Expr, settings: Settings) -> pl.Expr:
    """Properties without personal data, which is replaced by "[removed]".

    Removed are values of properties whose names suggest personal data, and all text
    that looks like an e-mail address, IP address or telephone number. Names are
    compared without case, and also found in GA4's list of key and value. The study may
    add names and patterns.
    """
    study_names = [re.escape(key) for key in settings.privacy.scrub_keys]
    names = "|".join([*PERSONAL_NAMES, *study_names])
    by_name = rf'(?i)("(?:{names})"\s*:\s*){VALUE}'
    by_key = rf'(?i)("key"\s*:\s*"(?:{names})"\s*,\s*"value"\s*:\s*\{{)[^}}]*\}}'
    by_value = "|".join([*PERSONAL_VALUES, *settings.privacy.scrub_patterns])
    # Few texts hold anything personal, and one search costs less than three. It has
    # the names only once: a pattern's size is limited, and a study may add many.
    is_personal = properties.str.contains(rf'(?i:"(?:{names})")|{by_value}')
    personal = pl.when(is_personal).then(properties)
    clean = personal.str.replace_all(by_name, f'${{1}}"{REMOVED}"')
    clean = clean.str.replace_all(by_key, f'${{1}}"string_value":"{REMOVED}"}}')
    return pl.coalesce(clean.str.replace_all(by_value, REMOVED), properties)
