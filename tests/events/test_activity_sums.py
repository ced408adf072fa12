"""Sums of numeric properties in daily activity: what counts, and how sums travel."""

import json
import shutil
import string
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn import forget
from churn.events import activity, identity
from churn.events import ingest as events
from churn.events import properties as numeric
from churn.settings import Settings
from churn.store import Store, delta, open_filled

from ..conftest import event_log

NOW = datetime(2026, 3, 20, tzinfo=UTC)


def found(*texts: str | None) -> list[dict[str, float]]:
    """The numeric properties of each text."""
    frame = pl.DataFrame({"p": texts}, schema={"p": pl.String}).select(
        numeric.numbers(pl.col("p"))
    )
    return [
        {pair["name"]: pair["value"] for pair in row}
        for row in frame["numbers"].to_list()
    ]


def daily(
    properties: list[str | None], names: pl.DataFrame | None = None, **row: Any
) -> pl.DataFrame:
    """Daily activity of events of one user and day with these properties."""
    log = event_log(*[{"day": 1, **row} for _ in properties])
    numbers = pl.Series("p", properties, pl.String)
    rows = log.with_columns(numbers).with_columns(numeric.numbers(pl.col("p")))
    return activity.from_events(rows.lazy(), "UTC", "USD", names).collect()


def ingest(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    *rows: tuple[str | None, str, str, str],
) -> Settings:
    """A store of rows: user, device, time, properties."""
    columns = ["user_id", "anonymous_id", "time", "properties"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    frame.with_columns(event=pl.lit("play")).write_parquet(tmp_path / "events.parquet")
    settings = make_study(extracts=[{"source": "table", "path": "*.parquet"}])
    events.ingest(settings, NOW, progress=False)
    return settings


def sums(store: Store, table: str = "activity") -> list[list[dict[str, Any]] | None]:
    """The column of sums of a stored table, ordered by day."""
    return store.scan(table).sort("first_at").collect()["sums"].to_list()


def total(rows: pl.LazyFrame, name: str) -> float:
    """The sum of one property over rows of activity."""
    pairs = rows.select("sums").explode("sums").unnest("sums").collect()
    return float(pairs.filter(pl.col("name") == name)["total"].sum())


def test_numbers_are_summed_by_name_over_the_day() -> None:
    """Numbers, and text that is nothing but a number, are added up. Booleans, words and
    nested values are not.
    """
    rows = daily(
        [
            '{"xp": 3, "price": "2.50", "won": true, "word": "five", '
            '"near": {"xp": 100}, "list": [100]}',
            '{ "xp" : -1e1, "price" : 1 }',
            None,
        ]
    )
    assert rows["n"].to_list() == [3]
    assert rows["sums"].to_list() == [
        [{"name": "price", "total": 3.5}, {"name": "xp", "total": -7.0}]
    ]


def test_ids_and_instants_are_no_amounts() -> None:
    """Names that begin or end with id, names that end with ts, timestamp or date, and
    values from a hundred million on are left out.
    """
    text = (
        '{"id": 1, "order_id": 2, "sessionId": 3, "userIDs": 4, "id_site": 5, '
        '"sent_ts": 5, "paid": 6, "grid": 7}'
    )
    assert found(text) == [{"paid": 6.0, "grid": 7.0}]
    assert found('{"at": 1767225600, "n": 99999999, "m": -100000000}') == [
        {"n": 99999999.0}
    ]
    assert found(
        '{"zip": "01234", "a": "1,5", "b": "nan", "c": "1e400", "d": " 1"}'
    ) == [{}]


def test_what_stands_inside_text_is_no_property() -> None:
    """In text that looks like JSON, with escaped quotes and brackets, only the real
    property counts.
    """
    hostile = {
        "a": '"x": 1',
        "b": '\\", "y": 2, "',
        "c": "[{",
        "d": '{"key":"k","value":{"int_value":1}}',
        "e": 5,
    }
    assert found(json.dumps(hostile)) == [{"e": 5.0}]


def test_what_is_no_json_object_holds_no_properties() -> None:
    """Null, blank, truncated, doubly encoded and too deeply nested text, and a bare
    list, give an empty list without an error.
    """
    broken = [
        '{"a": 1',
        '{"a": 1}}',
        "{'a': 1}",
        '"{\\"a\\": 1}"',
        '{"a":NaN}',
        "[1, 2]",
        "7",
        "##",
    ]
    deep = '{"x":' * 200 + "1" + "}" * 200
    assert found(None, "", *broken, deep) == [{}] * 11


def test_ga4_parameters_count_under_their_key() -> None:
    """GA4's list counts as JSON and as Parquet write it; an object of that form inside
    a property is a nested value.
    """
    as_json = (
        '[{"key":"level","value":{"int_value":"3"}},'
        '{"key":"page","value":{"string_value":"/5"}}]'
    )
    filled = (
        '"string_value":null,"int_value":null,"float_value":null,"double_value":2.5'
    )
    assert found(as_json, '[{"key":"score","value":{' + filled + "}}]") == [
        {"level": 3.0},
        {"score": 2.5},
    ]
    assert found('{"item": {"key":"level","value":{"int_value":"3"}}}') == [{}]


names = st.text(
    alphabet=string.ascii_letters + string.digits + ' _.$-:,{}[]"\\é☃\n', max_size=6
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
    | names
    | st.integers(-99, 99).map(str)
)
values = st.recursive(
    scalars,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(names, v, max_size=3),
    max_leaves=8,
)


def expected(text: str) -> dict[str, float]:
    """The same rule computed with json.loads: top-level numbers, and text that JSON
    reads as a number.
    """
    out = {}
    for name, value in json.loads(text).items():
        number = value
        if isinstance(value, str) and set(value) <= set("-+.eE0123456789"):
            try:
                number = json.loads(value)
            except ValueError:
                continue
        plain = 0 < len(name) <= 40 and not set(name) & {'"', "\\", "\n"}
        amount = (
            isinstance(number, int | float)
            and not isinstance(number, bool)
            and abs(number) < 1e8
        )
        if plain and amount:
            out[name] = float(number)
    return out


def is_telling(name: str) -> bool:
    """Whether a name ends like an id or an instant, which the examples above cover."""
    return not name.lower().startswith("id") and not name.lower().endswith(
        ("id", "ids", "ts")
    )


@settings(max_examples=100)
@given(
    st.lists(st.dictionaries(names.filter(is_telling), values, max_size=5), max_size=5),
    st.booleans(),
)
def test_any_json_object_is_read_as_json_reads_it(
    objects: list[dict[str, Any]], raw: bool
) -> None:
    """For random objects, with and without escapes and blanks, the result equals that
    of json.loads under the same rule.
    """
    texts = [
        json.dumps(o, ensure_ascii=not raw, indent=1 if raw else None) for o in objects
    ]
    for text, pairs in zip(texts, found(*texts), strict=True):
        assert pairs == pytest.approx(expected(text), rel=1e-12)


@settings(max_examples=100)
@given(st.lists(st.text(alphabet='{}[]":,\\ 1a-e.', max_size=30)))
def test_no_text_breaks_it(texts: list[str]) -> None:
    """Every row gets a list, whatever its text, and text that json.loads refuses gets
    an empty one.
    """
    for text, pairs in zip(texts, found(*texts), strict=True):
        try:
            json.loads(text)
        except ValueError:
            assert pairs == {}


def test_only_the_commonest_names_of_an_event_are_summed() -> None:
    """Of thirty names that occur once and one that occurs thirty times, the latter and
    the first nineteen are kept.
    """
    texts = [json.dumps({f"made_up_{k:02d}": k, "xp": 1}) for k in range(30)]
    log = event_log(*[{"day": 1} for _ in texts]).with_columns(p=pl.Series(texts))
    kept = numeric.commonest_numbers(
        log.lazy().with_columns(numeric.numbers(pl.col("p")))
    )
    assert kept["name"].to_list() == ["xp", *[f"made_up_{k:02d}" for k in range(19)]]
    (row,) = daily(texts, kept)["sums"].to_list()
    assert {pair["name"]: pair["total"] for pair in row}["xp"] == 30.0
    assert len(row) == numeric.MAX_NAMES


def test_sums_of_a_day_that_comes_in_two_files_add_up(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A late row of the same day is appended, and the totals of both batches add up to
    the day's.
    """
    settings = ingest(
        tmp_path, make_study, ("a", "d1", "2026-03-01T10:00:00Z", '{"xp": 2}')
    )
    late = {
        "user_id": ["a"],
        "time": ["2026-03-01T11:00:00Z"],
        "properties": ['{"xp": "5"}'],
        "event": ["play"],
    }
    pl.DataFrame(late).write_parquet(tmp_path / "late.parquet")
    events.ingest(settings, NOW, progress=False)
    assert total(open_filled(settings).scan("activity"), "xp") == 7.0


def test_sums_of_an_anonymous_user_arrive_after_the_log_in(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Points won before a log-in count for the user from the day of the log-in, once,
    under their own day.
    """
    rows = [
        (None, "d1", "2026-03-01", '{"xp": 4}'),
        ("a", "d1", "2026-03-03", '{"xp": 1}'),
    ]
    store = open_filled(ingest(tmp_path, make_study, *rows))
    assert sums(store, "anonymous") == [[{"name": "xp", "total": 4.0}]]
    assert sums(store) == [
        [{"name": "xp", "total": 4.0}],
        [{"name": "xp", "total": 1.0}],
    ]
    known = (
        store.scan("activity").sort("first_at").select("date", "known_date").collect()
    )
    assert [str(day) for day in known.row(0)] == ["2026-03-01", "2026-03-03"]


def test_erasing_somebody_leaves_the_sums_of_others(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """After one of two users is erased, the other's totals are unchanged."""
    settings = ingest(
        tmp_path,
        make_study,
        ("a", "d1", "2026-03-01", '{"xp": 4}'),
        ("b", "d2", "2026-03-02", '{"xp": 1}'),
    )
    forget.forget(settings, ["a"])
    assert sums(open_filled(settings)) == [[{"name": "xp", "total": 1.0}]]


def test_a_day_that_two_sources_report_is_summed_once() -> None:
    """If two sources report the same event of a day, the first one's total counts."""
    both = pl.concat(
        [daily(['{"xp": 4}'], source=source) for source in ("amplitude", "appsflyer")]
    )
    once = activity.counted_once(both.lazy(), ["appsflyer", "amplitude"])
    assert total(once, "xp") == 4.0


def without_sums(store: Store, *tables: str) -> None:
    """Make tables of a store anew without the column, as an earlier version had them."""
    for table in tables:
        rows = store.rows_of(table, range(store.n_buckets)).collect().drop("sums")
        shutil.rmtree(store.place.below(table))
        written = delta.write(store.place.below(table), rows, None, {}, is_new=True)
        store = store.pinned(table, written)
    store.commit()


def test_a_store_of_an_earlier_version_has_no_sums(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Files without the column are read as null beside new files that have it, and
    adoption copies the null.
    """
    rows = [
        (None, "d1", "2026-03-01", '{"xp": 4}'),
        ("b", "d2", "2026-03-02", '{"xp": 1}'),
    ]
    settings = ingest(tmp_path, make_study, *rows)
    without_sums(open_filled(settings), "activity", "anonymous")
    log_in = {
        "user_id": ["a"],
        "anonymous_id": ["d1"],
        "time": ["2026-03-03"],
        "event": ["play"],
    }
    pl.DataFrame(log_in | {"properties": ['{"xp": 2}']}).write_parquet(
        tmp_path / "new.parquet"
    )
    events.ingest(settings, NOW, progress=False)
    store = open_filled(settings)
    assert sums(store) == [None, None, [{"name": "xp", "total": 2.0}]]
    assert total(store.scan("activity"), "xp") == 2.0
    assert identity.people(store)["users"] == 2
