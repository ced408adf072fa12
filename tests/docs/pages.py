"""The README pages of the repository, their blocks, and the command line as data."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

HOME = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *HOME.glob("README.md"),
        *HOME.glob("data/README.md"),
        *HOME.glob("notebooks/README.md"),
        *HOME.glob("reports/README.md"),
        *(HOME / "churn").rglob("README.md"),
        *(HOME / "tests").rglob("README.md"),
    ]
)
NAMES = [page.relative_to(HOME).as_posix() for page in PAGES]


def text(name: str) -> str:
    """A page by its path in the repository."""
    return (HOME / name).read_text(encoding="utf-8")


def fenced(name: str, language: str) -> list[str]:
    """The code blocks of one language on a page, without the indentation of a list."""
    pattern = rf"^( *)```{language}\n(.*?)^ *```"
    blocks = re.findall(pattern, text(name), re.DOTALL | re.MULTILINE)
    return [re.sub(f"^{indent}", "", block, flags=re.M) for indent, block in blocks]


def between(name: str, marker: str) -> str:
    """What stands between ``<!-- marker -->`` and ``<!-- end marker -->``."""
    after = text(name).split(f"<!-- {marker} -->", 1)[1]
    return after.split(f"<!-- end {marker} -->", 1)[0]


def commands() -> dict[str, Any]:
    """Every command of the command line by its words, such as ``braze check``."""
    from churn.cli import app

    return dict(_commands(typer.main.get_command(app), ()))


def _commands(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        path = (*words, name)
        if hasattr(command, "commands"):
            yield from _commands(command, path)
        else:
            yield " ".join(path), command


def options(command: Any) -> set[str]:
    """The option names of a command, ``--help`` among them."""
    names = {name for parameter in command.params for name in parameter.opts}
    negated = {name for p in command.params for name in p.secondary_opts}
    return names | negated | {"--help"}
