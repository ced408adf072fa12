"""A store that has lived, beside one made at once from what then lies in raw.

``Life`` is a folder of extract files over some time. ``same_as_fresh`` is the law that
replacing must keep: whatever happened to files and settings, the store holds what a
fresh ingest of the present files under the present settings would bring.
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from churn import forget
from churn.errors import StoreError
from churn.events import ingest
from churn.events.erasure import is_forgotten
from churn.settings import Settings, parse
from churn.store import Place, Store, create_or_open, for_writing
from churn.store.inputs import bound

NOW = datetime(2026, 3, 20, tzinfo=UTC)
ACTIVITY_KEY = ("source", "date", "event", "kind", "known_date")


class Life:
    """Extract files, settings and a store that go through changes.

    Files in ``raw`` that are deleted count as they were last read.
    """

    def __init__(
        self,
        folder: Path,
        **parts: Any,
    ) -> None:
        self.folder = folder
        self.raw = folder / "raw"
        self.raw.mkdir(parents=True)
        self.extract: dict[str, Any] = {"source": "table", "path": "raw"}
        self.parts: dict[str, Any] = {}
        self.kept: dict[Path, bytes] = {}
        self.read: dict[Path, bytes] = {}
        self.clock = 1_700_000_000
        self.has_erased = False
        self.change(**parts)
        self.begin()

    @property
    def settings(self) -> Settings:
        """The study's settings at present."""
        extracts = self.parts.get("extracts", [self.extract])
        return parse({**self.parts, "extracts": extracts}, self.folder)

    def change(self, **parts: Any) -> None:
        """Set keys of the extract, or tables of the study; None removes a key."""
        tables = {"extracts", "identity", "privacy", "braze"}
        for name, value in parts.items():
            place = self.parts if name in tables else self.extract
            place.pop(name, None)
            if value is not None:
                place[name] = value

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of raw, with a later time of change than any before."""
        path = self.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.touch(name)
        return path

    def touch(self, name: str) -> None:
        """Give a file another time of change."""
        self.clock += 1
        os.utime(self.raw / name, (self.clock, self.clock))

    def rename(self, old: str, new: str) -> None:
        """Rename a file of raw; its time of change stays."""
        (self.raw / old).rename(self.raw / new)

    def copy(self, old: str, new: str) -> None:
        """Copy a file of raw byte by byte."""
        self.write(new, (self.raw / old).read_bytes())

    def delete(self, name: str) -> None:
        """Delete a file of raw."""
        (self.raw / name).unlink()

    def present(self) -> dict[Path, bytes]:
        """The files of raw with their content."""
        files = sorted(path for path in self.raw.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in files}

    def has(self, name: str) -> bool:
        """Whether raw has such a file."""
        return (self.raw / name).exists()

    def is_as_read(self, name: str) -> bool:
        """Whether a file is what it was at the last ingest."""
        path = self.raw / name
        return self.read.get(path) == path.read_bytes()

    def ingest(self) -> ingest.Ingest:
        """Ingest under the present settings."""
        done = ingest.ingest(self.settings, NOW, progress=False)
        now = self.present()
        before = {**self.kept, **self.read}
        changed = {before[p] for p in now if p in before and before[p] != now[p]}
        gone = {path: content for path, content in before.items() if path not in now}
        # A deleted file whose copy has changed since had only been renamed.
        self.kept = {
            p: content for p, content in gone.items() if content not in changed
        }
        self.read = now
        return done

    def ingest_or_bring_back(self) -> None:
        """Ingest; if a deleted file is needed for that, bring it back first."""
        try:
            self.ingest()
        except StoreError:
            for path, content in {**self.kept, **self.read}.items():
                if not path.exists():
                    self.write(path.name, content)
            self.ingest()

    def forget(self, who: str) -> None:
        """Erase a person."""
        forget.forget(self.settings, [who])
        self.has_erased = True

    def store(self) -> Store:
        """The store as readers see it."""
        return create_or_open(self.settings)

    def fresh(self) -> dict[str, Any]:
        """What a store holds that is made now from all files, with the same salt."""
        lived = self.open_as_is()
        erased = lived.scan("tombstones").collect()
        # An erased user's edges come from no file any more.
        shared = lived.scan("edges").filter(is_forgotten()).collect()
        away = self.settings.store_path.with_name("lived")
        self.settings.store_path.rename(away)
        brought_back = [path for path in self.kept if not path.exists()]
        try:
            for path in brought_back:
                path.write_bytes(self.kept[path])
            self.begin(erased, shared)
            ingest.ingest(self.settings, NOW, progress=False)
            return content(self.store(), self.has_erased)
        finally:
            for path in brought_back:
                path.unlink()
            shutil.rmtree(self.settings.store_path, ignore_errors=True)
            away.rename(self.settings.store_path)

    def begin(self, *frames: pl.DataFrame) -> None:
        """An empty store of few buckets; ``frames`` are tombstones and edges."""
        settings = self.settings
        store = Store(
            Place(settings.store_address),
            settings,
            bound(settings),
            salt="salt",
            n_buckets=2,
        )
        for table, rows in zip(("tombstones", "edges"), frames, strict=False):
            store = store.append(table, rows)
        store.commit()

    def open_as_is(self) -> Store:
        """The store even if its files were read under other settings."""
        return for_writing(self.settings)


def same_as_fresh(life: Life) -> None:
    """Assert that the store holds what a fresh ingest of the same files would bring."""
    lived, fresh = content(life.store(), life.has_erased), life.fresh()
    for name, expected in fresh.items():
        assert lived[name] == expected, name


def content(store: Store, has_erased: bool = False) -> dict[str, Any]:
    """What a store says, whatever the files and the steps by which it came there."""
    tables: dict[str, Any] = {
        "events": _sorted(_events(store)),
        "edges": _sorted(_edges(store)),
        "merges": _sorted(store.scan("merges").collect().unique()),
        "quarantine": _sorted(_quarantine(store)),
    }
    for name in ("activity", "adopted_activity"):
        tables[name] = _activity(_own(store, name), ["user_id"])
    tables["anonymous"] = _activity(_own(store, "anonymous"), ["ids", "platform"])
    for name in ("users", "adopted_users"):
        tables[name] = _firsts(_own(store, name))
    if not has_erased:
        # An erasure leaves the counts of events as they were, and coverage with them.
        tables["covered_until"] = store.covered_until
        tables["first_date"] = store.first_date
        for name in ("volume", "tally"):
            tables[name] = _sorted(_counts(_own(store, name)))
        files = store.scan("files").collect()
        tables["rows"] = int(files["rows"].sum())
        tables["kept"] = int(files["kept"].sum())
        tables["kept of the log"] = tables["kept"] - len(tables["events"])
    return tables


def _own(store: Store, table: str) -> pl.DataFrame:
    return store.scan(table, adopted=False).collect()


def _sorted(rows: pl.DataFrame) -> list[str]:
    return sorted(map(repr, rows.iter_rows()))


def _events(store: Store) -> pl.DataFrame:
    """The log without the files' names; ids made of content without that of the file."""
    event_id = pl.col("event_id").str.split("@").list.first()
    events = store.scan("events").with_columns(event_id).collect()
    return events.drop("file_id", "source_file", "source_row")


def _edges(store: Store) -> pl.DataFrame:
    key = ("source", "id", "user_id")
    edges = store.scan("edges").collect()
    return edges.group_by(key).agg(pl.col("learned_at").min())


def _quarantine(store: Store) -> pl.DataFrame:
    """Faulty rows, but without those of erased people, which are kept nowhere else."""
    rows = store.scan("quarantine").filter(pl.col("reason") != "forgotten").collect()
    return rows.select("source", "source_row", "reason", "subjects")


def _activity(rows: pl.DataFrame, person: list[str]) -> list[str]:
    key = [*person, *ACTIVITY_KEY]
    daily = rows.group_by(key).agg(
        pl.col("n", "n_other_currency").sum(),
        pl.col("revenue").sum().round(6),
        pl.col("first_at").min(),
        pl.col("last_at").max(),
    )
    each = rows.select(*key, "sums").explode("sums").drop_nulls("sums").unnest("sums")
    sums = each.group_by(*key, "name").agg(pl.col("total").sum().round(6))
    return [*_sorted(daily), *_sorted(sums)]


def _firsts(users: pl.DataFrame) -> list[str]:
    """Of each user the days on which the first event as known became an earlier one."""
    told = []
    key = ("user_id", "source", "platform")
    for names, rows in users.sort("known_date", "first_at").group_by(key):
        earliest = None
        for known, first in rows.select("known_date", "first_at").iter_rows():
            if earliest is None or first < earliest:
                earliest = first
                told.append(repr((names, known, first)))
    return sorted(told)


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    counts = [name for name in rows.columns if name.startswith("n")]
    key = [name for name in rows.columns if name not in counts]
    summed = rows.group_by(key).agg(pl.col(counts).sum())
    return summed.filter(pl.col("n") > 0).select(sorted(rows.columns))
