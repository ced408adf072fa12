"""The command line as a whole: its groups of commands, and how errors are shown."""

import logging
import sys
from typing import Annotated

import typer

from churn import __version__
from churn.cli import delivery, steps
from churn.cli.options import new_app
from churn.errors import ChurnError

app = new_app(
    "Predict which users will not come back, and write their risk segments to Braze. "
    "Start with `churn demo`; notebooks/README.md shows how to use your own events."
)
steps.add_to(app)
delivery.add_to(app)


def main() -> None:
    """Run the command line; an error of ours becomes one sentence and exit code 1."""
    try:
        app()
    except ChurnError as error:
        typer.secho(
            f"churn: {error}",
            fg="red",
            err=True,
        )
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _start(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log a line per stage.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s %(message)s",
    )
