"""Commands that answer questions and change nothing."""

import typer

from churn.cli.options import StudyPath


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command()(doctor)


def doctor(study: StudyPath = None) -> None:
    """Say what is missing before a night can run.

    A line per check: ok, warning, or fault with what to do. Exits with 1 after a fault.
    Nothing is asked of Braze; `churn braze check` does that.
    """
    from churn import doctor
    from churn.settings import load

    found = list(doctor.findings(load(study)))
    for finding in found:
        typer.echo(f"{finding.level:<8} {finding.what:<9} {finding.text}")
    if any(finding.level == "fault" for finding in found):
        raise typer.Exit(1)
