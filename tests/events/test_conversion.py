"""Conversion: a store of an earlier version becomes one of the present version."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from churn import forget
from churn.cli import app as cli
from churn.errors import StoreError
from churn.events import conversion, ingest
from churn.settings import Settings
from churn.store import Store, create_or_open, open_filled
from churn.store.layout import BUCKETED, TABLES

from . import old_store

NOW = datetime(2026, 3, 20, tzinfo=UTC)
HEADER = "user_id,anonymous_id,event,time,revenue,level\n"
SALTED = ("event_id", "subjects")
"""Columns that differ between two stores of the same extracts."""


def row(user: str, device: str, event: str, day: int, hour: int = 0) -> str:
    """A row of the small app's table."""
    return f"{user},{device},{event},2026-03-{day:02d}T{hour:02d}:00:00Z,{hour},{day}\n"


def small_app(last_day: int) -> str:
    """Rows of users, of a device whose user is known later, and of equal events."""
    rows = [
        row(f"user-{user}", f"device-{user}", event, day, user % 24)
        for user in range(12)
        for day in range(1, last_day + 1)
        for event in ("open", "open", "buy")
        if (user + day) % 3
    ]
    rows.append(row("", "device-3", "open", 1))
    rows.append(row("", "device-nobody", "open", 2))
    rows.append(row("user-4", "", "open", 40))
    return HEADER + "".join(rows)


def app(folder: Path, make_study: Callable[..., Settings]) -> Settings:
    """A study of the small app: a table without event ids, and one with them."""
    (folder / "events.csv").write_text(small_app(9))
    (folder / "stated.csv").write_text(
        "user_id,event,time,event_id\n"
        "user-1,open,2026-03-05,e1\nuser-2,open,2026-03-06,deadbeefdeadbeef:7\n"
    )
    return make_study(
        extracts=[
            {"source": "table", "path": "events.csv"},
            {"source": "table", "path": "stated.csv"},
        ]
    )


def content(store: Store, *left_out: str) -> dict[str, pl.DataFrame]:
    """Rows of every table in a fixed order, of each user the first event known."""
    tables = {}
    for table in TABLES:
        rows = store.scan(table, adopted=False).collect()
        if table in ("users", "adopted_users"):
            rows = conversion.compaction.reduced(
                rows.with_columns(bucket=pl.lit(0)).lazy(), table
            ).collect()
        columns = [name for name in rows.columns if name not in (*left_out, "bucket")]
        tables[table] = rows.select(columns).unique().sort(columns, nulls_last=True)
    return tables


def assert_same(left: Store, right: Store, *left_out: str) -> None:
    """Both stores have the same rows, but for some columns."""
    ours, others = content(left, *left_out), content(right, *left_out)
    for table in TABLES:
        assert_frame_equal(ours[table], others[table], check_exact=False)


def old_files(store: Store) -> list[Path]:
    """Files of the earlier version's batches."""
    root = Path(store.place.address)
    names = (*old_store.BATCHES, old_store.ADOPTED_BATCH)
    return [file for file in root.rglob("*.parquet") if file.stem in names]


def test_every_table_stays_what_it_was(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """After a conversion every table has the rows of the old one, salt and coverage are
    those of before, and no old file or empty folder is left.
    """
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    forget.forget(settings, ["user-7"])
    before = open_filled(settings)
    expected = content(before, "event_id")
    old_store.write(before)
    with pytest.raises(StoreError, match="convert-store"):
        open_filled(settings)
    done = conversion.convert(settings, progress=False)
    store = open_filled(settings)
    assert done.n_events == store.n_rows("events") == expected["events"].height
    assert (done.n_files, store.salt) == (2, before.salt)
    assert store.covered_until == before.covered_until
    assert store.first_date == before.first_date
    assert not store.cleaning
    for table, rows in content(store, "event_id").items():
        assert_frame_equal(rows, expected[table])
    assert store.scan("adopted_activity").collect().height
    stated = store.scan("events").filter(source_file="stated.csv").collect()
    assert sorted(stated["event_id"]) == ["deadbeefdeadbeef:7", "e1"]
    assert old_files(store) == []
    root = Path(store.place.address)
    assert all(any(f.iterdir()) for f in root.rglob("*") if f.is_dir())


def test_groups_of_buckets_make_the_same_tables(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store too large for one pass has the same rows after its conversion."""
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    expected = content(before, "event_id")
    old_store.write(before)
    groups = [range(0, 13), range(13, 31), range(31, 32)]
    monkeypatch.setattr(Store, "passes", lambda _store, _n_rows: groups)
    conversion.convert(settings, progress=False)
    for table, rows in content(open_filled(settings), "event_id").items():
        assert_frame_equal(rows, expected[table])


def test_the_command_says_what_it_did(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """`churn convert-store` names the store, its events and its files."""
    settings = app(tmp_path, make_study)
    study = tmp_path / "churn.toml"
    study.write_text(
        '[[extracts]]\nsource = "table"\npath = "events.csv"\n'
        '[[extracts]]\nsource = "table"\npath = "stated.csv"\n'
    )
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    old_store.write(before)
    command = ["convert-store", "--study", str(study), "--no-progress"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    n_events = open_filled(settings).n_rows("events")
    expected = f"converted {before.place.address}: {n_events:,} events of 2 files; "
    assert result.output.startswith(expected)


def test_an_ingest_afterwards_reads_the_files_once_more(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """The files of a converted store are known, and erased people stay erased. Readers of
    an earlier version made its rows, so the files are read again once.
    """
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    forget.forget(settings, ["user-7"])
    old_store.write(open_filled(settings))
    conversion.convert(settings, progress=False)
    result = ingest.ingest(settings, NOW, progress=False)
    assert (result.n_new_files, result.n_again) == (0, 2)
    assert result.n_added == result.n_removed
    assert result.gone == []
    assert ingest.ingest(settings, NOW, progress=False).n_again == 0
    (tmp_path / "later.csv").write_text(HEADER + row("user-7", "", "open", 10))
    more = [
        *settings.model_dump()["extracts"],
        {"source": "table", "path": "later.csv"},
    ]
    later = ingest.ingest(make_study(extracts=more), NOW, progress=False)
    assert later.reasons.row(0) == ("forgotten", 1)


@pytest.mark.parametrize("text", [small_app(11), small_app(8), small_app(9)[:-40]])
def test_a_changed_file_replaces_its_converted_rows(
    text: str, tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A file that changes after the conversion leaves the store that a new ingest of
    the extracts makes.
    """
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    old_store.write(open_filled(settings))
    conversion.convert(settings, progress=False)
    file = tmp_path / "events.csv"
    file.write_text(text.rsplit("\n", 1)[0] + "\n")
    os.utime(file, (1, 1))
    result = ingest.ingest(settings, NOW, progress=False)
    assert (result.n_again, result.n_changed) == (2, 0)
    converted = open_filled(settings)
    anew = make_study(
        extracts=settings.model_dump()["extracts"], store=str(tmp_path / "anew")
    )
    ingest.ingest(anew, NOW, progress=False)
    assert_same(converted, open_filled(anew), *SALTED, "ingested_at")


def test_a_changed_setting_replaces_all_converted_rows(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Identity rules that have changed since the old ingest make the next one read all
    files again.
    """
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    old_store.write(open_filled(settings))
    extracts = settings.model_dump()["extracts"]
    changed = make_study(extracts=extracts, identity={"not_a_user": ["user-2"]})
    conversion.convert(changed, progress=False)
    with pytest.raises(StoreError, match="identity"):
        open_filled(changed)
    assert ingest.ingest(changed, NOW, progress=False).n_again == 2
    anew = make_study(
        extracts=extracts,
        identity={"not_a_user": ["user-2"]},
        store=str(tmp_path / "anew"),
    )
    ingest.ingest(anew, NOW, progress=False)
    assert_same(open_filled(changed), open_filled(anew), *SALTED, "ingested_at")


def named_alike(
    folder: Path, make_study: Callable[..., Settings], with_ids: bool
) -> Settings:
    """A study of two extracts of one source, whose files have the same name."""
    for number, name in enumerate(("ios", "android")):
        (folder / name).mkdir()
        header = "user_id,event,time" + (",event_id" if with_ids else "")
        own = f",{name}" if with_ids else ""
        text = f"{header}\nu{number},open,2026-03-05{own}\n"
        (folder / name / "events.csv").write_text(text)
    extracts = [{"source": "table", "path": name} for name in ("ios", "android")]
    return make_study(extracts=extracts)


def test_files_of_one_name_are_told_apart_by_their_content(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Rows without ids named their file's digest, so each is of one file even if two
    extracts have files of the same name.
    """
    settings = named_alike(tmp_path, make_study, with_ids=False)
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    columns = ["user_id", "file_id"]
    expected = before.scan("events").select(columns).sort(columns).collect()
    old_store.write(before)
    conversion.convert(settings, progress=False)
    store = open_filled(settings)
    got = store.scan("events").select(columns).sort(columns).collect()
    assert_frame_equal(got, expected)


def test_rows_that_could_be_of_two_files_are_refused(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Of rows with ids of their own that two files of one name could have brought, the
    conversion names the files, and the old store stays what it is.
    """
    settings = named_alike(tmp_path, make_study, with_ids=True)
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    old_store.write(before)
    state = Path(before.place.below("store.json")).read_bytes()
    files = sorted(old_files(before))
    with pytest.raises(StoreError, match=r"android/events.csv and .*ios/events.csv"):
        conversion.convert(settings, progress=False)
    assert Path(before.place.below("store.json")).read_bytes() == state
    assert sorted(old_files(before)) == files


def test_a_file_that_was_read_twice_is_one_file(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A file whose former content was also read has one row, with the newer digest and
    the number of all its rows in the log.
    """
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    old_store.write(before)
    folder = Path(before.place.below("files"))
    table = pl.concat(map(pl.read_parquet, folder.glob("*.parquet")))
    newer = table.filter(pl.col("extract") == "events.csv").with_columns(
        pl.col("ingested_at").dt.offset_by("1d"),
        digest=pl.lit("f" * 64),
        kept=pl.lit(1, pl.Int64),
    )
    old_store.write_batch(folder, old_store.BATCHES[1], pl.concat([table, newer]))
    (folder / f"{old_store.BATCHES[0]}.parquet").unlink()
    conversion.convert(settings, progress=False)
    store = open_filled(settings)
    files = store.scan("files").filter(extract="events.csv").collect()
    in_log = store.scan("events").filter(source_file="events.csv").collect().height
    assert (files["digest"].item(), files["kept"].item()) == ("f" * 64, in_log)


def test_a_moved_study_can_be_converted(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Files are recognised by their path below that of the extract, wherever the study
    lay when they were read.
    """
    settings = named_alike(tmp_path, make_study, with_ids=False)
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    old_store.write(before)
    for file in Path(before.place.below("files")).glob("*.parquet"):
        address = pl.col("address").str.replace(str(tmp_path), "/gone/study")
        pl.read_parquet(file).with_columns(address).write_parquet(file)
    assert conversion.convert(settings, progress=False).n_files == 2


def test_files_of_an_extract_that_the_study_lacks_are_recognised(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """An extract that was taken out of the study keeps its rows."""
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    n_events = before.n_rows("events")
    old_store.write(before)
    fewer = make_study(extracts=settings.model_dump()["extracts"][:1])
    assert conversion.convert(fewer, progress=False).n_events == n_events
    result = ingest.ingest(fewer, NOW, progress=False)
    assert result.gone == [str(tmp_path / "stated.csv")]


def test_columns_that_old_files_lack_are_null(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Activity of a version without sums of properties is converted without them."""
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    n = before.scan("activity").select(pl.col("n").sum()).collect().item()
    old_store.write(before)
    for file in old_files(before):
        rows = pl.read_parquet(file)
        if "sums" in rows.columns:
            rows.drop("sums").write_parquet(file)
    conversion.convert(settings, progress=False)
    activity = open_filled(settings).scan("activity").collect()
    assert activity["n"].sum() == n
    assert activity["sums"].null_count() == activity.height


def test_an_interrupted_erasure_is_completed_later(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """If the earlier version had not finished an erasure, the next command that writes
    finishes it.
    """
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    filled = open_filled(settings)
    tombstone = forget.erasure.new_tombstones(filled.salt, ["user_id:user-5"])
    marked = filled.append("tombstones", tombstone)
    old_store.write(marked)
    old_store.write_state(marked, erasing=True)
    store = conversion.convert(settings, progress=False).store
    assert store.cleaning
    assert "user-5" in store.scan("events").collect()["user_id"]
    ingest.ingest(settings, NOW, progress=False)
    clean = open_filled(settings)
    assert "user-5" not in clean.scan("events").collect()["user_id"]


@pytest.mark.parametrize("table", [*BUCKETED[:4], "edges", "files", "commit"])
def test_an_interrupted_conversion_leaves_the_old_store(
    table: str,
    tmp_path: Path,
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever a conversion ends, the old store is whole, and another one succeeds."""
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    expected = content(before, "event_id")
    old_store.write(before)
    state = Path(before.place.below("store.json")).read_bytes()
    sizes = {file: file.stat().st_size for file in old_files(before)}
    with monkeypatch.context() as failing:
        append = Store.append

        def append_once(store: Store, name: str, rows: pl.DataFrame) -> Store:
            done = append(store, name, rows)
            if name == table:
                raise OSError("no space left on device")
            return done

        def no_commit(store: Store) -> Store:
            raise StoreError("the store can't be converted: no space left on device")

        failing.setattr(Store, "append", append_once)
        if table == "commit":
            failing.setattr(Store, "commit", no_commit)
        with pytest.raises(StoreError, match="can't be converted"):
            conversion.convert(settings, progress=False)
    assert Path(before.place.below("store.json")).read_bytes() == state
    assert {file: file.stat().st_size for file in old_files(before)} == sizes
    conversion.convert(settings, progress=False)
    for name, rows in content(open_filled(settings), "event_id").items():
        assert_frame_equal(rows, expected[name])


def test_old_files_that_remained_are_removed_by_the_next_writer(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If a conversion dies after its commit, the next command that writes removes what
    is left of the old store.
    """
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    old_store.write(open_filled(settings))

    def dies(store: Store) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as failing:
        failing.setattr(conversion.cleaning, "vacuum", dies)
        with pytest.raises(KeyboardInterrupt):
            conversion.convert(settings, progress=False)
    store = open_filled(settings)
    assert old_files(store)
    ingest.ingest(settings, NOW, progress=False)
    assert old_files(store) == []
    assert not open_filled(settings).cleaning


def test_a_damaged_old_file_is_one_sentence(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A file that has lost its end, or a damaged store.json, is reported as such."""
    settings = app(tmp_path, make_study)
    ingest.ingest(settings, NOW, progress=False)
    before = open_filled(settings)
    old_store.write(before)
    file = next(f for f in old_files(before) if f.parts[-3] == "events")
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(StoreError, match="one of its files is damaged"):
        conversion.convert(settings, progress=False)
    Path(before.place.below("store.json")).write_text("{")
    with pytest.raises(StoreError, match="restore it from a backup"):
        conversion.convert(settings, progress=False)


def test_only_old_stores_are_converted(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Without a store, with one of the present version, or with another time zone, the
    conversion says so and writes nothing.
    """
    settings = app(tmp_path, make_study)
    with pytest.raises(StoreError, match="holds no store"):
        conversion.convert(settings, progress=False)
    assert not Path(settings.store_address).exists()
    ingest.ingest(settings, NOW, progress=False)
    with pytest.raises(StoreError, match="only version 2"):
        conversion.convert(settings, progress=False)
    old_store.write(open_filled(settings))
    elsewhere = make_study(
        extracts=settings.model_dump()["extracts"], timezone="Asia/Tokyo"
    )
    with pytest.raises(StoreError, match="another timezone"):
        conversion.convert(elsewhere, progress=False)
    conversion.convert(settings, progress=False)
    assert create_or_open(settings).n_rows("events")


def test_an_empty_store_can_be_converted(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A store without any batch becomes an empty one, ready for an ingest."""
    settings = app(tmp_path, make_study)
    empty = create_or_open(settings)
    Path(empty.place.address).mkdir(parents=True)
    old_store.write_state(empty, batches=[], adopted=[])
    assert conversion.convert(settings, progress=False).n_events == 0
    assert ingest.ingest(settings, NOW, progress=False).n_new_files == 2
    shutil.rmtree(empty.place.address)
