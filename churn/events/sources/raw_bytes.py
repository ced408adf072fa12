"""Columns of bytes as text: UUIDs, and text whose file does not say that it is text.

Parquet holds UUIDs as sixteen bytes, as PostgreSQL, DuckDB, Spark and Iceberg write
them, and older writers leave texts unmarked. The bytes themselves tell the two apart: a
UUID that happens to be readable text occurs in less than one of a million.
"""

import polars as pl

# Bytes of UTF-8 in hexadecimal digits: a following byte, and a character of one to four
# bytes, without control characters.
NEXT = "[89ab]."
ONE = "0[9ad]|[2-6].|7[0-9a-e]"
TWO = f"(?:c[2-9a-f]|d.){NEXT}"
THREE = f"(?:e0[ab].|e[1-9abcef]{NEXT}|ed[89].){NEXT}"
FOUR = f"(?:f0[9ab].|f[1-3]{NEXT}|f48.){NEXT}{NEXT}"
READABLE = f"^(?:{ONE}|{TWO}|{THREE}|{FOUR})*$"
"""Readable text as the hexadecimal digits of its bytes in UTF-8."""

UUID_PARTS = r"^(.{8})(.{4})(.{4})(.{4})(.{12})$"
"""The parts of a UUID's 32 hexadecimal digits."""


def text(column: pl.Expr) -> pl.Expr:
    """Bytes as text or, if there are sixteen, as UUID; null if they are neither."""
    digits = column.bin.encode("hex")
    is_readable = digits.str.contains(READABLE)
    # Null would not do instead of no bytes: the cast looks at what it covers.
    bytes_of_text = pl.when(is_readable).then(column).otherwise(pl.lit(b""))
    readable = bytes_of_text.cast(pl.String)
    is_uuid = column.bin.size() == 16
    parts = digits.str.replace(UUID_PARTS, "${1}-${2}-${3}-${4}-${5}")
    return pl.when(is_readable).then(readable).when(is_uuid).then(parts)


def is_unreadable(column: pl.Expr) -> pl.Expr:
    """Whether bytes are neither text nor a UUID."""
    is_readable = column.bin.encode("hex").str.contains(READABLE)
    return ~is_readable & (column.bin.size() != 16)
