"""The sandbox's README names what exists, and all of it."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from churn.sandbox.faults import NAMES
from churn.sandbox.options import CHOICES, Options

HOME = Path(__file__).resolve().parents[2]
README = (HOME / "churn/sandbox/README.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines[1:]]


def names(cells: list[str]) -> set[str]:
    """The words set as code in some cells."""
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_option_and_choice_is_in_the_table() -> None:
    """The table lists the fields of Options, no others, and the values of choices."""
    table = rows("Options")
    assert names([row[0] for row in table]) == {field.name for field in fields(Options)}
    choices = {str(choice) for values in CHOICES.values() for choice in values}
    for choice in choices:
        assert any(choice in cell for row in table for cell in row), choice


def test_every_fault_is_in_the_table() -> None:
    """The table lists the faults that exist, and no others."""
    assert names([row[0] for row in rows("Faults")]) == set(NAMES)


def test_every_point_has_a_test() -> None:
    """The numbers in the README are those in the names of tests, without a gap."""
    tested: set[int] = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for found in re.findall(r"def test_points?_([\d_and]+)_", file.read_text()):
            tested |= {int(number) for number in re.findall(r"\d+", found)}
    listed = [int(row[0]) for row in rows("What it checks")]
    assert listed == list(range(1, 33))
    assert tested == set(listed)


def test_the_picture_is_there_and_small() -> None:
    """The README's picture exists and has less than 150 kB."""
    (picture,) = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert (HOME / "churn/sandbox" / picture).stat().st_size < 150_000


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python example is complete."""
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(example, {})
    assert "sandbox-key" in capsys.readouterr().out
