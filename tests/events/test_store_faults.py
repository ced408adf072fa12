"""A full or read-only disk and damaged files: one sentence, the old state or the new."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn import forget
from churn.cli import main
from churn.errors import StoreError
from churn.events import ingest
from churn.settings import Settings, load
from churn.store import Store, compaction, open_filled
from churn.store.layout import TABLES

from ..conftest import unavailable

NOW = datetime(2026, 6, 1, tzinfo=UTC)
N_USERS = 300


def night(folder: Path, number: int) -> None:
    """The extract file of one night: some hundred users, one event each."""
    draw = random.Random(number)
    lines = ["user_id,anonymous_id,event,time,properties"]
    for i in range(N_USERS):
        note = f"{draw.getrandbits(256):x}"
        time = f"2026-03-{number + 1:02d}T{i % 24:02d}:00:00"
        lines.append(f"secret-{i},device-{i},open,{time},{note}")
    (folder / "raw").mkdir(exist_ok=True)
    (folder / f"raw/{number}.csv").write_text("\n".join(lines))


def prepare(folder: Path) -> Settings:
    """A study of four nights, the last compacted, and the file of a fifth."""
    (folder / "churn.toml").write_text('[[extracts]]\nsource = "table"\npath = "raw"\n')
    settings = load(folder / "churn.toml")
    for number in range(4):
        night(folder, number)
        add(settings)
    night(folder, 4)
    return settings


def add(settings: Settings) -> None:
    """Ingest what is new."""
    ingest.ingest(settings, NOW, progress=False)


def compact(settings: Settings) -> None:
    """Ingest what is new, and compact and clean every table."""
    defaults = compaction.COMMITS, compaction.FILES
    compaction.COMMITS, compaction.FILES = 1, 0
    try:
        add(settings)
    finally:
        compaction.COMMITS, compaction.FILES = defaults


def erase(settings: Settings) -> None:
    """Erase three people."""
    forget.forget(settings, ["secret-1", "secret-2", "secret-200"])


RUNS = {"append": add, "compaction": compact, "erasure": erase}
Run = Callable[[Settings], None]


def sums(store: Store) -> dict[str, tuple[int, int]]:
    """By table, numbers that compaction doesn't change; tombstones come earlier."""
    found = {}
    for table in set(TABLES) - {"tombstones"}:
        rows = store.scan(table)
        names = rows.collect_schema().names()
        key = next((n for n in ("user_id", "ids", "event") if n in names), names[0])
        n = pl.col("n").sum() if "n" in names else pl.lit(0)
        total = rows.select(pl.col(key).n_unique(), n=n).collect().row(0)
        found[table] = total
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own for the study."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)]
    if (
        not shutil.which("mount")
        or subprocess.run(mount, capture_output=True).returncode
    ):
        unavailable("tests of a full disk may not mount a small one here")
    try:
        yield disk
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=False)
        subprocess.run(["umount", "-l", str(disk)], check=True)


def outcomes(folder: Path, settings: Settings, run: Run) -> tuple[object, object]:
    """The states before and after an undisturbed run; the store is then as before."""
    store, backup = settings.store_path, folder.parent / "backup"
    shutil.copytree(store, backup)
    before = sums(open_filled(settings))
    run(settings)
    after = sums(open_filled(settings))
    put_back(backup, store)
    return before, after


def put_back(backup: Path, store: Path) -> None:
    """Make the store what it was."""
    shutil.rmtree(store)
    shutil.copytree(backup, store)


def fails(run: Run, settings: Settings) -> bool:
    """Whether a run fails, which it does with one sentence that names no person."""
    try:
        run(settings)
    except StoreError as error:
        sentence = str(error)
    else:
        return False
    assert "\n" not in sentence
    assert "secret" not in sentence
    assert "device-" not in sentence
    return True


@pytest.mark.parametrize("name", RUNS)
def test_a_full_disk_is_one_sentence(small_disk: Path, name: str) -> None:
    """However little room is left, the store is in its old or new state, and the same
    command completes once there is room.
    """
    settings, run = prepare(small_disk), RUNS[name]
    states = outcomes(small_disk, settings, run)
    n_failed = 0
    for room in (0, 8, 40, 100, 200, 400):
        put_back(small_disk.parent / "backup", settings.store_path)
        free = shutil.disk_usage(small_disk).free
        filler = small_disk / "filler"
        filler.write_bytes(b"x" * max(0, free - room * 1024))
        n_failed += fails(run, settings)
        assert sums(open_filled(settings)) in states
        filler.unlink()
        run(settings)
        assert sums(open_filled(settings)) == states[1]
    assert n_failed >= 2


@pytest.mark.parametrize("name", RUNS)
def test_a_read_only_disk_is_one_sentence(small_disk: Path, name: str) -> None:
    """Nothing has changed, and readers go on."""
    settings, run = prepare(small_disk), RUNS[name]
    before = sums(open_filled(settings))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert fails(run, settings)
    assert sums(open_filled(settings)) == before


def cut(file: Path) -> None:
    """Keep the first half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def overwrite_end(file: Path) -> None:
    """Replace the last forty bytes; in a Parquet file they describe the rest.

    Rows have no checksum, so damage to them may go unnoticed.
    """
    content = bytearray(file.read_bytes())
    content[-40:] = b"\xa5" * 40
    file.write_bytes(content)


def empty(file: Path) -> None:
    """Leave nothing of it."""
    file.write_bytes(b"")


def named(what: str, settings: Settings) -> Path:
    """The newest file of a kind, without which the present state can't be read."""
    folder = settings.store_path
    if what == "store.json":
        return folder / what
    if what == "data file":
        files = open_filled(settings).files("events")
        return folder / "events" / str(files["path"][0])
    suffix = {"log entry": "json", "checkpoint": "checkpoint.parquet"}[what]
    return max(folder.glob(f"events/_delta_log/*.{suffix}"))


HARM = (cut, overwrite_end, empty, Path.unlink)
FILES = ("log entry", "checkpoint", "data file", "store.json")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose event log has a checkpoint and later entries."""
    folder = tmp_path_factory.mktemp("template")
    settings = prepare(folder)
    compact(settings)
    night(folder, 5)
    return folder


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("harm", HARM)
def test_damage_is_one_sentence(
    template: Path, tmp_path: Path, what: str, harm: Callable[[Path], None]
) -> None:
    """An erasure, which needs every file, is refused whatever is damaged, and the
    sentence names no person; with the file back again it completes.
    """
    study = tmp_path / "study"
    shutil.copytree(template, study)
    settings = load(study / "churn.toml")
    file = named(what, settings)
    intact = file.read_bytes()
    harm(file)
    assert fails(erase, settings)
    file.write_bytes(intact)
    erase(settings)
    assert not open_filled(settings).cleaning


def test_damage_is_one_sentence_at_the_command_line(
    template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The exit code is 1, and there is no traceback, also where only reading rows finds
    the damage.
    """
    study = tmp_path / "study"
    shutil.copytree(template, study)
    log = load(study / "churn.toml").store_path / "events"
    for file in log.glob("**/bucket=*/*.parquet"):
        overwrite_end(file)
    command = ["churn", "forget", "secret-1", "--study", str(study / "churn.toml")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    shown = capsys.readouterr().err
    assert shown.startswith("churn: ")
    assert shown.rstrip().count("\n") == 0
    assert "secret-" not in shown
