"""Notebooks are saved without what running them has added."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from churn.report import stored_form


def executed() -> Any:
    """A notebook with an output, as JupyterLab sends it."""
    shown = new_output("stream", name="stdout", text="user 7f3a left")
    cells = [
        new_markdown_cell("# Who left?", id="cell-0"),
        new_code_cell(
            "study.scores()",
            id="cell-1",
            outputs=[shown],
            execution_count=3,
            metadata={"trusted": True},
        ),
    ]
    return new_notebook(
        cells=cells, metadata={"language_info": {"name": "python", "version": "3"}}
    )


def saved(home: Path, place: str) -> str:
    """The text that JupyterLab would write for an executed notebook."""
    model = {"type": "notebook", "content": executed()}
    (home / place).parent.mkdir(parents=True, exist_ok=True)
    stored_form.before_saving(model, place, SimpleNamespace(root_dir=str(home)))
    return str(nbformat.writes(model["content"]))


def test_a_notebook_of_a_study_is_saved_without_outputs(tmp_path: Path) -> None:
    """What is saved is the stored form, to the last character."""
    (tmp_path / "churn.toml").touch()
    text = saved(tmp_path, "notebooks/4_score.ipynb")
    assert "7f3a" not in text
    assert "execution_count" not in text.replace('"execution_count": null', "")
    file = tmp_path / "notebooks" / "4_score.ipynb"
    file.write_text(text, encoding="utf-8")
    assert stored_form.text_of(file) == text + "\n"


@pytest.mark.parametrize("place", ["notebooks/mine.ipynb", "play/4_score.ipynb"])
def test_other_notebooks_keep_their_outputs(tmp_path: Path, place: str) -> None:
    """A folder of another name, or without a study beside it, is somebody else's."""
    if place.startswith("play"):
        (tmp_path / "churn.toml").touch()
    assert "7f3a" in saved(tmp_path, place)


def test_folders_and_files_are_saved_as_they_are(tmp_path: Path) -> None:
    """Only notebooks have a stored form."""
    model = {"type": "file", "content": "text"}
    stored_form.before_saving(model, "a.txt", SimpleNamespace(root_dir=str(tmp_path)))
    assert model == {"type": "file", "content": "text"}
