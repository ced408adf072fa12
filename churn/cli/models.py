"""The commands on stored models: which one scores, and a person's say in it."""

from typing import Annotated

import typer

from churn.cli.options import StudyPath, as_text, new_app


def add_to(app: typer.Typer) -> None:
    """Register the group of commands of this module."""
    group = new_app("Which stored model scores: the champion.")
    for command in (listed, promote, rollback):
        group.command(name="list" if command is listed else None)(command)
    app.add_typer(group, name="model")


def listed(study: StudyPath = None) -> None:
    """List all stored models, the newest first, and which one is the champion."""
    from churn.model import listing
    from churn.settings import load

    typer.echo(as_text(listing.models(load(study))))


def promote(
    model_id: str,
    study: StudyPath = None,
    why: Annotated[
        str, typer.Option(help="Why; kept with the promotion.")
    ] = "promoted by a person",
) -> None:
    """Let a stored model score from now on."""
    from churn.model import champion
    from churn.settings import load
    from churn.store import Place

    champion.promote(Place(load(study).store_address), model_id, why)
    typer.echo(f"{model_id} scores from now on")


def rollback(study: StudyPath = None) -> None:
    """Let the champion before score again."""
    from churn.model import champion
    from churn.settings import load
    from churn.store import Place

    before = champion.rollback(Place(load(study).store_address))
    typer.echo(f"{before} scores again")
