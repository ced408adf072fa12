"""Options that several commands share, and how a frame is printed on a terminal."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

StudyPath = Annotated[
    Path | None,
    typer.Option("--study", help="Study file; default: the nearest churn.toml."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "-p",
        metavar="NAME=VALUE",
        help="Notebook parameter; repeatable.",
    ),
]


def _on_terminal(wanted: bool) -> bool:
    """Whether to draw bars: a log file would keep every state of them."""
    return wanted and sys.stderr.isatty()


Progress = Annotated[
    bool,
    typer.Option(
        "--progress/--no-progress",
        callback=_on_terminal,
        help="Show progress bars, on a terminal only.",
    ),
]
Accept = Annotated[
    list[str] | None,
    typer.Option(help="Failed gate or passed limit to go on with; repeatable."),
]
Now = Annotated[
    datetime | None,
    typer.Option(help="Time (UTC) to take for the present; default: the clock."),
]
Send = Annotated[
    bool, typer.Option(help="Write to Braze; without it this is a dry run.")
]


def new_app(help_text: str, completion: bool = False) -> typer.Typer:
    """A group of commands whose help is plain text: rich would be slow to load.

    ``completion``: whether it can teach a shell its commands.
    """
    return typer.Typer(
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help=help_text,
    )


def as_text(frame: Any, rows: int = 50) -> str:
    """A polars frame as a terminal shows it: all columns, up to so many rows."""
    import polars as pl

    with pl.Config(
        tbl_rows=rows,
        tbl_cols=-1,
        tbl_width_chars=200,
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        fmt_str_lengths=80,
    ):
        return str(frame)
