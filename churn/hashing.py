"""Hashes that are equal in every version of every library and on every machine.

Polars' own hash is not, but buckets, samples and pseudonyms must outlive an upgrade.
"""

import polars as pl
import polars_hash as plh


def stable_hash(values: pl.Expr | str) -> pl.Expr:
    """64-bit xxHash64 (seed 0) of text; null stays null.

    >>> pl.DataFrame({"id": ["a", "b"]}).select(stable_hash("id"))["id"].to_list()
    [15154266338359012955, 8666379929374662555]
    """
    column = pl.col(values) if isinstance(values, str) else values
    return plh.NonCryptographicHashingNameSpace(column).xxhash64()


def bucket_of(values: pl.Expr | str, n_buckets: int) -> pl.Expr:
    """Bucket number of each id, from 0 to n_buckets − 1; null stays null."""
    return (stable_hash(values) % n_buckets).cast(pl.Int64)


def digest(values: pl.Expr) -> pl.Expr:
    """128-bit BLAKE3 of text as 32 hexadecimal digits; null stays null.

    Used where collisions matter: event ids, pseudonyms and tombstones.
    """
    return plh.CryptographicHashingNameSpace(values).blake3().str.head(32)


def sha256(values: pl.Expr) -> pl.Expr:
    """SHA-256 of text as 64 hexadecimal digits, for others; null stays null.

    >>> pl.DataFrame({"id": ["abc"]}).select(sha256(pl.col("id"))).item()[:16]
    'ba7816bf8f01cfea'
    """
    return plh.CryptographicHashingNameSpace(values).sha2_256()
