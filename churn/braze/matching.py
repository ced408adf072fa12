"""Matches scores with the ledger: a row for every user who is in one of them.

The ledger is read a part at a time, so that memory follows the scored users and a part
of the ledger. Users are matched by a hash of the identifier: the hashes of the scored
users are sorted once, and those of a part of the ledger are looked up in them.
"""

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from churn.braze.attributes import GONE, LAPSED, SCORED

USERS_IN_A_PART = 250_000


def parts(
    scores: pl.DataFrame,
    synced: Iterable[pl.DataFrame],
    gone: Sequence[str],
) -> Iterator[pl.DataFrame]:
    """Every user who is scored or synced, in parts of about USERS_IN_A_PART users.

    ``synced``: the users of the ledger, in any number of frames. Columns: identifier,
    segment, score and decile (as text), reason, attributes, unconfirmed, why. Of the
    users in ``gone`` only those are there who were sent something.
    """
    scored = _scored(scores)
    index = indexed(scored.select(pl.col("identifier").hash()).to_series())
    is_new = pl.repeat(True, scored.height, eager=True)
    for part in _gathered(synced):
        hashed = part.with_columns(hash=pl.col("identifier").hash())
        known = matched(hashed, scored, index)
        is_new.scatter(known["row"].drop_nulls(), False)
        yield _labelled(known.drop("hash", "row"), gone)
    for first in range(0, max(1, scored.height), USERS_IN_A_PART):
        users = scored.slice(first, USERS_IN_A_PART)
        new = users.filter(is_new.slice(first, USERS_IN_A_PART))
        never = pl.lit(None, pl.Categorical)
        yield _labelled(new.with_columns(attributes=never, unconfirmed=False), gone)


def indexed(hashes: pl.Series) -> pl.DataFrame:
    """The hashes of scored users in their order, and the row that each is of."""
    return pl.DataFrame({"hash": hashes}).with_row_index("row").sort("hash")


def matched(
    synced: pl.DataFrame,
    scored: pl.DataFrame,
    index: pl.DataFrame,
) -> pl.DataFrame:
    """The synced users with the columns of the scored ones, and their ``row`` there.

    ``synced`` has the columns identifier and hash; ``index`` is that of ``scored``. All
    is null for users who aren't scored. Identifiers that differ may have the same hash;
    then the identifiers are matched themselves.
    """
    if scored.is_empty():
        return _by_identifier(synced, scored)
    synced = synced.sort("hash")
    place = index["hash"].search_sorted(synced["hash"])
    found = index[place.clip(upper_bound=scored.height - 1)]
    is_scored = found["hash"] == synced["hash"]
    row = found.select(row=pl.when(is_scored).then("row")).to_series()
    columns = scored.select(pl.all().gather(row))
    differ = columns["identifier"] != synced["identifier"]
    if differ.any():
        return _by_identifier(synced, scored)
    return pl.concat(
        [synced, columns.drop("identifier"), row.to_frame()], how="horizontal"
    )


def _by_identifier(synced: pl.DataFrame, scored: pl.DataFrame) -> pl.DataFrame:
    return synced.join(scored.with_row_index("row"), on="identifier", how="left")


def _scored(scores: pl.DataFrame) -> pl.DataFrame:
    """The columns that are matched; a null identifier is nobody's."""
    users = scores.select(
        "identifier",
        "segment",
        "score",
        _if_there(scores, "decile").alias("decile"),
        _if_there(scores, "reason_1").alias("reason"),
    )
    return users.drop_nulls("identifier")


def _if_there(scores: pl.DataFrame, column: str) -> pl.Expr:
    """A column that scores need not have; null where they don't."""
    if column in scores.columns:
        return pl.col(column)
    return pl.lit(None, pl.String)


def _gathered(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The frames in fewer ones, each of at least USERS_IN_A_PART rows but the last."""
    waiting: list[pl.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        if sum(part.height for part in waiting) >= USERS_IN_A_PART:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _labelled(users: pl.DataFrame, gone: Sequence[str]) -> pl.DataFrame:
    """The users with the reason why each is in the plan, see ``parts``."""
    users = users.with_columns(
        pl.col("score", "decile").cast(pl.String),
        why=_why(gone),
    )
    is_gone = pl.col("why") == GONE
    was_never_sent = pl.col("attributes").is_null()
    return users.filter(~(is_gone & was_never_sent))


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
