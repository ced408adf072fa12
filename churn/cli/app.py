"""The command line as a whole: its groups of commands, and how errors are shown."""

import atexit
import gc
import logging
import sys
from typing import Annotated, NoReturn

import typer

from churn import __version__
from churn.cli import (
    asking,
    beginning,
    delivery,
    models,
    night,
    past,
    receiving,
    scores,
    steps,
)
from churn.cli.options import new_app
from churn.errors import FAILED, ChurnError

app = new_app(
    "Predict which users will not come back, and write their risk segments to Braze. "
    "Start with `churn demo`; notebooks/README.md shows how to use your own events.",
    completion=True,
)
beginning.add_to(app)
steps.add_to(app)
night.add_to(app)
receiving.add_to(app)
models.add_to(app)
past.add_to(app)
asking.add_to(app)
scores.add_to(app)
delivery.add_to(app)


def main() -> None:
    """Run the command line; an error of ours becomes one sentence and its exit code."""
    # Python would look for unused objects once more when the process ends, which takes
    # half a second after a night.
    atexit.register(gc.freeze)
    try:
        app()
    except ChurnError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:
        from churn.store import damage

        if not damage.is_damage(error):
            raise
        _fail(
            "a Parquet file that this command reads is damaged; `churn ingest` names "
            "it if it belongs to the store",
            FAILED,
        )


def _fail(
    sentence: str,
    exit_code: int,
) -> NoReturn:
    typer.secho(
        f"churn: {sentence}",
        fg="red",
        err=True,
    )
    sys.exit(exit_code)


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
