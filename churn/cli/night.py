"""The command of a scheduler: a whole night, with a line per stage."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from churn.cli.options import Accept, Now, Progress, Send, StudyPath
from churn.errors import BusyError, ChurnError, NotebookError
from churn.report import supervision

Log = Literal["json", "human"]


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command()(nightly)


def nightly(
    study: StudyPath = None,
    send: Send = False,
    accept: Accept = None,
    why: Annotated[
        str, typer.Option(help="Why these are accepted; kept with their days.")
    ] = "",
    now: Now = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
    log: Annotated[
        Log | None,
        typer.Option(help="Form of the lines; default: human on a terminal."),
    ] = None,
    progress: Progress = False,
) -> None:
    """Ingest, check, train when due, score, export and monitor, for a scheduler.

    A night that stopped goes on where it stopped. Prints a line per stage. Exit code 3:
    a gate or limit asks for a decision; 4: try again later.
    """
    if not dry_run:
        _watched(study)
    _load_in_order()
    from churn.nights import lines, night, plan
    from churn.nights.record import Night, Stage
    from churn.nights.stages import Asked
    from churn.settings import find, load

    file = find(study)
    settings = load(file)
    is_json = log == "json" or (log is None and not sys.stdout.isatty())
    asked = Asked(file, settings, send, tuple(accept or ()), why, now, progress)

    def show(one: Night, stage: Stage) -> None:
        content = lines.of_stage(settings, one, stage)
        typer.echo(lines.as_json(content) if is_json else lines.in_words(stage))

    if dry_run:
        begun = night.begun(asked)
        for stage in plan.stages(asked, begun):
            show(begun, stage)
        return
    try:
        done = night.run(asked, show)
    except BusyError as error:
        if is_json:
            typer.echo(lines.as_json(lines.busy(str(error))))
        raise
    end = lines.of_night(settings, done)
    typer.echo(lines.as_json(end) if is_json else end["page"])
    if done.error:
        typer.secho(f"churn: {done.error}", fg="red", err=True)
    raise typer.Exit(done.exit_code)


def _watched(study: Path | None) -> None:
    """Go on in a process that this one watches, and that may be killed.

    What the killed one could not write down any more is written by this one.
    """
    try:
        supervision.go_on_watched(study)
    except NotebookError as error:
        from churn.nights import night
        from churn.settings import find, load

        try:
            night.interrupted(load(find(study)), str(error))
        except ChurnError:
            raise error from None
        raise


def _load_in_order() -> None:
    """Load numpy and scipy before all that a night needs.

    skops, which opens the model, looks each of their functions up in all loaded
    modules, in the order of loading. That costs a second where they were loaded last.
    """
    import scipy.special  # noqa: F401  # loads numpy as well
