"""Matches scores with the ledger: a row for every user who is in one of them.

Users are matched in parts, so that memory follows a part: a hash of the identifier
says which part a user belongs to. It is also what is matched, since hashes take a third
of the time of texts.
"""

from collections.abc import Iterator, Sequence

import polars as pl

from churn.braze.attributes import GONE, LAPSED, SCORED

USERS_IN_A_PART = 1_000_000


def parts(
    scores: pl.DataFrame,
    synced: pl.DataFrame,
    gone: Sequence[str],
) -> Iterator[pl.DataFrame]:
    """Every user who is scored or synced, in parts of about USERS_IN_A_PART users.

    Columns: identifier, segment, score and decile (as text), reason, attributes,
    unconfirmed, why. Of the users in ``gone`` only those are there who were sent something.
    """
    scored = scores.select(
        "identifier",
        "segment",
        "score",
        _if_there(scores, "decile").alias("decile"),
        _if_there(scores, "reason_1").alias("reason"),
    )
    n_parts = 1 + max(scored.height, synced.height) // USERS_IN_A_PART
    part_of_scored = _part(scored, n_parts)
    part_of_synced = _part(synced, n_parts)
    for number in range(n_parts):
        users = matched(
            _with_hash(synced.filter(part_of_synced == number)),
            _with_hash(scored.filter(part_of_scored == number)),
        )
        users = users.with_columns(
            pl.col("score", "decile").cast(pl.String),
            pl.col("unconfirmed").fill_null(False),
            why=_why(gone),
        )
        is_gone = pl.col("why") == GONE
        was_never_sent = pl.col("attributes").is_null()
        yield users.filter(~(is_gone & was_never_sent))


def matched(synced: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
    """The rows of both, those of one identifier as one row.

    Both have the columns identifier and hash. Identifiers that differ may have the same
    hash; then the identifiers are matched themselves. A null identifier is nobody's.
    """
    scored = scored.drop_nulls("identifier")
    users = synced.join(scored, on="hash", how="full")
    differ = pl.col("identifier") != pl.col("identifier_right")
    if users.select(differ.any()).item():
        users = synced.join(scored, on="identifier", how="full")
    identifier = pl.coalesce("identifier", "identifier_right")
    return users.with_columns(identifier).drop("identifier_right", "hash", "hash_right")


def _if_there(scores: pl.DataFrame, column: str) -> pl.Expr:
    """A column that scores need not have; null where they don't."""
    if column in scores.columns:
        return pl.col(column)
    return pl.lit(None, pl.String)


def _part(users: pl.DataFrame, n_parts: int) -> pl.Series:
    """The number of the part that each user belongs to."""
    return (users["identifier"].hash() % n_parts).cast(pl.UInt16)


def _with_hash(users: pl.DataFrame) -> pl.DataFrame:
    return users.with_columns(hash=pl.col("identifier").hash())


def _why(gone: Sequence[str]) -> pl.Expr:
    names = pl.Series(gone, dtype=pl.String)
    is_gone = pl.col("identifier").is_in(names.implode())
    is_lapsed = pl.col("segment").is_null()
    return (
        pl.when(is_gone)
        .then(pl.lit(GONE))
        .when(is_lapsed)
        .then(pl.lit(LAPSED))
        .otherwise(pl.lit(SCORED))
    )
