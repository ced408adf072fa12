"""Compaction leaves out only rows that change no answer."""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from churn.store import compaction
from churn.store.layout import PERIODS, TABLES
from churn.store.parts import Part
from churn.store.schemas import Users

from ..conftest import at
from ..events.replaying import Life, content

KEY = ("user_id", "source", "platform")
USERS = st.lists(
    st.tuples(
        st.sampled_from(("a", "b")),
        st.sampled_from(("table", "ga4")),
        st.sampled_from((None, "ios")),
        st.none() | st.integers(0, 6),
        st.integers(0, 6),
    ),
    max_size=20,
)


def frame(rows: list[tuple[str, str, str | None, int | None, int]]) -> pl.DataFrame:
    """Rows of the table of users; the last two numbers are days of January."""
    each = [
        (*key, None if known is None else date(2026, 1, 1 + known), at(first))
        for *key, known, first in rows
    ]
    schema = Users.create_empty().schema
    return pl.DataFrame(each, schema=schema, orient="row")


def firsts_by_day(users: pl.DataFrame) -> list[dict[tuple[object, ...], datetime]]:
    """The first event of every user as known on each day."""
    answers = []
    for day in (date(2025, 12, 31) + timedelta(days=n) for n in range(10)):
        known = users.filter(
            pl.col("known_date").is_null() | (pl.col("known_date") < day)
        )
        firsts = known.group_by(KEY).agg(pl.col("first_at").min())
        answers.append({row[:-1]: row[-1] for row in firsts.iter_rows()})
    return answers


@given(USERS)
def test_a_users_first_event_as_known_on_any_day_stays(
    rows: list[tuple[str, str, str | None, int | None, int]],
) -> None:
    """Fewer rows give the same answer for every day, by source and platform, and none
    of the remaining ones says what another one says.
    """
    users = frame(rows)
    kept = compaction.reduced(users.lazy(), "users").collect()
    assert firsts_by_day(kept) == firsts_by_day(users)
    again = compaction.reduced(kept.lazy(), "users").collect()
    assert again.height == kept.height == len(set(kept.iter_rows()))


def test_rewritten_tables_hold_the_same(tmp_path: Path) -> None:
    """Each table that is written anew says what it said before, in fewer rows."""
    life = Life(tmp_path)
    header = "event_id,user_id,event,time,received_time,anonymous_id,platform\n"
    for n in range(6):
        rows = (
            f"{n}.{i},{'' if i % 3 == 0 else f'u{i % 4}'},open,2026-0{1 + n % 2}-{9 - n:02d},"
            f"2026-02-{20 + n},d{i % 5},ios\n"
            for i in range(8)
        )
        life.write(f"{n}.csv", header + "".join(rows))
        life.ingest()
    store = life.store()
    before = content(store)
    for table in TABLES:
        if table not in store.versions:
            continue
        periods = store.files(table)["period"].unique().sort()
        for period in periods if table in PERIODS else [None]:
            store = compaction.rewritten(store, table, Part(period=period))
    assert content(store) == before
    assert store.n_rows("users") < life.store().n_rows("users")
