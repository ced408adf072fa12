"""Kinds that the study gives to events by name."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn.errors import InputError
from churn.events import ingest
from churn.report import history_sentences as sentences
from churn.settings import Extract, Settings, parse
from churn.store import open_filled

from ..conftest import read

NOW = datetime(2026, 3, 20, tzinfo=UTC)
ROWS = (
    "user_id,event,time\n"
    "a,[Appboy] Email  Delivered,2026-03-01\n"
    "a,open,2026-03-01\n"
    "a,open,2026-03-02\n"
)


@pytest.mark.parametrize(
    "name", ["[Appboy] Email  Delivered", "[appboy]_email_delivered"]
)
def test_an_event_is_named_as_the_vendor_or_the_log_writes_it(
    tmp_path: Path, name: str
) -> None:
    """Both spellings of a name under ``kinds`` give the event its kind."""
    (tmp_path / "events.csv").write_text(ROWS)
    extract = Extract(source="table", path="x", kinds={name: "purchase"})
    got = read(tmp_path / "events.csv", extract)
    assert got["event_kind"].to_list() == ["purchase", "in_app", "in_app"]


def test_two_spellings_of_a_name_need_one_kind(tmp_path: Path) -> None:
    """Two spellings of one name with different kinds are refused; with one kind, not."""
    (tmp_path / "events.csv").write_text(ROWS)
    twice = {"Open": "other", "open": "other"}
    got = read(tmp_path / "events.csv", Extract(source="table", path="x", kinds=twice))
    assert got["event_kind"].to_list() == ["message_sent", "other", "other"]
    different = Extract(
        source="table", path="x", kinds={"Open": "other", "open": "purchase"}
    )
    with pytest.raises(InputError, match="kinds gives open the kinds other and purch"):
        read(tmp_path / "events.csv", different)


def test_a_name_that_no_event_has_is_in_the_summary(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A misspelt name under ``kinds`` is listed as written, beside the commonest names
    of its extract, in every ingest. A name that an event has is not listed.
    """
    (tmp_path / "events.csv").write_text(ROWS)
    (tmp_path / "other.csv").write_text("user_id,event,time\nb,Closed,2026-03-01\n")
    kinds = {"OPEN": "other", "Closed": "other"}
    extracts = [
        {"source": "table", "path": "events.csv", "kinds": kinds},
        {"source": "table", "path": "other.csv"},
    ]
    settings = make_study(extracts=extracts)
    for _ in range(2):
        done = ingest.ingest(settings, NOW, progress=False)
        assert done.warnings == [
            "extract events.csv: kinds names Closed, but no event has such a name; the "
            "commonest are open, [appboy]_email_delivered"
        ]
        assert done.warnings[0] in sentences.ingest(done)
    events = open_filled(settings).scan("events").collect()
    assert set(events.filter(pl.col("event") == "open")["event_kind"]) == {"other"}


def test_an_extract_without_events_gives_no_warning(tmp_path: Path) -> None:
    """Before an extract has any event in the log, no name is listed as unknown."""
    (tmp_path / "events.csv").write_text("user_id,event,time\n")
    extract = {"source": "table", "path": "events.csv", "kinds": {"shut": "other"}}
    settings = parse({"extracts": [extract]}, tmp_path)
    assert ingest.ingest(settings, NOW, progress=False).warnings == []
