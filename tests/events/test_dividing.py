"""A store gets as many buckets as fit its first events, and more when it has grown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from churn import doctor
from churn.errors import StoreError, StudyError
from churn.events import dividing, identity, ingest, sizing
from churn.hashing import bucket_of
from churn.settings import Settings
from churn.store import Store, cleaning, data_files, open_filled
from churn.store.layout import BUCKETED, TABLES

from ..conftest import random_log
from ..object_server import Server
from .test_ingest_cluster import NOW, night, study

STUDY = """\
store = "store"

[[extracts]]
source = "table"
path = "table"
"""
OWNERS = {"events": pl.col("event_id"), "anonymous": identity.KEY}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A night of three extracts, with anonymous people, log-ins and faulty rows."""
    night(tmp_path, 0)
    settings = study(tmp_path, "store")
    ingest.ingest(settings, NOW, progress=False)
    return open_filled(settings)


def asking(store: Store, n_buckets: int | None) -> Settings:
    """The settings of a store whose study names a number of buckets."""
    return store.settings.model_copy(update={"store_buckets": n_buckets})


def rows(store: Store, table: str) -> pl.DataFrame:
    """All rows of a table, in an order that doesn't depend on buckets."""
    stored = store.scan(table, adopted=False).collect()
    return stored.sort(pl.struct(pl.all()).hash())


def unneeded(store: Store) -> list[str]:
    """Data files that no table has."""
    needed = {
        f"{table}/{path}" for table in TABLES for path in store.files(table)["path"]
    }
    names = [name for table in TABLES for name in store.place.names(table)]
    return [n for n in names if n.endswith(".parquet") and n not in needed]


def test_a_divided_store_holds_the_same_rows(store: Store) -> None:
    """In the buckets where later ingests look for them, and in no file besides."""
    before = {table: rows(store, table) for table in TABLES}
    done = dividing.divide(asking(store, 64), progress=False)
    assert (done.n_before, done.store.n_buckets) == (32, 64)
    for table in TABLES:
        assert_frame_equal(rows(done.store, table), before[table])
    for table in BUCKETED:
        owner = OWNERS.get(table, pl.col("user_id"))
        for bucket in (0, 31, 32, 63):
            own = done.store.rows_of(table, [bucket]).select(bucket_of(owner, 64))
            assert set(own.collect().to_series()) <= {bucket}
    assert not unneeded(done.store)
    assert not ingest.ingest(asking(store, 64), NOW, progress=False).n_added
    assert dividing.divide(asking(store, 64), progress=False).n_before == 64


@pytest.mark.parametrize(
    ("module", "name"),
    [(data_files, "published"), (cleaning, "vacuum")],
)
def test_a_division_that_dies_changes_nothing_or_is_completed(
    store: Store, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    """The store is the old one or the new one, and the next command cleans up."""
    before = {table: rows(store, table) for table in TABLES}
    calls = []

    def dies_late(*arguments: Any) -> Any:
        calls.append(name)
        if name == "vacuum" or len(calls) == 3:
            raise KeyboardInterrupt
        return published(*arguments)

    published = data_files.published
    with monkeypatch.context() as patch:
        patch.setattr(module, name, dies_late)
        with pytest.raises(KeyboardInterrupt):
            dividing.divide(asking(store, 64), progress=False)
    left = store.reopened()
    assert left.n_buckets == (32 if name == "published" else 64)
    for table in TABLES:
        assert_frame_equal(rows(left, table), before[table])
    done = dividing.divide(asking(store, 64), progress=False).store
    for table in TABLES:
        assert_frame_equal(rows(done, table), before[table])
    assert not unneeded(done)


def test_an_object_store_can_be_divided(
    server: Server, make_study: Callable[..., Settings], tmp_path: Path
) -> None:
    """The next ingest finds its events where they are now, and none counts twice."""
    random_log(n_users=20, n_days=30).write_parquet(tmp_path / "a.parquet")
    settings = make_study(
        extracts=[{"source": "table", "path": "*.parquet"}],
        store="s3://exports/store",
    )
    first = ingest.ingest(settings, progress=False)
    larger = settings.model_copy(update={"store_buckets": 64})
    with pytest.raises(StoreError, match=r"64, but .* has 32: run `churn divide-store"):
        ingest.ingest(larger, progress=False)
    assert "run `churn divide-store`" in sizing.warnings(open_filled(larger))[0]
    done = dividing.divide(larger, progress=False)
    assert done.n_events == first.n_added
    assert not unneeded(done.store)
    more = random_log(n_users=20, n_days=35)
    more.write_parquet(tmp_path / "b.parquet")
    second = ingest.ingest(larger, progress=False)
    store = open_filled(larger)
    assert store.n_rows("events") == first.n_added + second.n_added
    n_unique = store.scan("events").select(pl.col("event_id").n_unique())
    assert n_unique.collect().item() == store.n_rows("events")


def test_the_first_ingest_chooses(
    make_study: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many buckets as the files' rows need, but a small app has 32."""
    log = random_log(n_users=200, n_days=60)
    log.write_csv(tmp_path / "events.csv")
    small = ingest.ingest(make_study(store="small"), progress=False)
    assert open_filled(make_study(store="small")).n_buckets == 32
    monkeypatch.setattr(sizing, "SMALL_BYTES", 0)
    monkeypatch.setattr(sizing, "BUCKET_EVENTS", small.n_added // 100)
    ingest.ingest(make_study(store="large"), progress=False)
    large = open_filled(make_study(store="large"))
    assert large.n_buckets == 128
    assert large.n_rows("events") == small.n_added


def test_the_study_may_choose(
    make_study: Callable[..., Settings], tmp_path: Path
) -> None:
    """Its number counts when a store is made; it must be a power of two."""
    random_log(n_users=20, n_days=60).write_csv(tmp_path / "events.csv")
    settings = make_study(store_buckets=64)
    ingest.ingest(settings, progress=False)
    assert open_filled(settings).n_buckets == 64
    with pytest.raises(StudyError, match=r"store_buckets.*power of two"):
        make_study(store_buckets=100)


def test_outgrown_buckets_are_reported(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By ingest and doctor, with the command that makes more of them; not before."""
    assert not sizing.warnings(store)
    n_events = store.n_rows("events")
    monkeypatch.setattr(sizing, "BUCKET_EVENTS", n_events // 90)
    monkeypatch.setattr(sizing, "FULL_EVENTS", n_events // 45)
    assert "run `churn divide-store`, which makes 128" in sizing.warnings(store)[0]
    study_file = store.settings.folder / "churn.toml"
    study_file.write_text(STUDY, encoding="utf-8")
    assert "memory" in [point.name for point in doctor.examine(study_file)]
