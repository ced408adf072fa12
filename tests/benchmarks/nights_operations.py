"""What single operations on a store cost, before and after compaction.

Every operation runs in a process of its own, so that its peak memory is its own.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore
import polars as pl
from obstore.store import S3Store

from churn.settings import load
from churn.store import Store, create_or_open

from . import nights_store, usage

HOME = Path(__file__).resolve().parents[2]
BUCKET = "nights"
ONE_BUCKET = 7

Result = dict[str, float]
Row = dict[str, Any]


def read_all(store: Store, table: str) -> None:
    """Read every row of a table."""
    store.scan(table).collect()


def read_bucket(store: Store, table: str) -> None:
    """Read the rows of one bucket of a table."""
    store.scan(table, [ONE_BUCKET]).collect()


def read_last_night(store: Store, table: str) -> None:
    """Read the rows of a table for the last day."""
    store.scan(table).filter(pl.col("date") == store.covered_until).collect()


def append_night(store: Store, folder: str) -> None:
    """Commit the tables of a night, which lie in a folder, one Parquet file each."""
    tables = {file.stem: pl.read_parquet(file) for file in Path(folder).glob("*")}
    nights_store.append(store, tables)


def compact(store: Store, _: str) -> None:
    """Compact every table."""
    nights_store.compact(store)


OPERATIONS: dict[str, Callable[[Store, str], None]] = {
    "commit of a night": append_night,
    "read all": read_all,
    "read one bucket": read_bucket,
    "read the last day": read_last_night,
    "compaction": compact,
}

READS = (
    ("read all", "events"),
    ("read one bucket", "events"),
    ("read all", "activity"),
    ("read one bucket", "activity"),
    ("read the last day", "activity"),
    ("read all", "users"),
    ("read all", "volume"),
)


def measure(operation: str, argument: str, study_file: Path, store: str) -> Result:
    """Processor seconds, seconds and peak memory of one operation in its own process."""
    command = [sys.executable, "-m", f"{__package__}.nights_operations"]
    done = subprocess.run(
        [*command, operation, argument, str(study_file), store],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HOME,
    )
    result: Result = json.loads(done.stdout)
    return result


def main() -> None:
    """Run one operation and print what it cost, as JSON."""
    operation, argument, study_file, where = sys.argv[1:]
    settings = load(study_file).model_copy(update={"store": where})
    store = create_or_open(settings)
    # What is imported at the first use is not part of the operation.
    store.scan("quarantine").collect()
    start = time.perf_counter()
    seconds = usage.processor_seconds(OPERATIONS[operation], store, argument)
    elapsed = time.perf_counter() - start
    result = {"CPU s": seconds, "s": elapsed, "MB": usage.peak_megabytes()}
    print(json.dumps(result))


def compare(study_file: Path, night: Path) -> pl.DataFrame:
    """Measure all operations on the study's store, and on a copy of it on S3.

    ``night`` is a folder with the tables of one night more. Both stores change.
    """
    local = load(study_file).store_path
    with object_store() as bucket:
        copy(local, bucket)
        rows = _before_and_after("local", study_file, str(local), night)
        rows += _before_and_after("S3", study_file, f"s3://{BUCKET}/store", night)
    return pl.DataFrame(rows)


def _before_and_after(
    place: str, study_file: Path, store: str, night: Path
) -> list[Row]:
    rows = []
    operations = [("commit of a night", str(night)), *READS]
    after = [("compaction", ""), *operations]
    for stage, listed in (("before", operations), ("after", after)):
        for operation, argument in listed:
            table = argument if operation.startswith("read") else ""
            row: Row = {"place": place, "stage": stage, "operation": operation}
            row |= {"table": table, **measure(operation, argument, study_file, store)}
            rows.append(row)
            print(row, flush=True)
    return rows


def copy(folder: Path, bucket: S3Store) -> None:
    """Copy the files of a store to an object store."""
    for file in folder.rglob("*"):
        if file.is_file():
            obstore.put(bucket, f"store/{file.relative_to(folder)}", file)


@contextmanager
def object_store() -> Iterator[S3Store]:
    """An empty bucket on a server of the S3 protocol, which is another process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    os.environ |= {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _create_bucket(f"{address}/{BUCKET}")
            yield S3Store(BUCKET)
        finally:
            server.terminate()
            server.wait()


def _create_bucket(address: str) -> None:
    """Create the bucket as soon as the server answers."""
    request = urllib.request.Request(address, method="PUT")
    for _ in range(300):
        try:
            urllib.request.urlopen(request).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"no answer from {address}")


if __name__ == "__main__":
    main()
