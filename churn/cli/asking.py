"""Commands that answer a question: what a night lacks, what is known of a user."""

import sys
from typing import Annotated

import typer

from churn.cli.options import StudyPath, as_text


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (doctor, user):
        app.command()(command)


def doctor(study: StudyPath = None) -> None:
    """Say what a first night lacks, in the order in which to mend it.

    Study, notebooks, extracts, events, clock, model, scores, key, ledger, reports, disk. Exit code 1 if anything is at fault.
    """
    from churn import doctor as examination

    n_faults = 0
    for point in examination.examine(study):
        n_faults += point.state == "fault"
        typer.echo(f"{point.state:8} {point.name:10} {point.sentence}")
    if n_faults:
        sys.exit(1)


def user(
    name: Annotated[
        str, typer.Argument(help="User id, TYPE:VALUE, or a report's pseudonym.")
    ],
    study: StudyPath = None,
) -> None:
    """Show a user's scores, reasons, what Braze was sent, and days with activity."""
    from churn import person
    from churn.settings import load
    from churn.store import open_filled

    known = person.look_up(open_filled(load(study)), name)
    typer.echo(f"user {known.user_id}\n")
    if known.scores.is_empty():
        typer.echo("never scored: not active in the eligible days before any cutoff")
    else:
        typer.echo(as_text(known.scores))
    for reason in known.why:
        typer.echo(f"  because {reason}")
    typer.echo("\nactivity, a line for each week from Monday")
    for line in known.activity:
        typer.echo(f"  {line}")
    if known.sent.is_empty():
        typer.echo("\nBraze was sent nothing")
    else:
        typer.echo(f"\nBraze was sent\n{as_text(known.sent)}")
