"""Ingest of one large AppsFlyer report: rows per second and peak memory.

    python -m tests.benchmarks.ingest [--rows 20000000]

Beside it stands reading the same columns with `polars.scan_csv` alone. Needs about 900
bytes of disk per row.
"""

import resource
import subprocess
import sys
import tempfile
import time
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


def write(path: Path, n_rows: int) -> None:
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


def scan(folder: Path) -> int:
    """Read the same columns and write them as Parquet; return the number of rows."""
    wanted = {name.lower().replace(" ", "_") for name in ("Event Time", *HEADER)} & set(
        appsflyer.FIELDS.values()
    )
    names = [name for name in HEADER if name.lower().replace(" ", "_") in wanted]
    rows = pl.scan_csv(folder / "report.csv", infer_schema=False).select(names)
    rows.sink_parquet(folder / "columns.parquet")
    return int(
        pl.scan_parquet(folder / "columns.parquet").select(pl.len()).collect().item()
    )


def ingest(folder: Path) -> int:
    """Ingest the report into a store; return the number of rows."""
    settings = parse(
        {"extracts": [{"source": "appsflyer", "path": "report.csv"}]}, folder
    )
    return events.ingest(settings, progress=False).totals["rows"]


def measure(what: str, folder: Path) -> tuple[float, int]:
    """Seconds and peak megabytes of scan or ingest, in a process of its own."""
    command = [sys.executable, "-m", MODULE, "--folder", str(folder), "--only", what]
    seconds, peak = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=HOME
    ).stdout.split()
    return float(seconds), int(peak)


def main() -> None:
    """Print rows per second and peak memory of both, and their ratio."""
    parser = common.parser(__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=["scan", "ingest"])
    given = parser.parse_args()
    if given.only:
        start = time.perf_counter()
        {"scan": scan, "ingest": ingest}[given.only](given.folder)
        print(
            time.perf_counter() - start,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        )
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder / "report.csv", given.rows)
        size = (folder / "report.csv").stat().st_size / 2**30
        print(f"{given.rows:,} rows of AppsFlyer CSV, {size:.1f} GiB")
        results = {what: measure(what, folder) for what in ("scan", "ingest")}
        for what, (seconds, peak) in results.items():
            rate = f"{given.rows / seconds:>10,.0f} rows/s"
            print(f"{what:7} {rate}  {seconds:7.1f} s  peak {peak:,} MB")
        ratio = results["scan"][0] / results["ingest"][0]
        print(f"ratio   {ratio:.2f} of the speed of reading the columns alone")


if __name__ == "__main__":
    main()
