"""What may be kept of a row: consent, limited tracking, personal data inside
properties, and who asked to be erased.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from churn.hashing import digest
from churn.settings import Settings
from churn.store import Store, write_atomically
from churn.store.batches import TABLES

REMOVED = "[removed]"
USER = "user_id:"
ADVERTISING = ("idfa", "gaid")
ADDRESSES = ("email", "phone")  # id types kept only where Braze is addressed by them
WIDE, PART, GAP = (
    r"[\w$ .-]*",
    r"(?:[\w$ .-]*[_ .-])?",
    "[_ .-]?",
)  # of a name: any more, whole words before, a gap
WHOSE = (
    "first|last|full|sur|given|family|user|customer|client|contact|member|nick|display"
)
KEYS = (
    rf"{WIDE}e-?mail{WIDE}",
    rf"{WIDE}phone{WIDE}",
    rf"{WIDE}mobile{GAP}(?:number|no)",
    "msisdn",
    rf"{PART}(?:{WHOSE}){GAP}name",
    rf"{WIDE}address{WIDE}",
    rf"street{WIDE}",
    rf"{PART}(?:postal|zip|post){GAP}code",
    rf"{PART}ip(?:v4|v6)?",
    rf"{PART}(?:lat(?:itude)?|lng|lon(?:gitude)?)",
    rf"{WIDE}birth{WIDE}|{PART}dob",
    rf"{PART}(?:password|passwd|secret)|{WIDE}token",
    rf"iban|{PART}card{GAP}number|ssn|{PART}tax{GAP}(?:no|id|number)",
    rf"idfa|idfv|gaid|aaid|imei|android{GAP}id|advertising{GAP}id",
)
PATTERNS = (
    r"[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+",  # e-mail, also inside an address
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b",  # IPv4
    r"\b(?:[0-9a-fA-F]{1,4}:){5,7}[0-9a-fA-F]{1,4}\b",  # IPv6
    r"\+\d[\d ().-]{7,16}\d",  # international telephone number
)
WORD, NO_WORD = (
    r"[\w.@+-]{6,}",
    r"[^\w.@+-]",
)  # shorter ids would be found by chance in other people's properties
TEXT = r'"[^"\\]{6,}"'
MENTION = "mention:"
# stands, with the salted hash, for an erased user of an id that others use too
FORGOTTEN = "forgotten:"
VALUE = r'("(?:[^"\\]|\\.)*"|-?[\d.]+)'


def scrubbed(properties: pl.Expr, settings: Settings) -> pl.Expr:
    """Properties without personal data: values of telling names, and what looks like an
    e-mail, IP or phone number.

    Names are matched whatever their case; GA4's list of key and value is read too.
    """
    own = [re.escape(key) for key in settings.privacy.scrub_keys]
    names = "|".join([*KEYS, *own])
    by_name = rf'(?i)("(?:{names})"\s*:\s*){VALUE}'
    by_key = rf'(?i)("key"\s*:\s*"(?:{names})"\s*,\s*"value"\s*:\s*\{{)[^}}]*\}}'
    clean = properties.str.replace_all(by_name, f'${{1}}"{REMOVED}"')
    clean = clean.str.replace_all(by_key, f'${{1}}"string_value":"{REMOVED}"}}')
    return clean.str.replace_all(
        "|".join([*PATTERNS, *settings.privacy.scrub_patterns]), REMOVED
    )


def subjects(salt: str) -> pl.Expr:
    """Salted hash of each id of a row, its user's among them."""
    tags = pl.concat_list(
        pl.lit(USER) + pl.col("user_id"), pl.col("ids")
    ).list.drop_nulls()
    return tags.list.eval(hashed(salt, pl.element())).alias("subjects")


def hashed(salt: str, tag: pl.Expr) -> pl.Expr:
    """The salted hash of "type:value"."""
    return digest(pl.lit(salt) + tag)


def apply(
    rows: pl.LazyFrame, settings: Settings, salt: str, tombstones: pl.Series
) -> pl.LazyFrame:
    """Rows with only what may be kept, and the fault of those that may not be kept at
    all.
    """
    barred = [
        *settings.identity.never_join,
        *(kind for kind in ADDRESSES if kind != settings.braze.identifier),
    ]
    unlinked = pl.when(pl.col("limited")).then(_without(ADVERTISING)).otherwise("ids")
    joining = (
        unlinked if settings.privacy.limited_tracking == "unlink" else pl.col("ids")
    )
    nobody = list(settings.identity.not_a_user)
    return rows.with_columns(
        fault=_fault(settings, salt, tombstones), ids=joining
    ).with_columns(
        ids=_without(barred),
        user_id=pl.when(~pl.col("user_id").is_in(nobody)).then("user_id"),
        properties=scrubbed(pl.col("properties"), settings),
    )


def _fault(settings: Settings, salt: str, tombstones: pl.Series) -> pl.Expr:
    """Why a row can't be kept: first that its person was forgotten, last what the study
    says of consent.
    """
    dead = (
        subjects(salt).list.set_intersection(pl.lit(tombstones.implode())).list.len()
        > 0
    )
    faults: list[pl.Expr] = (
        [pl.when(dead).then(pl.lit("forgotten"))] if tombstones.len() else []
    )
    faults.append(pl.col("fault"))
    if settings.privacy.refused_consent == "drop":
        faults.append(pl.when(~pl.col("consent")).then(pl.lit("consent_refused")))
    if settings.privacy.limited_tracking == "drop":
        faults.append(pl.when(pl.col("limited")).then(pl.lit("tracking_limited")))
    return pl.coalesce(faults)


def _without(types: Sequence[str]) -> pl.Expr:
    pattern = f"^(?:{'|'.join(map(re.escape, types))}):"
    return pl.col("ids").list.eval(
        pl.element().filter(~pl.element().str.contains(pattern))
    )


def without_mentions(rows: pl.DataFrame, salt: str, dead: pl.Series) -> pl.DataFrame:
    """Rows whose properties no longer name any of the erased.

    Told by the hash of each text value, and of each word in it, of six letters or more.
    """
    properties = pl.col("properties")
    parts = pl.concat_list(
        properties.str.extract_all(WORD), properties.str.extract_all(TEXT)
    )
    words = rows.select(
        parts.explode().str.strip_chars('"').unique().alias("word")
    ).drop_nulls()
    marked = words.with_columns(
        who=hashed(salt, MENTION + pl.col("word").str.to_lowercase())
    )
    for word in marked.filter(pl.col("who").is_in(dead.implode()))["word"].sort(
        descending=True
    ):
        name = re.escape(word)
        properties = properties.str.replace_all(
            rf"([:\[,]\s*){name}(\s*[,\]}}])", f'${{1}}"{REMOVED}"${{2}}'
        )
        properties = properties.str.replace_all(
            rf"(^|{NO_WORD}){name}($|{NO_WORD})", f"${{1}}{REMOVED}${{2}}"
        )
    return rows.with_columns(properties)


def without_forgotten(rows: pl.DataFrame, store: Store) -> pl.DataFrame:
    """Rows with a user_id, but of those whose person was erased by now."""
    return rows.filter(
        ~hashed(store.salt, USER + pl.col("user_id")).is_in(dead(store).implode())
    )


def dead(store: Store) -> pl.Series:
    """The tombstones: see tables.Tombstones."""
    return store.scan("tombstones").collect()["subject"]


def tombstones(salt: str, tags: Sequence[str]) -> pl.DataFrame:
    """What is kept of "type:value" ids once their person is erased: see
    tables.Tombstones.
    """
    mentions = [MENTION + tag.split(":", 1)[1].lower() for tag in tags]
    tagged = pl.DataFrame({"tag": [*tags, *mentions]}, schema={"tag": pl.String})
    return tagged.select(hashed(salt, pl.col("tag")).alias("subject")).unique()


def erase(store: Store) -> dict[str, int]:
    """Clean every file of whoever has a tombstone; returns the rows erased by table."""
    erased = dead(store)
    counts: dict[str, int] = {}
    tables = [table for table in TABLES if table != "tombstones"]
    for file in [
        *store.files(*tables),
        *store.path("scores").glob("*.parquet"),
    ]:
        table = file.relative_to(store.root).parts[0]
        counts[table] = counts.get(table, 0) + _clean(file, store.salt, erased)
    replace(store, erasing=False).commit()
    return {table: n for table, n in counts.items() if n}


def _clean(file: Path, salt: str, dead: pl.Series) -> int:
    rows = pl.read_parquet(file, hive_partitioning=False)
    tags = _whose(rows.columns)
    if not tags:
        return 0
    if file.parent.name == "edges":
        kept = _unnamed(rows, salt, dead)
    else:
        who = hashed(salt, pl.element())
        marked = (
            pl.concat_list(tags).list.drop_nulls().list.eval(who)
            if "subjects" not in rows.columns
            else tags[0]
        )
        kept = rows.filter(
            marked.list.set_intersection(pl.lit(dead.implode())).list.len() == 0
        )
    if "properties" in rows.columns:
        kept = without_mentions(kept, salt, dead)
    if not kept.equals(rows):
        buffer = io.BytesIO()
        kept.write_parquet(buffer)
        write_atomically(file, buffer.getvalue())
    return rows.height - kept.height


def _unnamed(edges: pl.DataFrame, salt: str, dead: pl.Series) -> pl.DataFrame:
    """Edges without the erased people's own ids; for an id that others use too a
    stand-in keeps its place in time.
    """
    user = hashed(salt, USER + pl.col("user_id"))
    stand_in = (
        pl.when(user.is_in(dead.implode())).then(FORGOTTEN + user).otherwise("user_id")
    )
    return edges.filter(~hashed(salt, pl.col("id")).is_in(dead.implode())).with_columns(
        user_id=stand_in
    )


def _whose(columns: Sequence[str]) -> list[pl.Expr]:
    """The tags of a row, whichever table it is of."""
    tags = [USER + pl.col("user_id")] if "user_id" in columns else []
    return tags + [pl.col(c) for c in ("ids", "id", "into", "subjects") if c in columns]
