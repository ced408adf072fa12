"""Hashes that are the same in every version and on every machine."""

import polars as pl
import polars_hash as plh


def stable_hash(values: pl.Expr | str) -> pl.Expr:
    """64-bit hash of text, equal in every version and on every machine (xxHash64, seed
    0); null stays null.

    >>> pl.DataFrame({"id": ["a", "b"]}).select(stable_hash("id"))["id"].to_list()
    [15154266338359012955, 8666379929374662555]
    """
    column = pl.col(values) if isinstance(values, str) else values
    return plh.NonCryptographicHashingNameSpace(column).xxhash64()


def bucket_of(values: pl.Expr | str, n_buckets: int) -> pl.Expr:
    """Bucket number 0 … n_buckets − 1 of each id; null stays null."""
    return (stable_hash(values) % n_buckets).cast(pl.Int64)


def digest(values: pl.Expr) -> pl.Expr:
    """128-bit BLAKE3 of text as 32 hex digits: event ids, pseudonyms and tombstones;
    null stays null.
    """
    return plh.CryptographicHashingNameSpace(values).blake3().str.head(32)
