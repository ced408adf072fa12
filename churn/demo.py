"""The demo: every notebook runs on a simulated app, and a sandbox stands for Braze."""

import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import typer

from churn.braze.key import KEY_VARIABLE
from churn.errors import InputError
from churn.report import runner
from churn.report.runs import read_metrics
from churn.sandbox import server
from churn.settings import TRUTH
from churn.simulate import extracts, markov

STAKES = {"value_per_saved": 20.0, "cost_per_contact": 0.2}
"""What the evaluation assumes about messages, so that its report shows a profit."""


def run(
    out: Path, n_users: int, n_days: int, seed: int, progress: bool = True
) -> list[Path]:
    """Empty the folder ``out`` and run the demo in it; returns the run folders.

    The second export shows that nothing is sent twice.
    """
    _clear(out)
    world = markov.markov(n_users, n_days, seed)
    counts = extracts.write(world, out, "appsflyer", progress=progress)
    typer.echo(
        f"simulated   {counts['events']:,} in-app events of {n_users:,} users "
        f"in {counts['files']} AppsFlyer files"
    )
    users = pl.read_parquet(out / TRUTH, columns=["user_id"])["user_id"].unique()
    with server.running(known_users=users.to_list()) as sandbox:
        study_file = _finish_study(out, sandbox.url)
        os.environ[KEY_VARIABLE] = sandbox.key
        folders = _run_notebooks(study_file, out, progress)
        _show_delivery(folders, sandbox.state)
    typer.echo("\nreports")
    for folder in folders[:-1]:
        typer.echo(f"  {(folder / 'report.html').resolve().as_uri()}")
    typer.echo(_next(study_file))
    return folders


def _next(study_file: Path) -> str:
    """What to open after the demo, and how to stay with its study."""
    file = study_file.resolve()
    return (
        "\nnext        jupyter lab notebooks/1_explore.ipynb: notebooks open this demo "
        "while\n            no study of yours holds events, or the study that "
        "CHURN_STUDY names\n"
        f"            on the command line: --study {file}"
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
    file.write_text(f"{text}\n[backtest]\nn_train_cutoffs = 12\n", encoding="utf-8")
    return file


def _run_notebooks(
    study_file: Path,
    out: Path,
    progress: bool,
) -> list[Path]:
    truth = str((out / TRUTH).resolve())
    steps: list[tuple[str, dict[str, Any]]] = [
        ("ingest", {}),
        ("explore", {}),
        ("train", {}),
        ("evaluate", {"truth": truth, **STAKES}),
        ("score", {}),
        ("export", {"send": True}),
        ("export", {"send": True}),
    ]
    folders = []
    for name, parameters in steps:
        folders.append(runner.run(name, study_file, parameters, progress=progress))
        typer.echo(f"ran         {name}")
    return folders


def _show_delivery(folders: list[Path], state: Any) -> None:
    """What came in, what the two exports sent, and what the sandbox then held."""
    ingested = read_metrics(folders[0])
    first, second = read_metrics(folders[-2]), read_metrics(folders[-1])
    values = state.attribute_values("churn_segment").items()
    segments = ", ".join(f"{segment} {n:,}" for segment, n in values)
    typer.echo(
        f"\ningested    {ingested['kept']:,} events, "
        f"complete until {ingested['covered_until']}"
    )
    typer.echo(
        f"exported    {first['n_sent']:,} users in {first['n_requests_sent']} requests "
        "to a sandbox (not Braze)"
    )
    typer.echo(
        f"exported    again: {second['n_sent']} users in "
        f"{second['n_requests_sent']} requests, none had changed"
    )
    typer.echo(f"sandbox     {segments}; {state.n_data_points:,} data points")
