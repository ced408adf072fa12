"""The command that begins a study of one's own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn.cli.options import as_text
from churn.errors import StudyError

if TYPE_CHECKING:
    from churn.guessing.extracts import Found, Proposal


def add_to(app: typer.Typer) -> None:
    """Register the command of this module."""
    app.command()(init)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder with extracts, or one file.")],
    out: Annotated[Path, typer.Option(help="The study file to write.")] = Path(
        "churn.toml"
    ),
) -> None:
    """Guess a study from a folder of extracts.

    Shows what was read and what is uncertain, and writes a short study file. A study
    file without events is kept beside the new one; one with events is not replaced.
    """
    from churn.guessing import extracts, study

    _refuse_filled(out)
    found = extracts.of_folder(folder.resolve())
    for line in _report(found, folder):
        typer.echo(line)
    content = study.text(found.proposals, out)
    kept = _set_aside(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(content, encoding="utf-8")
    typer.echo(f"written  {out}{f' (the one before is now {kept})' if kept else ''}")
    named = (
        "" if out.name == "churn.toml" and out.parent == Path() else f" --study {out}"
    )
    typer.echo(f"next     churn ingest{named}, then churn run explore{named}")


def _refuse_filled(out: Path) -> None:
    """Raise StudyError if a study file exists whose store holds events."""
    from churn.settings import load
    from churn.store import create_or_open

    if out.is_file() and create_or_open(load(out)).first_date is not None:
        raise StudyError(
            f"{out} is a study whose store holds events: write another one with "
            "--out PATH, or add the extracts to it by hand"
        )


def _set_aside(out: Path) -> Path | None:
    """Rename an existing study file; returns its new name, null if there is none."""
    if not out.is_file():
        return None
    number = 1
    while (kept := out.with_name(f"{out.stem}.before-{number}.toml")).exists():
        number += 1
    return out.rename(kept)


def _report(
    found: "Found",
    folder: Path,
) -> Iterator[str]:
    """What was read, what wasn't, and what is uncertain."""
    from churn.guessing import study

    for one in found.proposals:
        yield _line(one, folder)
    others = found.unreadable.items()
    yield from (f"not read   {path.name}: {why}" for path, why in list(others)[:10])
    yield f"\n{study.span(found.proposals)}"
    yield as_text(study.events(found.proposals))
    yield as_text(study.first_rows(found.proposals))
    doubts = list(study.doubts(found.proposals))
    yield from _listed("\ncheck", doubts)
    yield ""


def _line(
    one: "Proposal",
    folder: Path,
) -> str:
    sampled = "" if one.n_sampled == one.n_files else f", {one.n_sampled} of them read"
    plural = "file" if one.n_files == 1 else "files"
    where = Path(one.extract.path)
    if where.is_relative_to(folder.resolve()):
        where = folder / where.relative_to(folder.resolve())
    return f"{one.extract.source:10} {where}  ({one.n_files} {plural}{sampled})"


def _listed(
    title: str,
    sentences: Sequence[str],
) -> Iterator[str]:
    for number, sentence in enumerate(sentences):
        yield f"{title if number == 0 else ' ' * len(title.strip())}  {sentence}"
