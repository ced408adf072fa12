"""Erasure of people from the store, and how they stay erased.

Of an erased person only tombstones are kept: salted hashes of every id that belonged to
them alone. Rows that carry such an id are refused when old extracts are read again.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from churn.errors import StoreError
from churn.hashing import digest
from churn.store import Store, cleaning, grouped
from churn.store.layout import BUCKETED, TABLES

USER = "user_id:"
"""Type of a user id among the ids that are hashed."""

MENTION = "mention:"
"""Type under which an id is hashed as a word that properties may contain."""

FORGOTTEN = "forgotten:"
"""Prefix of the placeholder for an erased user in edges of ids that others share."""

REMOVED = "[removed]"
"""Text that replaces words in properties which may not be kept."""

# Shorter ids would be found by chance in other people's properties.
WORD = r"[\w.@+-]{6,}"
NOT_WORD = r"[^\w.@+-]"
TEXT = r'"[^"\\]{6,}"'

ID_COLUMNS = ("ids", "id", "into", "subjects")
"""Columns, besides user_id, that hold ids or their hashes."""


WHOLE_NUMBER = r":-?\d+$"
"""Regular expression of an id, written as "type:value", that is a whole number."""


def pseudonym(salt: str) -> pl.Expr:
    """The made-up name of a user by ``user_id``, the same in every report of a study."""
    return ("user-" + hashed(salt, pl.col("user_id")).str.head(8)).alias("user")


def hashed(salt: str, tag: pl.Expr) -> pl.Expr:
    """The salted hash of an id written as "type:value"; null stays null."""
    return digest(pl.lit(salt) + tag)


def subjects(salt: str) -> pl.Expr:
    """Salted hashes of all ids of a row, that of its user among them.

    Whole numbers are hashed in the forms 1.0 and 1.00 as well: earlier versions took
    these for ids of their own, and people were erased by them.
    """
    user = pl.lit(USER) + pl.col("user_id")
    tags = pl.concat_list(user, pl.col("ids")).list.drop_nulls()
    whole = pl.element().filter(pl.element().str.contains(WHOLE_NUMBER))
    forms = [tags, *[tags.list.eval(whole + zeros) for zeros in (".0", ".00")]]
    every = pl.concat_list(forms)
    return every.list.eval(hashed(salt, pl.element())).alias("subjects")


def intersects(hashes: pl.Expr, tombstones: pl.Series) -> pl.Expr:
    """Whether a list of hashes holds one of the tombstones."""
    common = hashes.list.set_intersection(pl.lit(tombstones.implode()))
    return common.list.len() > 0


def tombstones(store: Store) -> pl.Series:
    """The hashes of all erased people's ids (schemas.Tombstones)."""
    return store.scan("tombstones").collect()["subject"]


def new_tombstones(salt: str, tags: Sequence[str]) -> pl.DataFrame:
    """The tombstones of ids written as "type:value" (schemas.Tombstones).

    Each id is hashed twice: as an id, and as a word that other people's properties may
    mention.
    """
    mentions = [MENTION + tag.split(":", 1)[1].lower() for tag in tags]
    tagged = pl.DataFrame({"tag": [*tags, *mentions]}, schema={"tag": pl.String})
    return tagged.select(hashed(salt, pl.col("tag")).alias("subject")).unique()


def is_forgotten() -> pl.Expr:
    """Whether ``user_id`` is the placeholder for an erased user.

    An id that the erased user shared with others must not look as if it had always been
    theirs, so the erased user's edge is kept with its time.
    """
    return pl.col("user_id").str.starts_with(FORGOTTEN)


def without_forgotten(rows: pl.DataFrame, store: Store) -> pl.DataFrame:
    """Rows with a user_id, without those of people who have been erased since."""
    user = hashed(store.salt, USER + pl.col("user_id"))
    return rows.filter(~user.is_in(tombstones(store).implode()))


def without_mentions(
    rows: pl.DataFrame, salt: str, tombstones: pl.Series
) -> pl.DataFrame:
    """Rows whose ``properties`` no longer mention an id of an erased person.

    Each text value, and each word in it, of six characters or more is hashed and
    compared.
    """
    properties = pl.col("properties")
    for word in _mentions(rows, salt, tombstones):
        name = re.escape(word)
        as_value = rf"([:\[,]\s*){name}(\s*[,\]}}])"
        as_word = rf"(^|{NOT_WORD}){name}($|{NOT_WORD})"
        properties = properties.str.replace_all(as_value, f'${{1}}"{REMOVED}"${{2}}')
        properties = properties.str.replace_all(as_word, f"${{1}}{REMOVED}${{2}}")
    return rows.with_columns(properties)


def _mentions(
    rows: pl.DataFrame,
    salt: str,
    tombstones: pl.Series,
) -> pl.Series:
    """Words in properties that are ids of erased people, the longest first."""
    words = pl.col("properties").str.extract_all(WORD)
    texts = pl.col("properties").str.extract_all(TEXT)
    each = pl.concat_list(words, texts).explode().str.strip_chars('"')
    unique = rows.select(each.unique().alias("word")).drop_nulls()
    mention = hashed(salt, MENTION + pl.col("word").str.to_lowercase())
    erased = unique.filter(mention.is_in(tombstones.implode()))
    return erased["word"].sort(descending=True)


def erase(store: Store) -> tuple[Store, dict[str, int]]:
    """Remove everybody who has a tombstone from the store, and from its older files.

    An erasure that was interrupted is completed by the next one. Returns the store as
    committed, and the number of rows erased by table, without tables that lost none.
    """
    erased = tombstones(store)
    counts: dict[str, int] = {}
    for table in TABLES:
        if table != "tombstones" and table in store.versions:
            store, counts[table] = _clean_table(store, table, erased)
    for name in store.place.names("scores"):
        counts["scores"] = counts.get("scores", 0) + _clean_scores(store, name, erased)
    committed = store.commit()
    cleaning.vacuum(committed)
    grouped.remove_all(committed.place)
    done = replace(committed, cleaning=False).commit()
    return done, {table: n for table, n in counts.items() if n}


def _clean_table(
    store: Store,
    table: str,
    erased: pl.Series,
) -> tuple[Store, int]:
    """Write a table's buckets anew without erased people; the number of their rows."""
    n_erased = 0
    for buckets in store.passes(store.n_rows(table)):
        if table in BUCKETED:
            rows = store.rows_of(table, buckets).collect()
        else:
            rows = store.scan(table).collect()
        kept = _clean(rows, table, store.salt, erased)
        n_erased += rows.height - kept.height
        if not kept.equals(rows):
            store = store.overwrite(table, kept, buckets if table in BUCKETED else None)
        if table not in BUCKETED:
            break
    return store, n_erased


def _clean_scores(
    store: Store,
    name: str,
    erased: pl.Series,
) -> int:
    content = store.place.read(name) or b""
    try:
        rows = pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError:
        raise StoreError(
            f"{store.place.below(name)} is damaged: restore it, or remove it if its "
            "scores are not needed, and run the command again"
        ) from None
    kept = _clean(rows, "scores", store.salt, erased)
    if kept.height < rows.height:
        buffer = io.BytesIO()
        kept.write_parquet(buffer)
        store.place.write(name, buffer.getvalue())
    return rows.height - kept.height


def _clean(
    rows: pl.DataFrame,
    table: str,
    salt: str,
    erased: pl.Series,
) -> pl.DataFrame:
    """Rows of a table without those of erased people."""
    if not {"user_id", *ID_COLUMNS} & set(rows.columns):
        return rows
    if table == "edges":
        return _clean_edges(rows, salt, erased)
    kept = rows.filter(~intersects(_hashes(rows.columns, salt), erased))
    if "properties" in rows.columns:
        kept = without_mentions(kept, salt, erased)
    return kept


def _hashes(columns: Sequence[str], salt: str) -> pl.Expr:
    """The hashes of all ids of a row of any table; the quarantine stores only these."""
    if "subjects" in columns:
        return pl.col("subjects")
    user = [USER + pl.col("user_id")] if "user_id" in columns else []
    others = [pl.col(column) for column in ID_COLUMNS if column in columns]
    all_tags = pl.concat_list(*user, *others).list.drop_nulls()
    return all_tags.list.eval(hashed(salt, pl.element()))


def _clean_edges(
    edges: pl.DataFrame,
    salt: str,
    erased: pl.Series,
) -> pl.DataFrame:
    """Edges without the ids of erased people; shared ids keep a placeholder as user."""
    user = hashed(salt, USER + pl.col("user_id"))
    is_erased = user.is_in(erased.implode())
    user_id = pl.when(is_erased).then(FORGOTTEN + user).otherwise("user_id")
    is_own_id = hashed(salt, pl.col("id")).is_in(erased.implode())
    return edges.filter(~is_own_id).with_columns(user_id=user_id)
