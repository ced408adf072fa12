"""The demo: every notebook runs on a simulated app, and a sandbox stands for Braze."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import typer

from churn.braze.key import KEY_VARIABLE
from churn.errors import InputError
from churn.report import runner
from churn.report.runs import read_metrics
from churn.sandbox import server
from churn.settings import TRUTH, load
from churn.simulate import extracts, markov

STAKES = {"value_per_saved": 20.0, "cost_per_contact": 0.2}
"""What the evaluation assumes about messages, so that its report shows a profit."""

STEPS = 7
"""How many steps the demo has."""


def run(
    out: Path,
    n_users: int,
    n_days: int,
    seed: int,
    progress: bool = True,
) -> list[Path]:
    """Empty the folder ``out`` and run the demo in it; returns the run folders.

    After every step a line says what was found. The second export shows that nothing
    is sent twice.
    """
    _clear(out)
    typer.echo(_opening(n_users, n_days))
    folders: list[Path] = []
    steps = _steps(out, markov.markov(n_users, n_days, seed), folders, progress)
    started = time.monotonic()
    for number, (name, found) in enumerate(steps, 1):
        seconds = time.monotonic() - started
        typer.echo(f"{number}/{STEPS} {name:9} {found}  ({seconds:.0f} s)")
        started = time.monotonic()
    typer.echo(_closing(out / "churn.toml", folders[0].parent))
    return folders


def _steps(
    out: Path,
    world: Any,
    folders: list[Path],
    progress: bool,
) -> Iterator[tuple[str, str]]:
    """Do the steps one after the other; gives the name of each and what it found.

    The folder of each run is added to ``folders``.
    """
    counts = extracts.write(world, out, "appsflyer", progress=progress)
    yield (
        "simulate",
        f"{counts['events']:,} events in {counts['files']} AppsFlyer files",
    )
    users = pl.read_parquet(out / TRUTH, columns=["user_id"])["user_id"].unique()
    with server.running(known_users=users.to_list()) as sandbox:
        study_file = _finish_study(out, sandbox.url)
        os.environ[KEY_VARIABLE] = sandbox.key

        order = [segment.name for segment in load(study_file).segments]

        def figures(name: str) -> dict[str, Any]:
            given = _parameters(name, out)
            bar = {"desc": name, "leave": False} if progress else False
            folders.append(runner.run(name, study_file, given, progress=bar))
            return read_metrics(folders[-1])

        yield "ingest", _ingested(figures("ingest"))
        yield "explore", _explored(figures("explore"))
        yield "train", _trained(figures("train"))
        yield "evaluate", _evaluated(figures("evaluate"))
        yield "score", _scored(figures("score"), order)
        first, second = figures("export"), figures("export")
        yield "export", _exported(first, second, sandbox.state.n_data_points)


def _parameters(name: str, out: Path) -> dict[str, Any]:
    """What the demo gives to a notebook beside its defaults."""
    if name == "evaluate":
        return {"truth": str((out / TRUTH).resolve()), **STAKES}
    return {"send": True} if name == "export" else {}


AUDIENCES = """
[[audiences]]
name = "high-risk"
format = "meta"
ids = ["gaid"]
target = "audiences"
segments = ["high"]

[[audiences]]
name = "risk-deciles"
format = "csv"
ids = ["idfv", "gaid"]
form = "raw"
target = "audiences"
"""
"""Lists that the demo writes: for one network, and a plain one of all devices."""


def _opening(n_users: int, n_days: int) -> str:
    return (
        f"An invented app: {n_users:,} users over {n_days} days, from its events to "
        "segments in Braze.\nIt takes about two minutes. Nothing leaves this machine: "
        "a sandbox takes the place of Braze.\n"
    )


def _clear(out: Path) -> None:
    """Remove an older demo; raises an error for a folder that holds something else."""
    if out.exists() and any(out.iterdir()) and not (out / TRUTH).exists():
        raise InputError(
            f"{out} holds something that isn't a demo; choose another folder with --out"
        )
    shutil.rmtree(out, ignore_errors=True)


def _finish_study(out: Path, url: str) -> Path:
    """Complete the simulated study: endpoint, reports, and fewer training cutoffs."""
    file = out / "churn.toml"
    text = file.read_text(encoding="utf-8")
    text = text.replace("[braze]", f'[braze]\nendpoint = "{url}"')
    reports = os.path.relpath(Path.cwd() / "reports", out)
    text = text.replace('reports = "reports"', f'reports = "{reports}"')
    text += f"\n[backtest]\nn_train_cutoffs = 12\n{AUDIENCES}"
    file.write_text(text, encoding="utf-8")
    return file


def _ingested(figures: Mapping[str, Any]) -> str:
    return (
        f"{figures['kept']:,} events kept, {figures['quarantined']} quarantined, "
        f"complete until {figures['covered_until']}"
    )


def _explored(figures: Mapping[str, Any]) -> str:
    days = figures["shortest_horizon_days"]
    if not days:
        return "after no silence that the log can follow do few users return"
    return (
        f"after {days} silent days fewer than {figures['max_return_rate']:.0%} "
        "of users return"
    )


def _trained(figures: Mapping[str, Any]) -> str:
    return (
        f"learned from {len(figures['cutoffs'])} past days: "
        f"{figures['churn_rate']:.0%} of the users active then did not come back"
    )


def _evaluated(figures: Mapping[str, Any]) -> str:
    return (
        f"of the riskiest tenth {figures['churn_rate_top_tenth']:.0%} did not come "
        f"back, of all users {figures['churn_rate']:.0%}"
    )


def _scored(figures: Mapping[str, Any], order: Sequence[str]) -> str:
    counts = [f"{figures['segments'][segment]:,} {segment}" for segment in order]
    return f"risk of {figures['n_scored']:,} active users: {', '.join(counts)}"


def _exported(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    n_written: int,
) -> str:
    """What each of two exports sent, and how many values the sandbox then holds."""
    return (
        f"{first['n_sent']:,} users in {first['n_requests_sent']} requests "
        f"({n_written:,} data points); again: {second['n_sent']}, nothing had changed; "
        f"{_listed(first['audiences'])}"
    )


def _listed(audiences: Sequence[Mapping[str, Any]]) -> str:
    """How many people stand in each list for advertising networks."""
    parts = [f"{one['name']} {one['n_listed']:,}" for one in audiences]
    return f"people in lists: {', '.join(parts)}"


def _closing(study_file: Path, reports: Path) -> str:
    """What to open after the demo, and how to go on with data of one's own."""
    return (
        f"\nread        {(reports / 'index.html').resolve().as_uri()}\n"
        "play        jupyter lab notebooks/1_explore.ipynb\n"
        f"ask         churn runs --study {study_file}\n"
        "own data    churn init FOLDER"
    )
