"""Delivery: the dry run's forecast, requests per second, and the cost of the ledger.

    python -m tests.benchmarks.delivery forecast [--users 200000] [--pace 50 200]
    python -m tests.benchmarks.delivery throughput [--users 1500000] [--delays 0 0.05]
    python -m tests.benchmarks.delivery ledger [--users 10000000] [--url URL]

Servers run in processes of their own, so that none of their work counts as delivery.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from churn.braze import client
from churn.sandbox import server
from churn.settings import Settings

from .delivery_ledger import ledgers
from .delivery_parts import KEY, know, process, scores, send, state, study
from .delivery_throughput import throughput


def forecast(users: int, pace: Sequence[float], workers: int) -> None:
    """Compare dry runs with what the sandbox receives.

    First all users change, then a tenth of them, then none.
    """
    rows = []
    for per_second in pace:
        with tempfile.TemporaryDirectory() as folder, process(server.serve, KEY) as url:
            know(url, scores(users)["identifier"])
            to = study(
                Path(folder), url, requests_per_second=per_second, concurrency=workers
            )
            tenth = scores(users, lambda user: (user % 10 == 0).cast(pl.Int64))
            for what, table in (
                ("all", scores(users)),
                ("a tenth", tenth),
                ("the same", tenth),
            ):
                rows.append(
                    {
                        "pace": per_second,
                        "changed": what,
                        **_compared(to, table, url, what),
                    }
                )
    print(pl.DataFrame(rows))


def _compared(to: Settings, table: pl.DataFrame, url: str, what: str) -> dict[str, Any]:
    before, expected = state(url), send(to, table, "dry", is_sent=False)
    done, after = send(to, table, what), state(url)
    n_requests, n_points = (
        after[name] - before[name] for name in ("n_requests", "n_data_points")
    )
    n_full = -(-expected["n_changed"] // 75)
    n_users = sum(held != before["held"][who] for who, held in after["held"].items())
    return {
        "users": f"{expected['n_changed']} = {n_users}",
        "requests": f"{expected['n_requests']} = {n_requests} (by 75: {n_full})",
        "points": f"{expected['n_data_points']} = {n_points}",
        "minutes": f"{expected['minutes']} ~ {done['minutes_taken']}",
        "off": f"{expected['minutes'] / done['minutes_taken'] - 1:+.1%}"
        if n_requests
        else "",
        "retries": done["n_retries"],
    }


def main() -> None:
    """Run one of the three measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, function, options in (
        (
            "forecast",
            forecast,
            {"users": 200_000, "pace": [50.0, 200.0], "workers": 16},
        ),
        (
            "throughput",
            throughput,
            {
                "users": 1_500_000,
                "delays": [0.0, 0.05],
                "workers": [100],
                "tasks": [100, 16, 8],
                "seconds": 12.0,
            },
        ),
        (
            "ledger",
            ledgers,
            {
                "users": 10_000_000,
                "changed": 0.01,
                "url": os.environ.get("CHURN_TEST_POSTGRES_URL"),
            },
        ),
    ):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        for option, default in options.items():
            several = {"nargs": "+"} if isinstance(default, list) else {}
            kind = type(default[0] if isinstance(default, list) else default or "")
            command.add_argument(f"--{option}", default=default, type=kind, **several)
    arguments = vars(parser.parse_args())
    os.environ[client.KEY_VARIABLE] = KEY
    with pl.Config(
        fmt_str_lengths=60,
        tbl_rows=-1,
        tbl_cols=-1,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        pl.Config.set_tbl_width_chars(160)
        arguments.pop("function")(**arguments)


if __name__ == "__main__":
    main()
