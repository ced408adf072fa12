"""The first page: short, true, and its ten lines of Python run."""

import re
import tomllib
from pathlib import Path

import polars as pl
import pytest

from churn.store import Store

from .pages import HOME, between, fenced, text

STUDY = """
[[extracts]]
source = "table"
path = "events.parquet"

[windows]
observation_days = 28
eligible_days = 14
horizon_days = 14

[backtest]
n_train_cutoffs = 5
n_test_cutoffs = 2

[gates]
max_age_days = 3650
"""
LONGEST = 150  # lines


def project() -> dict[str, object]:
    """The project table of pyproject.toml."""
    content = (HOME / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(content)["project"])


def test_it_is_short() -> None:
    """Whoever opens the repository reads it in a few minutes."""
    assert len(text("README.md").splitlines()) <= LONGEST


def test_the_two_commands_stand_alone_on_their_lines() -> None:
    """They can be copied as they are; .ci/run takes the second one from here."""
    lines = "".join(fenced("README.md", "sh")).splitlines()
    assert lines[:2] == [
        "pip install uv && uv run churn demo",
        "pip install uv && uv run pytest",
    ]


def test_its_ten_lines_of_python_run(
    filled: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On a small study they compare, train, score, and export without sending."""
    (tmp_path / "churn.toml").write_text(STUDY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHURN_STUDY", raising=False)
    (block,) = fenced("README.md", "python")
    assert between("README.md", "front door").strip() == f"```python\n{block}```"
    assert len(block.splitlines()) <= 12
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "chosen less mine" in printed
    assert "dry run" in printed
    (written,) = filled.place.names("scores")
    assert (
        pl.read_parquet(filled.place.below(written))["probability"]
        .is_between(0, 1)
        .all()
    )


def test_the_tree_names_every_package_and_nothing_else() -> None:
    """Each folder of the package is in the tree, and each name there exists."""
    tree = between("README.md", "tree")
    packages = {init.parent.name for init in (HOME / "churn").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/ ", tree, re.M)) == packages
    for name in re.findall(r"^([\w.]+)/? ", tree, re.M):
        assert (HOME / name).exists(), name


def test_the_dependency_table_names_every_dependency() -> None:
    """Each direct dependency has its reason, and nothing else is called one."""
    section = text("README.md").split("## What it is built on")[1].split("\n\n")[1]
    rows = [row.split("|")[2] for row in section.splitlines()[2:]]
    listed = {name.strip() for row in rows for name in row.split(",")}
    entries = project()["dependencies"]
    assert isinstance(entries, list)
    assert listed == {re.split(r"[^\w-]", entry)[0] for entry in entries}
