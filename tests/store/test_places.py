"""A place keeps files by name, in a folder and in an object store alike."""

import os
import threading
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from churn.errors import StoreError
from churn.store import objects
from churn.store.places import Place

from ..object_server import Server

NAMES = ["a b/ü #1+%20?.txt", "scores/cutoff=2026-03-01.parquet", "store.json"]


def test_files_are_written_read_listed_and_removed(place: Place) -> None:
    """Names may hold spaces and other special characters; a missing file is null."""
    assert place.names() == []
    assert place.read("store.json") is None
    for name in NAMES:
        place.write(name, b"old")
        place.write(name, name.encode())
    assert place.names() == NAMES
    assert place.names("scores") == NAMES[1:2]
    assert place.names("score") == place.names("none") == []
    assert [place.read(name) for name in NAMES] == [name.encode() for name in NAMES]
    place.remove(NAMES[0], "never there")
    assert place.names() == NAMES[1:]


def test_a_conditional_write_succeeds_once(place: Place) -> None:
    """It needs the entity tag of the current content, or none where no file is."""
    assert place.write_if("store.json", b"1", None)
    assert not place.write_if("store.json", b"2", None)
    found = place.tagged("store.json")
    assert found is not None
    content, tag = found
    assert content == b"1"
    assert place.write_if("store.json", b"3", tag)
    assert not place.write_if("store.json", b"4", tag)
    assert not place.write_if("none.json", b"5", tag)
    assert place.names() == ["store.json"]
    assert place.read("store.json") == b"3"


def test_a_store_on_this_machine_is_asked_without_the_companys_proxy(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY is often set without NO_PROXY; obstore, deltalake and polars reach the
    store all the same, and hosts that NO_PROXY names stay in it.
    """
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("no_proxy", "example.com")
    place = Place("s3://exports/store")
    place.write("a.txt", b"1")
    assert place.read("a.txt") == b"1"
    table = pl.DataFrame({"x": [1, 2]})
    options = place.delta_options
    write_deltalake(place.below("table"), table, storage_options=options)
    held = DeltaTable(place.below("table"), storage_options=options)
    files = [f"s3://exports/{name}" for name in _parquet(held)]
    scanned = pl.scan_parquet(files, storage_options=place.polars_options)
    assert scanned.collect()["x"].to_list() == [1, 2]
    assert os.environ["NO_PROXY"].split(",")[0] == "example.com"


def _parquet(table: DeltaTable) -> list[str]:
    """Keys of a table's files in the bucket."""
    return [uri.removeprefix("s3://exports/") for uri in table.file_uris()]


@pytest.mark.parametrize("is_new", [True, False])
def test_of_many_conditional_writes_at_once_one_succeeds(
    server: Server, is_new: bool
) -> None:
    """An object store decides itself which of several writers was first."""
    place = Place("s3://exports")
    for n_round in range(5):
        name = f"{n_round}.json"
        if not is_new:
            place.write(name, b"start")
        found = place.tagged(name)
        tag = found[1] if found else None
        done: list[bytes] = []

        def write(
            content: bytes, name: str, tag: str | None, done: list[bytes]
        ) -> None:
            if place.write_if(name, content, tag):
                done.append(content)

        writers = [
            threading.Thread(target=write, args=(b"%d" % i, name, tag, done))
            for i in range(6)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert done == [place.read(name)]


def test_addresses_inside_a_place(tmp_path: Path) -> None:
    """They are paths in a folder and URLs in an object store."""
    assert Place(str(tmp_path)).below("a", "b c") == str(tmp_path / "a" / "b c")
    assert Place("s3://exports/x").below("a", "b c") == "s3://exports/x/a/b c"
    assert Place("s3://exports/x").below() == "s3://exports/x"


def test_addresses_are_split_at_the_bucket() -> None:
    """An address is split into bucket (in Azure: container) and key; # and ? belong to
    the key.
    """
    assert objects.split("s3://bucket/a/b#0.json?.gz") == (
        "s3://bucket",
        "a/b#0.json?.gz",
    )
    assert objects.split("gs://bucket/") == ("gs://bucket", "")
    assert objects.split("az://container/folder/x.csv") == (
        "az://container",
        "folder/x.csv",
    )


def test_a_busy_object_store_is_waited_for(server: Server) -> None:
    """More answers of 503 than the few quick retries put up with do no harm."""
    place = Place("s3://exports")
    server.n_busy = 5
    place.write("a.txt", b"1")
    assert server.n_busy == 0
    server.n_busy = 5
    assert place.write_if("b.txt", b"1", None)
    assert place.names() == ["a.txt", "b.txt"]


def test_a_conditional_write_whose_answer_was_lost_has_succeeded(
    server: Server,
) -> None:
    """The repeated request finds its own content there, and no one else's."""
    place = Place("s3://exports")
    for content, tag in ((b"1", None), (b"2", "current")):
        found = place.tagged("a.txt")
        server.n_lost = 1
        assert place.write_if("a.txt", content, tag and found and found[1])
        assert server.n_lost == 0
        assert place.read("a.txt") == content


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "ftp"])
def test_an_object_store_that_does_not_answer_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """The error comes within seconds and names the address, but no secret."""
    secret = "dmVyeXNlY3JldA=="
    key = (
        '{"gcs_base_url": "http://127.0.0.1:9", "disable_oauth": true, '
        '"client_email": "", "private_key": "", "private_key_id": ""}'
    )
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": secret,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:9",
        "AZURE_ALLOW_HTTP": "true",
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_ACCOUNT_KEY": secret,
        "GOOGLE_SERVICE_ACCOUNT_KEY": key,
    }.items():
        monkeypatch.setenv(name, value)
    objects._client.cache_clear()
    place = Place(f"{scheme}://exports/store")
    requests = (
        lambda: place.read("store.json"),
        lambda: place.write("store.json", b""),
        lambda: place.write_if("store.json", b"", None),
        lambda: place.names("scores"),
        lambda: place.remove("store.json"),
    )
    for request in requests if scheme == "s3" else requests[:1]:
        with pytest.raises(StoreError) as caught:
            request()
        message = str(caught.value)
        assert f"{scheme}://exports/store" in message
        assert "credentials in the environment" in message
        assert "\n" not in message
        assert secret not in message
        assert "127.0.0.1" not in message
    objects._client.cache_clear()


def test_a_missing_bucket_is_one_sentence(server: Server) -> None:
    """A place in it can't be written or listed."""
    place = Place("s3://none/store")
    with pytest.raises(StoreError, match=r"s3://none/store/a.txt .*404 Not Found"):
        place.write("a.txt", b"")
    with pytest.raises(StoreError, match=r"s3://none/store/a.txt .*404 Not Found"):
        place.write_if("a.txt", b"", None)
    with pytest.raises(StoreError, match=r"s3://none/store .*404 Not Found"):
        place.names()


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    """A file lies where the folder should be."""
    (tmp_path / "store").write_text("x")
    place = Place(str(tmp_path / "store"))
    with pytest.raises(StoreError, match=r"store.json can't be used \([\w ]+\)$"):
        place.write("store.json", b"")
    with pytest.raises(StoreError, match=r"store.json can't be used \([\w ]+\)$"):
        place.read("store.json")


def test_temporary_files_are_no_files_of_the_place(tmp_path: Path) -> None:
    """What an interrupted write left behind is not listed."""
    place = Place(str(tmp_path))
    place.write("scores/a.parquet", b"")
    (tmp_path / "scores" / f".a.parquet.{os.getpid()}.tmp").write_bytes(b"")
    assert place.names() == ["scores/a.parquet"]


def test_tables_at_a_place_are_read_and_written(place: Place, server: Server) -> None:
    """The storage options suit deltalake and polars, which wait for a busy store too;
    all the rest comes from the environment.
    """
    address = place.below("events")
    rows = pl.DataFrame({"a": [1]})
    if not place.is_local:
        server.n_busy = 3
    write_deltalake(address, rows, storage_options=place.delta_options)
    write_deltalake(address, rows, mode="append", storage_options=place.delta_options)
    table = DeltaTable(address, storage_options=place.delta_options)
    assert table.version() == 1
    if not place.is_local:
        server.n_busy = 3
    files = table.file_uris()
    scanned = pl.scan_parquet(files, storage_options=place.polars_options)
    assert scanned.collect().height == 2
