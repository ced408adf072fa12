"""Ingest of one large file: rows per processor second and peak memory.

    python -m tests.benchmarks.ingest [--rows 20000000] [--source table]

The file is an AppsFlyer report, or a Parquet table with or without event ids. Beside
the ingest stands polars alone, which reads the same columns and writes them as Parquet.
Processor seconds are those of a process of its own, its threads and children included.
A report needs about 900 bytes of disk per row, a table 150.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from churn.events import ingest as events
from churn.events.sources import appsflyer
from churn.settings import parse
from churn.simulate.appsflyer import HEADER

from . import common

DAYS = 90
EVENTS = 20
ROWS_PER_USER = 50
MODULE = "tests.benchmarks.ingest"
HOME = Path(__file__).resolve().parents[2]
SOURCES = ("appsflyer", "table", "table-with-ids")
FILES = {"appsflyer": "report.csv"}
TABLE = "table.parquet"


def write_report(path: Path, n_rows: int) -> None:
    """Write a report of all 81 columns, a fifth of its rows from before the log-in."""
    row, user = pl.col("i"), pl.col("i") * 7919 % max(1, n_rows // ROWS_PER_USER)
    seconds = row * (DAYS * 86_400) // n_rows
    text = {
        "Event Time": (
            pl.datetime(2026, 1, 1) + pl.duration(seconds=seconds)
        ).dt.strftime("%Y-%m-%d %H:%M:%S"),
        "Event Name": pl.concat_str(pl.lit("af_event_"), row % EVENTS),
        "Event Value": pl.concat_str(
            pl.lit('{"af_level": "'), row % 97, pl.lit('", "af_content_id": "sku-1"}')
        ),
        "Event Revenue": pl.when(row % 25 == 0).then(pl.lit("4.99")),
        "Event Revenue Currency": pl.when(row % 25 == 0).then(pl.lit("USD")),
        "AppsFlyer ID": pl.concat_str(pl.lit("1767444129504-"), user),
        "Customer User ID": pl.when(row % 5 != 0).then(
            pl.concat_str(pl.lit("cust-"), user)
        ),
        "IDFV": pl.concat_str(
            pl.lit("E7AF8F3A-41BA-452A-ABCE-"), user.cast(pl.String).str.zfill(12)
        ),
        "Platform": pl.lit("ios"),
        "App ID": pl.lit("id1500000001"),
        "Country Code": pl.lit("US"),
        "Media Source": pl.lit("example_network_int"),
        "Campaign": pl.lit("spring_ua_2026"),
        "Is Primary Attribution": pl.lit("true"),
        "User Agent": pl.lit("ExampleApp/4120 CFNetwork/1494.0.7 Darwin/23.4.0"),
        "App Version": pl.lit("4.12.0"),
        "SDK Version": pl.lit("v6.15.1"),
        "App Name": pl.lit("Example App"),
    }
    columns = [text.get(name, pl.lit(None, pl.String)).alias(name) for name in HEADER]
    pl.LazyFrame({"i": pl.int_range(n_rows, eager=True)}).select(columns).sink_csv(path)


def write_table(path: Path, n_rows: int, has_ids: bool) -> None:
    """Write a table of events, a twenty-fifth of which have revenue."""
    row, drawn = pl.col("i"), pl.col("i").hash(seed=1)
    milliseconds = row * (DAYS * 86_400_000) // n_rows
    time = pl.datetime(2026, 1, 1) + pl.duration(milliseconds=milliseconds)
    user = drawn % max(1, n_rows // ROWS_PER_USER)
    cents = drawn % 9_973
    columns = {
        "user_id": pl.concat_str(pl.lit("cust-"), user),
        "event": pl.concat_str(pl.lit("event_"), drawn % EVENTS),
        "time": time.dt.replace_time_zone("UTC"),
        "revenue": pl.when(drawn % 25 == 0).then(cents / 100),
    }
    if has_ids:
        columns["event_id"] = row.hash(seed=2).cast(pl.String)
    rows = pl.LazyFrame({"i": pl.int_range(n_rows, eager=True)})
    rows.select(**columns).sink_parquet(path)


def write(source: str, folder: Path, n_rows: int) -> Path:
    """Write the file that is ingested; return its path."""
    path = folder / FILES.get(source, TABLE)
    if source == "appsflyer":
        write_report(path, n_rows)
    else:
        write_table(path, n_rows, has_ids=source == "table-with-ids")
    return path


def scan(source: str, folder: Path) -> None:
    """Read the same columns and write them as Parquet."""
    path = folder / FILES.get(source, TABLE)
    if source == "appsflyer":
        wanted = set(appsflyer.FIELDS.values())
        names = [name for name in HEADER if name.lower().replace(" ", "_") in wanted]
        rows = pl.scan_csv(path, infer_schema=False).select(names)
    else:
        rows = pl.scan_parquet(path)
    rows.sink_parquet(folder / "columns.parquet")


def ingest(source: str, folder: Path) -> None:
    """Ingest the file into a store."""
    extract = {
        "source": source.split("-")[0],
        "path": FILES.get(source, TABLE),
    }
    events.ingest(parse({"extracts": [extract]}, folder), progress=False)


def measure(what: str, source: str, folder: Path) -> tuple[float, int]:
    """Processor seconds and peak megabytes of scan or ingest, in an own process."""
    command = [sys.executable, "-m", MODULE, "--source", source]
    command += ["--folder", str(folder), "--only", what]
    seconds, peak = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=HOME
    ).stdout.split()
    return float(seconds), int(peak)


def spent() -> float:
    """Processor seconds of this process and its children so far."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(who) for who in whose]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Print rows per processor second and peak memory of both, and their ratio."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--source", choices=SOURCES, default="appsflyer")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=["scan", "ingest"])
    given = parser.parse_args()
    if given.only:
        start = spent()
        {"scan": scan, "ingest": ingest}[given.only](given.source, given.folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(spent() - start, peak)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        size = write(given.source, folder, given.rows).stat().st_size / 2**30
        print(f"{given.rows:,} rows of {given.source}, {size:.1f} GiB")
        results = {
            what: measure(what, given.source, folder) for what in ("scan", "ingest")
        }
    for what, (seconds, peak) in results.items():
        rate = f"{given.rows / seconds:>10,.0f} rows per processor second"
        print(f"{what:7} {rate}  {seconds:7.1f} s  peak {peak:,} MB")
    ratio = results["ingest"][0] / results["scan"][0]
    print(f"ratio   {ratio:.1f} times the processor time of reading the columns alone")


if __name__ == "__main__":
    main()
