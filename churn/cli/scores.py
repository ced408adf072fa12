"""The command that gives scores to other programs."""

import re
import sys
from datetime import datetime
from typing import Annotated, Literal, get_args

import typer

from churn.cli.options import StudyPath
from churn.errors import StoreError

Format = Literal["csv", "ndjson", "parquet"]


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command()(scores)


def scores(
    study: StudyPath = None,
    cutoff: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            metavar="DATE",
            help="The day the scores are for; default: the newest that was scored.",
        ),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Default: what --out ends in, else csv."),
    ] = None,
    out: Annotated[
        str,
        typer.Option(metavar="FILE", help="File or s3:// address; default: stdout."),
    ] = "",
    listed: Annotated[
        bool,
        typer.Option("--list", help="Name the cutoffs that were scored, nothing else."),
    ] = False,
) -> None:
    """Write the scores of a day as a table for other programs.

    Its columns stay as they are; data/README.md says what each means. It holds user
    ids, but nobody who was erased.
    """
    chosen = form or format_of(out)
    _check(chosen, out, listed)

    from churn import score_table
    from churn.scoring.scores import cutoffs
    from churn.settings import load
    from churn.store import open_filled

    store = open_filled(load(study))
    if listed:
        for day in cutoffs(store):
            typer.echo(day)
        return
    table = score_table.read(store, cutoff.date() if cutoff else None)
    content = score_table.content(table, chosen)
    if out:
        score_table.save(out, content)
    else:
        _print(content)


def _print(content: bytes) -> None:
    """Write to standard output; a reader who has enough, such as head, may close it."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(
            f"standard output can't be written ({error.strerror})"
        ) from None


def format_of(out: str) -> Format:
    """The format that a file's name ends in; CSV for any other ending.

    >>> format_of("scores.parquet"), format_of("s3://bucket/scores")
    ('parquet', 'csv')
    """
    ending = out.rpartition(".")[2]
    known: tuple[Format, ...] = get_args(Format)
    return next((form for form in known if form == ending), "csv")


def _check(
    form: Format,
    out: str,
    listed: bool,
) -> None:
    """Raise BadParameter for a place that the table can't be written to."""
    if form == "parquet" and not out and not listed:
        raise typer.BadParameter("parquet is written to a file: name one with --out")
    if "://" in out and not re.fullmatch(r"(s3|gs|az)://[^/@]+/.*[^/]", out):
        raise typer.BadParameter(
            "--out takes a file or an address such as s3://bucket/scores.csv (also "
            "gs:// and az://), without credentials"
        )
