"""What an ingest shows a person: names with kinds, busy users, refused cells."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from churn import results
from churn.events import ingest, seen
from churn.explore import inventory
from churn.report import history_sentences as sentences
from churn.settings import Settings
from churn.store import open_filled

NOW = datetime(2026, 3, 20, tzinfo=UTC)
HEADER = "user_id,anonymous_id,event,time,revenue,kind\n"


def rows(*cells: tuple[str, ...]) -> str:
    """A table of user, device, event, time, revenue, kind; missing cells are empty."""
    lines = [",".join((*row, *[""] * (6 - len(row)))) for row in cells]
    return HEADER + "\n".join(lines) + "\n"


def crowd(n_users: int, n_events: int) -> list[tuple[str, ...]]:
    """Users with an event each, and a crawler with so many events of its own."""
    users = [(f"u{i}", "", "open", "2026-03-01") for i in range(n_users)]
    crawler = [
        ("crawler-7", "", "probe", f"2026-03-02 10:{i // 60:02}:{i % 60:02}")
        for i in range(n_events)
    ]
    return [*users, *crawler]


def test_the_summary_lists_names_with_kind_people_and_days(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Names come by people, and a device without a user counts as one of them. Another
    ingest tells of its new events alone, and nothing if there are none.
    """
    table = rows(
        ("a", "", "open", "2026-03-01"),
        ("b", "", "open", "2026-03-02"),
        ("", "d1", "open", "2026-03-02"),
        ("a", "", "Email Sent", "2026-03-01"),
        ("a", "", "Email Sent", "2026-03-02"),
        ("b", "", "Email Sent", "2026-03-03"),
        *[("b", "", "scroll", f"2026-03-0{day}") for day in range(1, 6)],
    )
    (tmp_path / "events.csv").write_text(table)
    (tmp_path / "more.csv").write_text(rows(("c", "", "open", "2026-03-05")))
    first = make_study()
    both = [{"source": "table", "path": p} for p in ("events.csv", "more.csv")]
    done = ingest.ingest(first, NOW, progress=False)
    assert done.seen.names.rows() == [
        ("open", "in_app", 3, 3, 2),
        ("email_sent", "message_sent", 3, 2, 3),
        ("scroll", "in_app", 5, 1, 5),
    ]
    lines = sentences.ingest(done)
    assert "  email_sent  message_sent       3       2     3" in lines
    later = ingest.ingest(make_study(extracts=both), NOW, progress=False)
    assert later.seen.names.rows() == [("open", "in_app", 1, 1, 1)]
    nothing = ingest.ingest(make_study(extracts=both), NOW, progress=False)
    assert nothing.seen == seen.NOTHING
    monkeypatch.setattr(seen, "N_NAMES", 1)
    (tmp_path / "more.csv").write_text(rows(("c", "", "shut", "2026-03-05")))
    replaced = ingest.ingest(make_study(extracts=both), NOW, progress=False)
    assert replaced.seen.is_whole
    assert replaced.seen.names["n_events"].to_list() == [3]


def test_a_user_with_an_outsized_share_is_told_of_without_an_id(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """The summary states count and share; the id is shown on demand only, and once the
    study calls it nobody, nothing is said any more.
    """
    (tmp_path / "events.csv").write_text(rows(*crowd(70, 30)))
    settings = make_study()
    done = ingest.ingest(settings, NOW, progress=False)
    text = "\n".join(sentences.ingest(done))
    assert "1 user has 30.0% of the new events (30), at least 30 times" in text
    assert "crawler-7" not in text
    held = results.Inventory(open_filled(settings))
    shown = held.outsized_users()
    assert shown["user"].str.contains(r"^user-[0-9a-f]{8}$").all()
    assert shown.drop("user").row(0) == pytest.approx((30, 0.3, 30.0, 1))
    assert held.outsized_users(with_ids=True)["user"].to_list() == ["crawler-7"]
    nobody = make_study(identity={"not_a_user": ["crawler-7"]})
    again = ingest.ingest(nobody, NOW, progress=False)
    assert again.seen.outsized.is_empty()
    assert inventory.outsized_users(open_filled(nobody)).is_empty()


@pytest.mark.parametrize(("n_users", "n_events"), [(70, 15), (15, 400), (3000, 25)])
def test_busy_people_are_not_outsized(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    n_users: int,
    n_events: int,
) -> None:
    """Neither fifteen times the others' mean, nor any share among few users, nor less
    than a hundredth of all events is called outsized.
    """
    (tmp_path / "events.csv").write_text(rows(*crowd(n_users, n_events)))
    done = ingest.ingest(make_study(), NOW, progress=False)
    assert done.seen.outsized.is_empty()


def test_quarantined_rows_are_shown_with_the_cell_that_was_refused(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Three rows of each reason, with file, row and cell: a time, an amount or a kind.
    What may name a person isn't shown, and of a long cell only its beginning.
    """
    table = rows(
        ("a", "", "open", "1 March"),
        ("a", "", "open", "a"),
        ("b", "", "open", "b@example.org"),
        ("c", "", "open", "never"),
        ("c", "", "open", "2026-03-01", "nineteen"),
        ("c", "", "open", "2026-03-01", "", "x" * 90),
        ("c", "", "open", "2099-03-01"),
        ("c", "", "", "2026-03-01"),
        ("1.5E+17", "", "open", "2026-03-01"),
        ("d", "", "open", "2026-03-01"),
    )
    (tmp_path / "events.csv").write_text(table)
    done = ingest.ingest(make_study(), NOW, progress=False)
    shown = done.examples.drop("source_file").rows()
    assert shown == [
        ("in_the_future", 7, "2099-03-01 00:00:00"),
        ("inexact_id", 9, None),
        ("no_event_name", 8, None),
        ("unknown_kind", 6, "x" * 40),
        ("unreadable_revenue", 5, "nineteen"),
        ("unreadable_time", 1, "1 March"),
        ("unreadable_time", 2, None),
        ("unreadable_time", 3, "[removed]"),
    ]
    line = '  quarantined unreadable_time: 4, such as row 1 of events.csv: "1 March"'
    assert line in sentences.ingest(done)
    held = results.Ingest(done, open_filled(make_study()), NOW.date())
    assert held.examples() is done.examples
