"""The guide to the store: its layout, its examples for other programs, its backup."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn.events import ingest
from churn.events.writing import exclusively
from churn.settings import Settings
from churn.store import Store, open_filled
from churn.store.layout import BUCKETED, TABLES

from ..conftest import unavailable
from ..object_server import Server
from .pages import between, fenced, text

PAGE = "data/README.md"
HEADINGS = ("Reading it with other programs", "polars", "DuckDB", "pandas", "Spark")


def examples(heading: str) -> list[str]:
    """The Python blocks between a heading of the guide and the next one."""
    section = re.split(rf"^#+ {heading}$", text(PAGE), flags=re.M)[1]
    own = re.split(r"^#+ ", section, flags=re.M)[0]
    return re.findall(r"^```python\n(.*?)^```", own, re.DOTALL | re.MULTILINE)


def run(code: str, names: dict[str, Any]) -> None:
    """Execute one example with the names of those before it."""
    exec(compile(code, PAGE, "exec"), names)


@pytest.fixture
def pinned(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Names of the guide's first example, run beside a store.

    The newest versions of its tables hold rows of an ingest that never became visible.
    """
    for table in ("users", "activity"):
        filled.append(table, filled.rows_of(table, range(32)).collect())
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    run(examples(HEADINGS[0])[0], names)
    return names


def firsts(store: Store) -> dict[str, Any]:
    """Each user's first event."""
    users = store.scan("users").group_by("user_id").agg(pl.col("first_at").min())
    return dict(users.collect().iter_rows())


def test_every_python_block_is_run_by_a_test_below() -> None:
    """An example under another heading would go unproven."""
    listed = [block for heading in HEADINGS for block in examples(heading)]
    assert listed == fenced(PAGE, "python")
    assert [len(examples(heading)) for heading in HEADINGS] == [1, 1, 1, 1, 2]


def test_polars(pinned: dict[str, Any], filled: Store) -> None:
    """pl.scan_delta at the visible versions gives what the study gives."""
    run(examples("polars")[0], pinned)
    sums = pl.col("n", "revenue").sum()
    expected = filled.scan("activity").group_by(pinned["key"]).agg(sums).collect()
    assert pinned["activity"].sort(pinned["key"]).equals(expected.sort(pinned["key"]))


def test_polars_in_an_object_store(
    server: Server, make_study: Callable[..., Settings], tmp_path: Path
) -> None:
    """The address of a table will do, since credentials are in the environment."""
    rows = "user_id,event,time\nu1,open,2026-01-01T00:00:00Z\n"
    (tmp_path / "events.csv").write_text(rows, encoding="utf-8")
    settings = make_study(store="s3://exports/churn/store")
    ingest.ingest(settings, progress=False)
    version = open_filled(settings).versions["users"]
    users = pl.scan_delta("s3://exports/churn/store/users", version=version)
    assert users.collect()["user_id"].to_list() == ["u1"]


def test_duckdb(pinned: dict[str, Any], filled: Store) -> None:
    """It reads the files of the visible version without its extension for Delta, and
    the statement that needs the extension parses.
    """
    run(examples("DuckDB")[0], pinned)
    assert dict(pinned["first_at"]) == firsts(filled)
    (with_extension,) = fenced(PAGE, "sql")
    assert len(pinned["duckdb"].extract_statements(with_extension)) == 1


def test_pandas(pinned: dict[str, Any], filled: Store) -> None:
    """Deltalake gives a pandas frame of the visible version."""
    pytest.importorskip("pandas", reason="SKIPPED LOUDLY: pandas isn't installed")
    pytest.importorskip("pyarrow", reason="SKIPPED LOUDLY: pyarrow isn't installed")
    run(examples("pandas")[0], pinned)
    assert pinned["first_at"].to_dict() == firsts(filled)


def test_spark(
    pinned: dict[str, Any], filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the files of the visible version without the packages of Delta Lake."""
    pytest.importorskip("pyspark", reason="SKIPPED LOUDLY: pyspark isn't installed")
    if shutil.which("java") is None:
        pytest.skip("SKIPPED LOUDLY: Spark needs Java")
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[1] pyspark-shell")
    _, without_delta = examples("Spark")
    run(without_delta, pinned)
    found = {row["user_id"] for row in pinned["first_at"].collect()}
    assert pinned["users"].count() == filled.n_rows("users")
    assert found == set(firsts(filled))
    pinned["spark"].stop()


def test_a_path_with_blanks(
    pinned: dict[str, Any], filled: Store, tmp_path: Path
) -> None:
    """The guide's list of files is right there as well."""
    moved = tmp_path / "my study" / "50% store"
    shutil.copytree(filled.place.address, moved)
    pinned["store"] = moved
    assert pl.read_parquet(pinned["files"]("users")).height == filled.n_rows("users")


def test_the_layout_is_the_real_one(filled: Store) -> None:
    """Every file of a store lies where the guide's tree says."""
    tree = between(PAGE, "layout").splitlines()
    patterns = [line.split()[0] for line in tree if line.startswith("  ")]
    filled.place.write("scores/cutoff=2026-04-01.parquet", b"")
    named = [
        re.escape(p).replace("<table>", rf"({'|'.join(TABLES)})") for p in patterns
    ]
    named = [
        re.sub(r"bucket=7|\\\*|cutoff=[\d\\-]+|<model_id>", ".+", p) for p in named
    ]
    for name in filled.place.names():
        assert any(re.match(pattern, name) for pattern in named), name
    folders = {name.split("/")[0] for name in filled.place.names() if "bucket=" in name}
    assert folders <= set(BUCKETED)


def test_a_copy_made_under_the_lock(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flock respects the lock of a command that writes, and the copy can be read."""
    if shutil.which("flock") is None:
        unavailable("flock of util-linux")
    (block,) = [block for block in fenced(PAGE, "sh") if block.startswith("flock")]
    command = block.splitlines()[0].split()
    lock, source, copy = command[1], command[-2], command[-1]
    assert command == ["flock", lock, "cp", "-a", source, copy]
    monkeypatch.chdir(filled.settings.folder)
    with exclusively(filled.settings):
        assert subprocess.run(["flock", "-n", lock, "true"]).returncode == 1
    moved = tmp_path / "copy"
    subprocess.run([*command[:-1], moved], check=True)
    settings = filled.settings.model_copy(update={"store": str(moved)})
    assert firsts(open_filled(settings)) == firsts(filled)
