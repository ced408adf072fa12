"""The whole road on an invented app: simulate, six notebooks from ingest to export into
a sandbox, export again.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import typer

from churn.braze.client import KEY_VARIABLE
from churn.errors import InputError
from churn.report import runner
from churn.report.runs import read_metrics
from churn.sandbox import server
from churn.simulate import extracts, markov

MARK = "truth.parquet"  # only a folder that a simulation made is ever removed


def run(
    out: Path, n_users: int, n_days: int, seed: int, progress: bool = True
) -> list[Path]:
    """Make OUT anew and run everything in it; prints each step's outcome and returns
    the run folders.
    """
    _clear(out)
    counts = extracts.write(
        markov.markov(n_users, n_days, seed), out, "appsflyer", progress=progress
    )
    _say(
        f"simulated   {counts['events']:,} in-app events of {n_users:,} users in {counts['files']} AppsFlyer files"
    )
    users = (
        pl.read_parquet(out / MARK, columns=["user_id"])["user_id"].unique().to_list()
    )
    with server.running(known_users=users) as sandbox:
        file = _finish_study(out, sandbox.url)
        os.environ[KEY_VARIABLE] = sandbox.key
        folders = _notebooks(file, out, progress)
        ingested, first, second = (read_metrics(folders[i]) for i in (0, -2, -1))
        _say(
            f"\ningested    {ingested['kept']:,} events, complete until {ingested['covered_until']}"
        )
        _say(
            f"exported    {first['n_sent']:,} users in {first['n_requests_sent']} requests to a sandbox (not Braze)"
        )
        _say(
            f"exported    again: {second['n_sent']} users in {second['n_requests_sent']} requests, none had changed"
        )
        told = ", ".join(
            f"{v} {n:,}"
            for v, n in sandbox.state.attribute_values("churn_segment").items()
        )
        _say(f"sandbox     {told}; {sandbox.state.n_data_points:,} data points")
    _say("\nreports")
    for folder in folders[:-1]:
        _say(f"  {(folder / 'report.html').resolve().as_uri()}")
    return folders


def _say(line: str) -> None:
    typer.echo(line)


def _clear(out: Path) -> None:
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise InputError(
            f"{out} holds something that isn't a demo; choose another folder with --out"
        )
    shutil.rmtree(out, ignore_errors=True)


def _finish_study(out: Path, url: str) -> Path:
    """The simulated study, told where the sandbox listens, where everybody's reports
    are, and to learn from less.
    """
    file = out / "churn.toml"
    text = file.read_text(encoding="utf-8").replace(
        "[braze]", f'[braze]\nendpoint = "{url}"'
    )
    reports = os.path.relpath(Path.cwd() / "reports", out)
    text = text.replace('reports = "reports"', f'reports = "{reports}"')
    file.write_text(f"{text}\n[backtest]\nn_train_cutoffs = 12\n", encoding="utf-8")
    return file


def _notebooks(file: Path, out: Path, progress: bool) -> list[Path]:
    stakes = {"value_per_saved": 20.0, "cost_per_contact": 0.2}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("ingest", {}),
        ("explore", {}),
        ("train", {}),
        ("evaluate", {"truth": str((out / MARK).resolve()), **stakes}),
        ("score", {}),
        ("export", {"send": True}),
    ]
    folders = []
    for name, parameters in [*steps, steps[-1]]:
        folders.append(runner.run(name, file, parameters, progress=progress))
        _say(f"ran         {name}")
    return folders
