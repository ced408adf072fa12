"""Old files are removed, and whatever a reader may need meanwhile stays."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn.errors import StoreError
from churn.events import ingest
from churn.settings import Settings
from churn.store import Store, cleaning, compaction, delta, open_filled
from churn.store.layout import TABLES
from churn.store.locks import Held
from churn.store.tables import Store as Tables

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Lost(Held):
    """A lock that another process has taken over."""

    def check(self) -> None:
        """Refuse."""
        raise StoreError("the lock was taken over")


def night(folder: Path, number: int) -> None:
    """The extract file of one night: three users, one event each."""
    day = f"2026-03-{number + 1:02d}"
    rows = [f"u{i},d{i},open,{day}T0{i}:00:00" for i in range(3)]
    text = "user_id,anonymous_id,event,time\n" + "\n".join(rows)
    (folder / f"{number}.csv").write_text(text)


def ingested(settings: Settings, folder: Path, number: int) -> None:
    """Ingest one more night, long after the nights before."""
    old = time.time() - 86_400
    for file in folder.glob("data/store/*/_delta_log/*"):
        os.utime(file, (old, old))
    night(folder, number)
    ingest.ingest(settings, NOW, progress=False)


@pytest.fixture
def nights(
    tmp_path: Path, make_study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """A study of three nights, and compaction due from then on every night."""
    settings = make_study(extracts=[{"source": "table", "path": "*.csv"}])
    for number in range(3):
        ingested(settings, tmp_path, number)
    monkeypatch.setattr(compaction, "COMMITS", 1)
    monkeypatch.setattr(compaction, "FILES", 0)
    return settings


def rows(store: Store) -> dict[str, int]:
    """Number of rows by table."""
    return {t: store.scan(t).select(pl.len()).collect().item() for t in TABLES}


def test_a_reader_outlives_one_night(nights: Settings, tmp_path: Path) -> None:
    """It reads what was visible when it opened the store, also tables that it opens only
    after the night and its compaction. After the next night it is told to open again.
    """
    reader, expected = open_filled(nights), rows(open_filled(nights))
    ingested(nights, tmp_path, 3)
    assert rows(reader) == expected
    assert rows(open_filled(nights))["events"] == 12
    late = open_filled(nights)
    for number in (4, 5):
        ingested(nights, tmp_path, number)
    for store in (reader, late):
        with pytest.raises(
            StoreError, match=r"^.* has changed since .*: open it again$"
        ):
            rows(store)


def test_dying_after_compaction_loses_nothing(
    nights: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the commit all that was visible stays, old logs too, and the next ingest
    brings the same as if nothing had happened.
    """

    def killed(_: Store) -> Store:
        raise KeyboardInterrupt

    expected = rows(open_filled(nights))
    with monkeypatch.context() as patched:
        patched.setattr(Tables, "commit", killed)
        with contextlib.suppress(KeyboardInterrupt):
            ingested(nights, tmp_path, 3)
    assert rows(open_filled(nights)) == expected
    ingest.ingest(nights, NOW, progress=False)
    assert rows(open_filled(nights))["events"] == 12


def test_files_stay_few(nights: Settings, tmp_path: Path) -> None:
    """With a compaction every night neither the log nor any bucket grows, and what a
    killed process left is removed.
    """
    folder = tmp_path / "data/store/events"
    folder.joinpath("bucket=1").mkdir(exist_ok=True)
    left = folder / "bucket=1/part.parquet#1", folder / "_delta_log/_commit_1.json.tmp"
    for file in left:
        file.write_bytes(b"half")
    for number in range(3, 12):
        ingested(nights, tmp_path, number)
        files = [file for file in folder.rglob("*") if file.is_file()]
        n_files = Counter(file.parent.name for file in files)
        assert n_files.pop("_delta_log") <= 12
        assert max(n_files.values()) <= 6
    assert not any(file.exists() for file in left)


def test_a_process_without_its_lock_removes_nothing(
    nights: Settings, tmp_path: Path
) -> None:
    """Neither data files nor log entries."""
    stale = open_filled(nights)
    ingested(nights, tmp_path, 3)
    before = open_filled(nights).place.names()
    lost = stale.__class__(**{**vars(stale), "lock": Lost()})
    with pytest.raises(StoreError, match="taken over"):
        cleaning.vacuum(lost)
    with pytest.raises(StoreError, match="taken over"):
        lost.commit()
    assert open_filled(nights).place.names() == before


def test_a_damaged_checkpoint_note_is_written_anew(
    nights: Settings, tmp_path: Path
) -> None:
    """The note only saves a listing."""
    ingested(nights, tmp_path, 3)
    note = tmp_path / "data/store/events/_delta_log/_last_checkpoint"
    note.write_bytes(b"{")
    ingested(nights, tmp_path, 4)
    assert rows(open_filled(nights))["events"] == 15
    assert note.read_bytes() != b"{"


def test_the_newest_checkpoint_is_a_visible_version(
    nights: Settings, tmp_path: Path
) -> None:
    """A checkpoint stands for what was visible before the night that wrote it."""
    before = open_filled(nights).versions["events"]
    ingested(nights, tmp_path, 3)
    store = open_filled(nights)
    assert cleaning.summed_up(store, "events") == before
    address = store.place.below("events")
    assert delta.opened(address, before, {}).version() == before
