"""Parts of tables: the order of the rows that are written."""

from datetime import UTC, datetime

import polars as pl

from churn.store import parts
from churn.store.schemas import UTC_TIME

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_rows_of_a_bucket_stand_together_in_the_order_of_reading() -> None:
    """Users of two buckets are sorted by bucket, and by user within it."""
    users = pl.DataFrame(
        {
            "bucket": [1, 0, 1, 0],
            "user_id": ["a", "d", "c", "b"],
            "source": "adjust",
            "platform": "ios",
            "known_date": pl.Series([None] * 4, dtype=pl.Date),
            "first_at": pl.Series([NOON] * 4, dtype=UTC_TIME),
        }
    )
    ordered = parts.valid("users", users)
    assert ordered.select("bucket", "user_id").rows() == [
        (0, "b"),
        (0, "d"),
        (1, "a"),
        (1, "c"),
    ]
