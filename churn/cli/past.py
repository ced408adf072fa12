"""Commands about runs that are over."""

from itertools import islice
from typing import Annotated

import typer

from churn.cli.options import StudyPath, as_text


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (runs, compare):
        app.command()(command)


def runs(
    study: StudyPath = None,
    n: Annotated[
        int, typer.Option("-n", min=1, help="How many of the newest runs.")
    ] = 20,
) -> None:
    """List the newest runs of notebooks, with what they found.

    Each is done, failed with its reason, running, interrupted (its process is gone), or
    damaged (its manifest can't be read).
    """
    from churn.report import past_runs
    from churn.settings import load

    newest = islice(past_runs.every(load(study).reports_path), n)
    typer.echo(as_text(past_runs.listed(list(newest))))


def compare(
    one: Annotated[str, typer.Argument(help="A run, or STEP:previous.")],
    other: Annotated[str, typer.Argument(help="Another run, or STEP:latest.")],
    study: StudyPath = None,
) -> None:
    """Show what differs between two runs.

    A run is named by its id, the beginning of one, or such as evaluate:latest.
    Compared are parameters, study, versions, store and all recorded figures.
    """
    from churn.report import past_runs
    from churn.settings import load

    reports = load(study).reports_path
    a, b = (past_runs.named(reports, name) for name in (one, other))
    found = past_runs.differences(a, b)
    typer.echo(as_text(found, rows=500) if found.height else "nothing differs")
