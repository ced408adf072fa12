"""GA4's tables as BigQuery exports them: folders, forms of a day, wrapped records."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn.events.sources import ga4_tables
from churn.settings import Extract
from churn.store import open_filled

from ..conftest import read
from .replaying import Life, same_as_fresh

EXTRACT = Extract(source="ga4", path="x")
PARAMETERS = [
    {"key": "value", "value": {"string_value": None, "int_value": 9990000}},
    {"key": 'odd {"key', "value": {"string_value": 'a "b" [c}', "int_value": None}},
    {"key": "currency", "value": {"string_value": "USD", "int_value": None}},
]
ROW = {
    "event_timestamp": 1772964845638000,
    "event_name": "in_app_purchase",
    "user_id": "u",
    "user_pseudo_id": "p",
    "event_params": PARAMETERS,
}


@pytest.mark.parametrize(
    "path",
    [
        "raw/events_20260308.parquet",
        "raw/events_20260308/000000000000.parquet",
        "raw/events_intraday_20260308/part/0.parquet",
        "raw/events_fresh_20260308-000.json",
        "events_20250101/backup/events_20260308/0.parquet",
    ],
)
def test_a_table_is_known_by_its_file_or_folder(path: str) -> None:
    """Its rows had arrived by the end of the day after; the nearest name counts."""
    assert ga4_tables.received_by(path) == datetime(2026, 3, 10, tzinfo=UTC)
    assert ga4_tables.received_by("raw/events.parquet") is None


def test_of_one_day_the_most_final_table_counts() -> None:
    """Fresh Daily gives way to the daily table, and intraday to both; other days and
    other folders stay.
    """
    intraday = "a/events_intraday_20260308/0.parquet"
    fresh = "a/events_fresh_20260308/x/0.parquet"
    daily = ["a/events_20260308/0.parquet", "a/events_20260308/1.parquet"]
    others = ["a/events_intraday_20260309/0.parquet", "b/events_20260308.json"]
    assert ga4_tables.superseded([intraday, *others]) == set()
    assert ga4_tables.superseded([intraday, fresh, *others]) == {intraday}
    everything = [intraday, fresh, *daily, *others]
    assert ga4_tables.superseded(everything) == {intraday, fresh}


def line(name: str, minute: int, **more: str) -> str:
    """One event of 8 March 2026."""
    at = 1_772_960_400_000_000 + minute * 60_000_000
    row = {"event_timestamp": str(at), "event_name": name, "user_pseudo_id": "d"}
    return json.dumps(row | {"user_id": "u1", "stream_id": "1"} | more) + "\n"


def names(life: Life) -> list[str]:
    """The event names of the log."""
    return sorted(life.store().scan("events").collect()["event"])


@pytest.mark.parametrize("keeps", [True, False])
def test_the_days_own_table_replaces_what_was_read_before(
    tmp_path: Path, keeps: bool
) -> None:
    """Rows that only the provisional tables have leave the log once the final one is
    there, whether the old files stay or are deleted, and nothing is reported as gone.
    """
    life = Life(tmp_path, source="ga4")
    provisional = {
        "events_intraday_20260308/0.json": line("a", 0) + line("b", 1),
        "events_fresh_20260308/0.json": line("a", 0) + line("c", 2),
    }
    for name, content in provisional.items():
        life.write(name, content)
        life.ingest()
    assert names(life) == ["a", "c"]
    if not keeps:
        for name in provisional:
            life.delete(name)
    life.write("events_20260308/0.json", line("a", 0) + line("d", 3))
    done = life.ingest()
    assert (names(life), done.n_removed, done.gone) == (["a", "d"], 1, [])
    again = life.ingest()
    assert (again.n_new_files, again.n_removed, names(life)) == (0, 0, ["a", "d"])


def test_a_final_table_equal_to_the_provisional_one_keeps_the_rows(
    tmp_path: Path,
) -> None:
    """It is read although its content is known, as the other file's rows go."""
    life = Life(tmp_path, source="ga4")
    life.write("events_intraday_20260308.json", line("a", 0))
    life.ingest()
    life.write("events_20260308.json", line("a", 0))
    done = life.ingest()
    assert (names(life), done.n_removed) == (["a"], 0)
    assert open_filled(life.settings).scan("files").collect().height == 1


def test_a_log_with_both_tables_of_a_day_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an earlier version read both, the provisional rows leave with the next file
    that arrives, and the final table has those that were duplicates.
    """
    life = Life(tmp_path, source="ga4")
    life.write("events_intraday_20260308.json", line("a", 0) + line("b", 1))
    life.write("events_20260308.json", line("a", 0) + line("d", 3))
    with monkeypatch.context() as earlier:
        earlier.setattr(ga4_tables, "superseded", lambda paths: set())
        life.ingest()
    assert names(life) == ["a", "b", "d"]
    life.write("events_20260309.json", line("e", 1440))
    life.ingest()
    assert names(life) == ["a", "d", "e"]
    same_as_fresh(life)


def wrap(value: object) -> object:
    """The parameters as BigQuery's Parquet export holds them."""
    return {"list": [{"element": item} for item in value]}  # type: ignore[attr-defined]


def tagged(parameter: dict) -> dict:
    """A parameter as Avro written as JSON has it, its values tagged by type."""
    types = {"string_value": "string", "int_value": "long"}
    values = {
        name: None if value is None else {types[name]: value}
        for name, value in parameter["value"].items()
    }
    return parameter | {"value": values}


FORMS = {
    "plain": PARAMETERS,
    "list and element": wrap(PARAMETERS),
    "element": [{"element": p} for p in PARAMETERS],
    "bag": {"bag": [{"array_element": p} for p in PARAMETERS]},
    "tagged": {"array": [tagged(p) for p in PARAMETERS]},
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("suffix", ["json", "parquet"])
def test_wrapped_parameters_are_the_same_events(
    tmp_path: Path, form: str, suffix: str
) -> None:
    """Ids, amounts, currency and properties are those of the plain export."""
    (tmp_path / "events_20260308.json").write_text(json.dumps(ROW) + "\n")
    plain = read(tmp_path / "events_20260308.json", EXTRACT)
    assert plain["revenue"].to_list() == [9.99]
    path = tmp_path / f"x_events_20260308.{suffix}"
    row = ROW | {"event_params": FORMS[form]}
    if suffix == "json":
        path.write_text(json.dumps(row, indent=None, separators=(", ", " : ")) + "\n")
    else:
        pl.DataFrame([row]).write_parquet(path)
    assert read(path, EXTRACT).equals(plain)


def test_a_row_without_parameters_is_read_in_a_wrapped_file(tmp_path: Path) -> None:
    """An empty list and a missing one are no fault."""
    rows = [ROW | {"event_params": wrap(p)} for p in (PARAMETERS, [])]
    rows.append({k: v for k, v in ROW.items() if k != "event_params"})
    (tmp_path / "events_20260308.json").write_text(
        "".join(json.dumps(row) + "\n" for row in rows) + "{broken\n"
    )
    got = read(tmp_path / "events_20260308.json", EXTRACT)
    assert got["fault"].to_list() == [None, None, None, "not_json"]
    assert got["revenue"].to_list() == [9.99, None, None, None]


@pytest.mark.parametrize(
    ("name", "value", "revenue"),
    [
        ("purchase", "19.90", 19.9),
        ("purchase", "$5", 5.0),
        ("purchase", "free", None),
        ("in_app_purchase", "9990000", None),
        ("view_item", "19.90", None),
    ],
)
def test_a_value_that_a_tag_sends_as_text_is_an_amount(
    tmp_path: Path, name: str, value: str, revenue: float | None
) -> None:
    """If it is a number, and the event a purchase of a website's tag."""
    parameter = {"key": "value", "value": {"string_value": value}}
    row = ROW | {"event_name": name, "event_params": [parameter]}
    (tmp_path / "events_20260308.json").write_text(json.dumps(row) + "\n")
    got = read(tmp_path / "events_20260308.json", EXTRACT)
    assert (got["revenue"].to_list(), got["fault"].to_list()) == ([revenue], [None])
