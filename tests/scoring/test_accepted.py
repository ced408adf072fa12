"""An accepted day is remembered: exactly that day of that gate, and nothing later."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from churn import cli
from churn.errors import GateError, StoreError
from churn.scoring import gates
from churn.scoring.accepted import Accepted, read, remember, revoke
from churn.scoring.gate import Case, check_gates
from churn.settings import parse
from churn.store import Place
from churn.store.schemas import Files, Tally, Volume
from churn.store.score_schemas import Findings

CUTOFF = date(2026, 3, 2)
HOLIDAY = date(2026, 2, 20)
STUDY = parse({"extracts": [{"source": "table", "path": "shop"}]}, Path())


def volume(
    on: dict[date, int], extract: str = "shop", cutoff: date = CUTOFF
) -> pl.DataFrame:
    """A thousand events a day before the cutoff, with other numbers on some days."""
    days = [cutoff - timedelta(days=k) for k in range(90, 0, -1)]
    rows = [
        (extract, "", day, None, "open", "in_app", on.get(day, 1000), 0) for day in days
    ]
    return pl.DataFrame(rows, schema=Volume.create_empty().schema, orient="row")


def night(
    place: Place,
    log: pl.DataFrame,
    accept: list[str] | None = None,
    cutoff: date = CUTOFF,
    why: str = "",
) -> dict[str, Any]:
    """What a night says of missing days, once failed gates are accepted or remembered.

    Raises GateError, as a night does.
    """
    tables = (log, Tally.create_empty(), Files.create_empty())
    found = gates.data(*tables, STUDY, cutoff, read(place))
    findings = pl.DataFrame(found).select(Findings.column_names())
    check_gates(findings, accept or [])
    kept = remember(place, Findings.validate(findings), why)
    return kept.filter(gate="missing_day").row(0, named=True)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store in which the holiday was accepted yesterday, by its day."""
    there = Place(str(tmp_path))
    accept = [f"missing_day:{HOLIDAY}"]
    told = night(there, volume({HOLIDAY: 50}), accept, why="bank holiday")
    assert told["passed"]
    assert "(bank holiday)" in told["sentence"]
    return there


def test_a_holiday_accepted_once_stops_no_later_night(place: Place) -> None:
    """The finding passes and says by whom, when and why it was accepted."""
    (entry,) = read(place)
    later = CUTOFF + timedelta(days=7)
    told = night(place, volume({HOLIDAY: 50}, cutoff=later), cutoff=later)
    assert told["passed"]
    assert f"accepted: shop, {HOLIDAY} by {entry.who} on" in told["sentence"]
    assert "(bank holiday)" in told["sentence"]
    assert (entry.gate, entry.day, entry.where) == ("missing_day", "2026-02-20", "shop")


def test_another_day_is_another_fault(place: Place) -> None:
    """A week later a day goes missing: only that one is named as failing."""
    lost = CUTOFF + timedelta(days=5)
    later = CUTOFF + timedelta(days=7)
    log = volume({HOLIDAY: 50, lost: 0}, cutoff=later)
    with pytest.raises(GateError, match=rf"shop, {lost}: 0 events") as stopped:
        night(place, log, cutoff=later)
    assert f"shop, {HOLIDAY}: 50 events" not in str(stopped.value)


def test_the_same_day_in_another_extract_is_another_fault(place: Place) -> None:
    """A second extract lacks the holiday too, but nobody has looked at it."""
    app = volume({HOLIDAY: 0}, "app")
    with pytest.raises(GateError, match=rf"app, {HOLIDAY}: 0 events"):
        night(place, pl.concat([volume({HOLIDAY: 50}), app]))


def test_the_same_day_in_another_gate_is_another_fault(place: Place) -> None:
    """It was too quiet when it was accepted; now its file has been delivered thrice."""
    with pytest.raises(GateError, match=rf"excess_day: shop, {HOLIDAY}"):
        night(place, volume({HOLIDAY: 3000}))


def test_a_day_that_has_become_worse_is_asked_for_again(tmp_path: Path) -> None:
    """Half of the usual was accepted; then the day's file was replaced by an empty one.

    A few late rows more change nothing.
    """
    place = Place(str(tmp_path))
    night(place, volume({HOLIDAY: 500}), ["missing_day"])
    assert night(place, volume({HOLIDAY: 540}))["passed"]
    with pytest.raises(GateError, match="0 events, 0% of the usual"):
        night(place, volume({HOLIDAY: 0}))


def test_accepting_a_whole_gate_remembers_the_days_it_named(tmp_path: Path) -> None:
    """And no others."""
    place = Place(str(tmp_path))
    night(place, volume({HOLIDAY: 0, date(2026, 2, 23): 0}), ["missing_day"])
    assert [entry.day for entry in read(place)] == ["2026-02-20", "2026-02-23"]
    with pytest.raises(GateError, match="2026-02-25"):
        night(place, volume({HOLIDAY: 0, date(2026, 2, 25): 0}))


def test_only_single_days_of_the_log_are_remembered(tmp_path: Path) -> None:
    """Old data must be accepted anew every night."""
    place = Place(str(tmp_path))
    cases = json.dumps([["shop", "2026-02-20", "39 days old", 0.0]])
    finding = (CUTOFF, "stale_data", False, "2026-02-20", "", "", "old", cases)
    findings = pl.DataFrame(
        [finding], schema=Findings.create_empty().schema, orient="row"
    )
    assert not remember(place, findings, "")["passed"][0]
    assert read(place) == []


def test_what_was_accepted_is_listed_and_can_be_taken_back(
    place: Place, tmp_path: Path
) -> None:
    """`churn accepted` shows who, when and why; afterwards the day fails again."""
    file = tmp_path / "churn.toml"
    file.write_text('store = "."\n[[extracts]]\nsource = "table"\npath = "shop"\n')
    listed = CliRunner().invoke(cli.app, ["accepted", "--study", str(file)]).output
    assert "missing_day" in listed
    assert "bank holiday" in listed
    assert revoke(place, "missing_day:2026-02-21") == 0
    command = ["accepted", "--study", str(file), "--revoke", f"missing_day:{HOLIDAY}"]
    assert "1 accepted case(s)" in CliRunner().invoke(cli.app, command).output
    with pytest.raises(GateError, match="50 events"):
        night(place, volume({HOLIDAY: 50}))


def test_days_before_the_judged_ones_are_not_read(place: Place) -> None:
    """A store keeps what was accepted for years; a night reads the last weeks."""
    assert len(read(place, HOLIDAY)) == 1
    assert read(place, HOLIDAY + timedelta(days=1)) == []


def test_a_damaged_file_is_named(place: Place) -> None:
    """With what to do."""
    (name,) = place.names("accepted")
    place.write(name, b"{")
    with pytest.raises(StoreError, match="accept the day again"):
        read(place)


def test_an_accept_covers_the_same_case_alone() -> None:
    """Gate, day and place must all agree."""
    entry = Accepted("missing_day", "2026-02-20", "shop", 0.5, "ana", "2026-02-21", "")
    case = Case("shop", "2026-02-20", "few", 0.55)
    assert entry.covers("missing_day", case)
    assert not entry.covers("excess_day", case)
    assert not entry.covers("missing_day", case._replace(where="shops"))
    assert not entry.covers("missing_day", case._replace(days="2026-02-21"))
    assert not entry.covers("missing_day", case._replace(off=0.7))


def test_a_day_of_the_whole_extract_covers_its_platforms() -> None:
    """Which of both is named may change from night to night. A platform that is gone
    altogether is another fault, and so is the whole extract where a platform was
    accepted.
    """
    entry = Accepted("missing_day", "2026-02-20", "shop", 0.5, "ana", "2026-02-21", "")
    case = Case("shop ios", "2026-02-20", "few", 0.55)
    assert entry.covers("missing_day", case)
    assert not entry.covers("missing_day", case._replace(off=1.0))
    assert not replace(entry, where="shop ios").covers(
        "missing_day", case._replace(where="shop")
    )


def test_what_is_usual_may_shift_by_a_tenth() -> None:
    """Eight times the usual may become 8.7 times, not twice as much."""
    entry = Accepted("excess_day", "2026-02-20", "shop", 8.0, "ana", "2026-02-21", "")
    case = Case("shop", "2026-02-20", "many", 8.7)
    assert entry.covers("excess_day", case)
    assert not entry.covers("excess_day", case._replace(off=16.0))
