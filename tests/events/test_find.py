"""An extract's files are found, here and in an object store, and each is read once."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from churn.errors import InputError
from churn.events import content_ids, ingest, staging
from churn.events.sources import find
from churn.report import history_sentences as sentences
from churn.settings import Extract, Settings, parse
from churn.store import objects, open_filled

from ..conftest import SHARED
from ..object_server import Server

NOW = datetime(2026, 3, 25, tzinfo=UTC)


def touch(folder: Path, *names: str) -> None:
    """Files with a byte in them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def names(
    folder: Path, path: str, source: str = "table"
) -> tuple[list[str], list[str]]:
    """Names of the files that are ready and that wait."""
    extract = Extract(source=source, path=path)  # type: ignore[arg-type]
    found = find.find(extract, parse({"extracts": [extract]}, folder))
    return [f.name for f in found.ready], [f.name for f in found.waiting]


def test_files_folders_and_patterns(tmp_path: Path) -> None:
    """A path names a file, or a folder with all below it; * stands for one level and **
    for any. Names are relative to the fixed part of the path.
    """
    touch(
        tmp_path,
        "raw/b.csv",
        "raw/a.csv",
        "raw/2026/c.csv",
        "raw/2026/03/d.CSV",
        "raw/e.txt",
        "[x]/f.csv",
        "g h#1.csv",
    )
    assert names(tmp_path, "raw/e.txt") == ([""], [])  # whoever names a file means it
    assert names(tmp_path, "raw")[0] == [
        "2026/03/d.CSV",
        "2026/c.csv",
        "a.csv",
        "b.csv",
    ]
    assert names(tmp_path, "raw/*.csv")[0] == ["a.csv", "b.csv"]
    assert names(tmp_path, "raw/**/[cd].*")[0] == ["2026/03/d.CSV", "2026/c.csv"]
    assert names(tmp_path, "raw/20*/*.csv")[0] == ["2026/c.csv"]
    assert names(tmp_path, str(tmp_path / "raw/?.csv"))[0] == ["a.csv", "b.csv"]
    assert names(tmp_path / "[x]", "*.csv")[0] == ["f.csv"]
    assert names(tmp_path, "[x]")[0] == ["f.csv"]
    assert names(tmp_path, "g h#1.csv")[0] == [""]


def test_hidden_files_markers_and_foreign_names_are_passed_over(tmp_path: Path) -> None:
    """Hidden files and folders, which notebooks and Spark leave behind, are not read
    either. If nothing remains, it is an error.
    """
    touch(
        tmp_path,
        "raw/a.csv",
        "raw/.b.csv",
        "raw/_c.csv",
        "raw/d.xlsx",
        "raw/.ipynb_checkpoints/a.csv",
        "raw/_tmp/e.csv",
    )
    assert names(tmp_path, "raw") == names(tmp_path, "raw/**") == (["a.csv"], [])
    for path in ("raw/_tmp/*.xlsx", "raw/.none", "nothing", "raw/*.zip"):
        with pytest.raises(
            InputError,
            match=r"no file at .*expected names that end in \.parquet, \.csv",
        ):
            names(tmp_path, path)


LOCKER = "home/data-locker-hourly/t=inapps/dt=2026-03-08"


def test_an_hour_waits_for_its_marker(tmp_path: Path) -> None:
    """In a report with markers, hours after the last marked one wait. Earlier hours and
    other reports do not.
    """
    hours = [f"{LOCKER}/h={h}/part-00000.gz" for h in (2, 9, 10, 11)]
    other = [f.replace("inapps", "uninstalls") for f in hours[:1]]
    touch(tmp_path, *hours, *other)
    assert names(tmp_path, "home", "appsflyer") == (
        [f.removeprefix("home/") for f in hours + other],
        [],
    )
    touch(tmp_path, f"{LOCKER}/h=9/_SUCCESS")
    for path in ("home", "home/**/*.gz", f"{LOCKER}/*/*.gz"):
        ready, waiting = names(tmp_path, path, "appsflyer")
        assert [name.split("h=")[1][:2] for name in waiting] == ["10", "11"], path
        assert [
            name.split("h=")[1][:2] for name in ready if "uninstalls" not in name
        ] == ["2/", "9/"]
    touch(tmp_path, f"{LOCKER}/h=11/app_id=x/_SUCCESS")
    assert names(tmp_path, "home", "appsflyer")[1] == []


def test_an_hour_is_read_once_it_is_whole(tmp_path: Path) -> None:
    """A file that waited is read by the next ingest that finds the marker."""
    header = "event_time,event_name,appsflyer_id\n"
    for hour in (2, 10):
        (tmp_path / f"{LOCKER}/h={hour}").mkdir(parents=True)
        (tmp_path / f"{LOCKER}/h={hour}/part-00000.gz").write_bytes(
            gzip.compress(f"{header}2026-03-08 0{hour % 9}:00:00,open,d\n".encode())
        )
    touch(tmp_path, f"{LOCKER}/h=2/_SUCCESS")
    settings = parse({"extracts": [{"source": "appsflyer", "path": "home"}]}, tmp_path)
    first = ingest.ingest(settings, NOW, progress=False)
    assert (first.n_added, [Path(name).parent.name for name in first.waiting]) == (
        1,
        ["h=10"],
    )
    assert "1 file(s) wait" in " ".join(sentences.ingest(first))
    touch(tmp_path, f"{LOCKER}/h=10/_SUCCESS")
    second = ingest.ingest(settings, NOW, progress=False)
    assert (second.n_added, second.waiting) == (1, {})


def test_a_running_day_gives_way_to_the_whole_one(tmp_path: Path) -> None:
    """GA4's intraday table is read until the day's own table is in the same folder,
    whatever its format or shards.
    """
    touch(
        tmp_path,
        "a/events_intraday_20260308.json",
        "a/events_20260307.parquet",
        "b/events_20260308.json",
    )
    assert "a/events_intraday_20260308.json" in names(tmp_path, ".", "ga4")[0]
    touch(tmp_path, "a/events_20260308-000000000001.parquet")
    assert "a/events_intraday_20260308.json" not in names(tmp_path, ".", "ga4")[0]


def test_only_what_changed_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known file is not opened again. A file that was rewritten is read again, and
    its old rows are duplicates.
    """
    opened = []
    digest = staging.file_digest
    monkeypatch.setattr(
        staging, "file_digest", lambda path: opened.append(path.name) or digest(path)
    )
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(
            f"event_id,user_id,event,time\n{name}1,u,open,2026-03-08\n"
        )
    settings = parse({"extracts": [{"source": "table", "path": "*.csv"}]}, tmp_path)
    assert ingest.ingest(settings, NOW, progress=False).n_added == 2
    assert ingest.ingest(settings, NOW, progress=False).n_new_files == 0
    assert opened == ["a.csv", "b.csv"]
    with (tmp_path / "b.csv").open("a") as file:
        file.write("b2,u,open,2026-03-09\n")
    again = ingest.ingest(settings, NOW, progress=False)
    assert again.totals == {"rows": 2, "kept": 2, "duplicate": 0, "quarantined": 0}
    assert (again.n_added, again.n_removed, again.n_again) == (1, 0, 1)
    assert opened == ["a.csv", "b.csv", "b.csv"]


def log(settings: Settings) -> pl.DataFrame:
    """The event log without the columns of lineage, and without ids made from them."""
    stated_id = pl.when(~content_ids.is_content_id()).then("event_id")
    kept = open_filled(settings).scan("events").with_columns(event_id=stated_id)
    lineage = ("source_file", "file_id", "source_row")
    return kept.drop(lineage).sort("source", "event_id", "event_time").collect()


def everything(folder: Path) -> dict[str, bytes]:
    """Object keys and contents of the Data Locker and Currents samples and of two
    tables.
    """
    files = {}
    for sample in ("appsflyer/data_locker", "braze_currents"):
        for file in filter(Path.is_file, (SHARED / "samples" / sample).rglob("*")):
            files[f"{file.relative_to(SHARED / 'samples')}"] = file.read_bytes()
    frame = pl.DataFrame({"user_id": ["u"], "event": ["open"], "time": [NOW]})
    frame.write_parquet(folder / "x.parquet")
    lines = gzip.compress(b"user_id,event,time\nu,buy it,2026-03-08\n")
    return files | {
        "tables/x.parquet": (folder / "x.parquet").read_bytes(),
        "tables/2026/y #1+ü%20.csv.gz": lines,
    }


@pytest.mark.skipif(
    not SHARED.exists(),
    reason="SKIPPED LOUDLY: ../shared with the vendor samples is absent",
)
def test_an_object_store_is_read_like_a_folder(tmp_path: Path, server: Server) -> None:
    """Data Locker, Avro, Parquet and gzipped CSV over s3:// give the same log as local
    copies, and hours wait alike.
    """
    for key, content in everything(tmp_path).items():
        server.put(key, content)
        (tmp_path / "local" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "local" / key).write_bytes(content)
    sources = {
        "appsflyer/data_locker": "appsflyer",
        "braze_currents": "currents",
        "tables/**": "table",
    }
    done, logs = {}, {}
    for folder, root in {"a": "s3://exports", "b": str(tmp_path / "local")}.items():
        (tmp_path / folder).mkdir()
        extracts = [
            {"source": source, "path": f"{root}/{path}"}
            for path, source in sources.items()
        ]
        settings = parse({"extracts": extracts}, tmp_path / folder)
        done[root] = ingest.ingest(settings, NOW, progress=False)
        logs[root] = log(settings)
    remote, local = done
    assert (
        done[remote].totals
        == done[local].totals
        == {"rows": 36, "kept": 33, "duplicate": 2, "quarantined": 1}
    )
    assert logs[remote].equals(logs[local])
    assert [Path(name).parent.name for name in done[remote].waiting] == ["h=10"]


def test_an_unchanged_object_is_not_fetched_again(
    tmp_path: Path, server: Server
) -> None:
    """The server sees one GET per object, and a second one only of the object that
    changed.
    """
    for key in ("a/1.csv", "a/b/2.csv", "a/b/c/3.csv", "a/_tmp/4.csv", "ab/5.csv"):
        server.put(
            key, f"event_id,user_id,event,time\n{key},u,open,2026-03-08\n".encode()
        )
    settings = parse(
        {"extracts": [{"source": "table", "path": "s3://exports/a"}]}, tmp_path
    )
    assert ingest.ingest(settings, NOW, progress=False).n_added == 3
    assert ingest.ingest(settings, NOW, progress=False).n_new_files == 0
    assert server.fetched == ["a/1.csv", "a/b/2.csv", "a/b/c/3.csv"]
    server.put("a/b/2.csv", b"event_id,user_id,event,time\n2b,u,open,2026-03-09\n")
    assert ingest.ingest(settings, NOW, progress=False).n_added == 1
    assert server.fetched[3:] == ["a/b/2.csv"]


def test_patterns_mean_the_same_in_a_bucket(tmp_path: Path, server: Server) -> None:
    """* stays within a folder and ** crosses folders; an object is found by its whole
    key, without its neighbours.
    """
    keys = [
        "raw/a.csv",
        "raw/2026/c.csv",
        "raw/2026/03/d.csv",
        "raw/a.csv.bak",
        "rawer/e.csv",
    ]
    for key in keys:
        server.put(key, b"x")
        touch(tmp_path, key)
    for path in (
        "raw",
        "raw/*.csv",
        "raw/*/*.csv",
        "raw/**/*.csv",
        "raw/**",
        "*/*.csv",
        "**/[cd].csv",
        "raw/a.csv",
    ):
        assert names(tmp_path, f"s3://exports/{path}") == names(tmp_path, path), path


@pytest.mark.parametrize(
    "path",
    ["s3://no-such-bucket/x", "s3://exports/no.csv", "s3://exports/no/*.csv", "s3://"],
)
def test_what_is_not_there_is_one_sentence(
    tmp_path: Path, server: Server, path: str
) -> None:
    """For a missing bucket, object or folder, the message names what was looked for and
    no secret.
    """
    with pytest.raises(InputError) as caught:
        names(tmp_path, path)
    check(caught.value, path)


@pytest.mark.parametrize(
    "path",
    ["s3://exports/x.csv", "gs://exports/x.csv", "az://exports/x.csv", "ftp://x/y.csv"],
)
def test_a_store_that_does_not_answer_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """An address where no server answers, or of an unknown kind, gives an error within
    seconds that does not quote the library.
    """
    for name, value in NOBODY.items():
        monkeypatch.setenv(name, value)
    objects._client.cache_clear()
    with pytest.raises(InputError) as caught:
        names(tmp_path, path)
    objects._client.cache_clear()
    check(caught.value, path)
    assert "credentials in the environment" in str(caught.value)


GOOGLE = {"gcs_base_url": "http://127.0.0.1:9", "disable_oauth": True}
NOBODY = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "AKIDVERYSECRET",
    "AWS_SECRET_ACCESS_KEY": "verysecret",
    "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:9",
    "AZURE_ALLOW_HTTP": "true",
    "AZURE_STORAGE_ACCOUNT_NAME": "account",
    "AZURE_STORAGE_ACCOUNT_KEY": "dmVyeXNlY3JldA==",
    "GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(
        GOOGLE | dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    ),
}


def test_an_object_that_vanishes_is_one_sentence(
    tmp_path: Path, server: Server
) -> None:
    """An object that was listed and is gone when it is fetched gives one sentence."""
    gone = find.Found(
        Extract(source="table", path="x"), "s3://exports/gone.csv", "gone.csv", "1", 1
    )
    with pytest.raises(InputError) as caught:
        find.fetch(gone, tmp_path)
    check(caught.value, "s3://exports/gone.csv")


def check(error: InputError, path: str) -> None:
    """Assert that it is one sentence which names the address and no secret."""
    said = str(error)
    assert path in said
    assert "\n" not in said
    assert len(said) < 300
    assert not any(
        secret in said
        for secret in ("SECRET", "secret", "Signature", "127.0.0.1", "private_key")
    )
