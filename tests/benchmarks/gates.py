"""Gates on simulated apps: false alarms over clean ones, and which gate speaks when a fault is planted.

python tests/benchmarks/gates.py [--apps 50]
"""

import argparse
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from churn import health, simulate, simulate_exports
from churn.study import Study, parse

STUDY = parse({"extracts": [{"source": "table", "path": "x"}]}, Path())


def volume(rows: pl.DataFrame) -> pl.DataFrame:
    """Events per day and name, as an ingest would count them."""
    counted = rows.group_by(pl.col("time").dt.date().alias("date"), "event").agg(n=pl.len().cast(pl.Int64))
    return counted.with_columns(extract=pl.lit("x"), kind=pl.lit("in_app"), n_without_user=pl.lit(0, pl.Int64))


def failed(rows: pl.DataFrame, cutoff: date, study: Study = STUDY) -> list[str]:
    """Names of the gates that fail at a cutoff."""
    return [str(f["gate"]) for f in health.data(volume(rows), study, cutoff) if not f["passed"]]


def faults(rows: pl.DataFrame, day: date, last: date) -> dict[str, pl.DataFrame]:
    """The same log with one thing wrong."""
    on = pl.col("time").dt.date() == day
    return {
        "a day removed": rows.filter(~on),
        "half a day removed": rows.filter(~(on & (pl.col("time").dt.hour() >= 13))),
        "a day doubled": pl.concat([rows, rows.filter(on)]),
        "an event renamed": rows.with_columns(
            pl.when((pl.col("event") == "af_login") & (pl.col("time").dt.date() == last))
            .then(pl.lit("login_v2"))
            .otherwise("event")
            .alias("event")
        ),
        "a clock shifted by 8 hours": rows.with_columns(
            pl.when(on).then(pl.col("time") + timedelta(hours=8)).otherwise("time").alias("time")
        ),
    }


def main() -> None:
    """Print false alarms, then the gate that speaks for each fault."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--apps", type=int, default=50)
    alarms: Counter[str] = Counter()
    n_apps = parser.parse_args().apps
    for seed in range(n_apps):
        world = simulate.markov(2000, 120, seed)
        alarms.update(failed(simulate_exports.events(world), world.start + timedelta(days=120)) or ["none"])
    print(f"{n_apps} clean apps of 2,000 users, 28 days judged in each: {dict(alarms)}")
    world = simulate.markov(5000, 240, seed=0)
    end = world.start + timedelta(days=240)
    for fault, rows in faults(
        simulate_exports.events(world), end - timedelta(days=10), end - timedelta(days=1)
    ).items():
        print(f"{fault}: {', '.join(failed(rows, end)) or 'no gate speaks'}")


if __name__ == "__main__":
    main()
