"""Several processes ingest what one process does."""

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from distributed import Client
from polars.testing import assert_frame_equal

from churn.errors import InputError, StoreError
from churn.events import erasure, ingest, staging
from churn.settings import Cluster, Settings, parse
from churn.store import Store, compaction, data_files, grouped, open_filled, opening
from churn.store.layout import TABLES

from ..conftest import at
from ..exports import Row, currents, table
from ..object_server import Server

NOW = datetime(2026, 3, 25, tzinfo=UTC)
STEPS = ["reading", "storing", "users"]
KILLED = [
    *(("local", step) for step in STEPS),
    ("dask", "storing"),
    ("spark", "storing"),
]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the tests' small files are divided into many groups."""
    monkeypatch.setattr(grouped, "MIN_ROWS", 100)
    monkeypatch.setattr(staging, "MIN_BYTES", 1)


def study(folder: Path, store: str, **parts: Any) -> Settings:
    """A study over a table, Currents and a CSV with faulty rows, with a store of its own."""
    extracts = [
        {"source": "table", "path": "table"},
        {"source": "currents", "path": "currents"},
        {
            "source": "table",
            "path": "rows/*.csv",
            "columns": {"event_id": "id"},
        },
    ]
    return parse({"extracts": extracts, "store": store, **parts}, folder)


def night(folder: Path, number: int) -> None:
    """The files of a night: one is delivered twice, and each CSV has two faulty rows."""
    for name in ("table", "currents", "rows"):
        (folder / name).mkdir(exist_ok=True)
    first = 20 * number
    for part in range(3):
        rows = [
            Row(
                device=f"d{i % 23}",
                day=first + i / 30 + part / 7,
                received=first + 12,
                user=f"u{i % 23 // 2}" if i % 3 == 0 else None,
                name=("open", "buy", "search")[i % 3],
            )
            for i in range(part, 300, 3)
        ]
        tag = f"night{number}-{part}"
        table(folder / "table", rows, tag)
        currents(folder / "currents", rows, tag)
        lines = [f"e{number}-{i % 40},u{i % 11},open,{at(first)}" for i in range(60)]
        lines += ["bad,u1,open,yesterday", ",u1,,2026-01-02"]
        text = "\n".join(["id,user_id,event,time", f"only-{tag},u1,open,{at(first)}"])
        (folder / f"rows/{tag}.csv").write_text("\n".join([text, *lines, ""]))
    copied = folder / f"rows/night{number}-0.csv"
    shutil.copy(copied, copied.with_name(f"zcopy{number}.csv"))


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two nights' files, and a store ``base`` that holds the first.

    It has eight buckets, as more make more files without showing more.
    """
    night(tmp_path, 0)
    monkeypatch.setattr(opening, "Store", partial(Store, n_buckets=8))
    ingest.ingest(study(tmp_path, "base"), NOW, progress=False)
    night(tmp_path, 1)
    return tmp_path


def tables(settings: Settings) -> dict[str, pl.DataFrame]:
    """Every table of a store, reduced to the rows that say something, and sorted.

    The time at which files were ingested is left out.
    """
    store = open_filled(settings)
    found = {}
    for name in TABLES:
        rows = compaction.reduced(store.scan(name), name)
        rows = rows.drop("ingested_at", strict=False).sort(pl.struct(pl.all()))
        found[name] = rows.collect()
    return found


def copied(folder: Path, name: str) -> Settings:
    """A study whose store is a copy of the one that holds the first night."""
    shutil.copytree(folder / "base", folder / name)
    return study(folder, name)


def on(settings: Settings, cluster: Cluster) -> Settings:
    """The same study on these processes."""
    return settings.model_copy(update={"cluster": cluster})


def assert_same(
    folder: Path,
    settings: Settings,
    done: ingest.Ingest,
) -> None:
    """The same tables, counts and quarantine as one process makes of the base."""
    alone = copied(folder, "alone")
    expected = ingest.ingest(alone, NOW, progress=False)
    assert done.totals == expected.totals
    assert min(expected.totals.values()) > 0
    assert done.n_added == expected.n_added
    assert_frame_equal(done.reasons, expected.reasons)
    assert_frame_equal(done.seen.names, expected.seen.names)
    found = tables(settings)
    for name, rows in tables(alone).items():
        assert_frame_equal(found[name], rows, rel_tol=1e-9, abs_tol=0)
    assert found["adopted_activity"].height > 0


def left_over(settings: Settings) -> list[str]:
    """Names of staged files."""
    names = [path.name for path in settings.store_path.rglob("*")]
    return [n for n in names if "staging" in n or n.startswith("bucket=-")]


def test_the_log_is_the_same(nights: Path, cluster: Cluster) -> None:
    """Same tables, counts and quarantine, and nothing of what was staged is left."""
    settings = on(copied(nights, "spread"), cluster)
    done = ingest.ingest(settings, NOW, progress=False)
    assert_same(nights, settings, done)
    assert not left_over(settings)


def uploaded(nights: Path, server: Server) -> Settings:
    """A study whose store holds the first night in an object store."""
    for file in (nights / "base").rglob("*"):
        if file.is_file() and not file.name.endswith(".lock"):
            name = file.relative_to(nights / "base").as_posix()
            server.put(f"store/{name}", file.read_bytes())
    return study(nights, "s3://exports/store")


def test_the_store_may_be_an_object_store(
    nights: Path, server: Server, dask: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staged rows and data files pass through it, and only data files stay."""
    monkeypatch.setattr(grouped, "GROUPS_EACH", 1)
    with Client(dask.address) as client:
        client.run(os.environ.update, server.environment)
    settings = on(uploaded(nights, server), dask)
    done = ingest.ingest(settings, NOW, progress=False)
    assert_same(nights, settings, done)
    assert not open_filled(settings).place.names("staging")


def test_a_worker_without_credentials_is_a_sentence(
    nights: Path, server: Server, dask: Cluster
) -> None:
    """It says which address the worker could not reach."""
    with Client(dask.address) as client:
        # Workers that have reached a store keep what they reached it by.
        client.restart()
        client.run(_forget, list(server.environment))
    settings = on(uploaded(nights, server), dask)
    with pytest.raises(StoreError, match="s3://exports/store"):
        ingest.ingest(settings, NOW, progress=False)


def _forget(names: Sequence[str]) -> None:
    for name in names:
        os.environ.pop(name, None)


@pytest.mark.parametrize(("cluster", "step"), KILLED, indirect=["cluster"])
def test_a_process_that_is_killed_changes_nothing(
    nights: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster, step: str
) -> None:
    """Killed after it has written its rows: its work is done again and counts once."""
    killed = nights / "killed"
    map_buckets = grouped.map_buckets

    def dying(
        work: Callable[[Any], Any],
        groups: Sequence[Any],
        cluster: Cluster,
        what: str,
    ) -> list[Any]:
        def once(group: Any) -> Any:
            result = work(group)
            if not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return map_buckets(once if what == step else work, groups, cluster, what)

    monkeypatch.setattr(grouped, "map_buckets", dying)
    settings = on(copied(nights, "spread"), cluster)
    done = ingest.ingest(settings, NOW, progress=False)
    assert killed.exists()
    assert_same(nights, settings, done)
    assert not left_over(settings)


def test_a_changed_setting_is_applied(nights: Path) -> None:
    """Files are read again, their events replaced, and all other tables made anew."""
    spread, alone = copied(nights, "spread"), copied(nights, "alone")
    found = []
    for settings in (on(spread, Cluster(processes=2)), alone):
        ingest.ingest(settings, NOW, progress=False)
        extracts = [
            extract.model_copy(update={"kinds": {"search": "purchase"}})
            for extract in settings.extracts
        ]
        changed = settings.model_copy(update={"extracts": extracts})
        done = ingest.ingest(changed, NOW, progress=False)
        assert done.n_replaced > 0
        found.append(tables(changed))
    for name, rows in found[1].items():
        assert_frame_equal(found[0][name], rows, rel_tol=1e-9, abs_tol=0)


def test_a_file_that_can_not_be_read_is_named(nights: Path) -> None:
    """The error is that of one process, and the store is as before."""
    (nights / "table/broken.parquet").write_bytes(b"PAR1 and no more")
    settings = on(copied(nights, "spread"), Cluster(processes=2))
    os.utime(nights / "table/broken.parquet", (0, 0))
    before = tables(settings)
    with pytest.raises(InputError, match=r"broken\.parquet"):
        ingest.ingest(settings, NOW, progress=False)
    assert_frame_equal(tables(settings)["events"], before["events"])
    assert not left_over(settings)


def test_staged_rows_of_a_dead_ingest_are_removed(nights: Path) -> None:
    """They hold people's data, so the next ingest or erasure removes them at once."""
    settings = copied(nights, "spread")
    place = open_filled(settings).place
    place.write("staging/abc/bucket=1/0.parquet", b"rows")
    ingest.ingest(settings, NOW, progress=False)
    assert not left_over(settings)


def test_an_erasure_removes_data_files_that_no_table_has(nights: Path) -> None:
    """A process that died may have written them, with rows of the person erased."""
    store = open_filled(copied(nights, "spread"))
    rows = store.rows_of("events", [0]).collect()
    (lost,) = data_files.written(store, "events", rows)
    assert f"events/{lost.path}" in store.place.names("events")
    erasure.erase(store)
    assert f"events/{lost.path}" not in store.place.names("events")


def test_a_writer_meanwhile_is_noticed(
    nights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data files are added to the version that was read, or not at all."""
    settings = on(copied(nights, "spread"), Cluster(processes=2))
    other = open_filled(settings)
    rows = other.rows_of("events", [0]).collect()
    map_buckets = grouped.map_buckets

    def overtaken(*given: Any) -> list[Any]:
        if given[3] == "storing":
            other.write("events", rows)
        return map_buckets(*given)

    monkeypatch.setattr(grouped, "map_buckets", overtaken)
    with pytest.raises(StoreError, match="another process has written"):
        ingest.ingest(settings, NOW, progress=False)
