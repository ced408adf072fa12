"""The form in which a study's notebooks are stored, and how JupyterLab keeps to it.

Outputs hold figures and pseudonyms of people, and change with every run. JupyterLab
loads this module as an extension of its server, which saves the notebooks of a study
without them; what is on the screen stays there.
"""

from pathlib import Path
from typing import Any

import nbformat

INJECTED = "injected-parameters"
"""Tag of the cell in which papermill puts the given parameters."""

METADATA = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}
"""Metadata of every notebook in git."""


def text_of(notebook: Path) -> str:
    """The text of a notebook file as it is stored in git."""
    bare = stored_form(nbformat.read(notebook, as_version=4))
    return str(nbformat.writes(bare, indent=1)) + "\n"


def stored_form(node: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook as it is stored in git.

    Without outputs, counts, given parameters and volatile metadata; cell ids count the
    position.
    """
    kept = [
        cell for cell in node.cells if INJECTED not in cell.metadata.get("tags", [])
    ]
    cells = [_bare(cell, position) for position, cell in enumerate(kept)]
    stored: nbformat.NotebookNode = nbformat.v4.new_notebook(
        cells=cells, metadata=METADATA, nbformat_minor=5
    )
    return stored


def _bare(
    cell: Any,
    position: int,
) -> Any:
    tags = cell.metadata.get("tags")
    kinds: Any = {
        "code": nbformat.v4.new_code_cell,
        "markdown": nbformat.v4.new_markdown_cell,
        "raw": nbformat.v4.new_raw_cell,
    }
    return kinds[cell.cell_type](
        cell.source.strip(),
        id=f"cell-{position}",
        metadata={"tags": tags} if tags else {},
    )


def is_of_study(notebook: Path) -> bool:
    """Whether a notebook is in the folder ``notebooks`` beside a churn.toml."""
    folder = notebook.parent
    return folder.name == "notebooks" and (folder.parent / "churn.toml").is_file()


def before_saving(
    model: dict[str, Any],
    path: str,
    contents_manager: Any,
) -> None:
    """Replace what JupyterLab is about to save by its stored form.

    Only notebooks of a study are changed. A hook of Jupyter's contents manager.
    """
    if model["type"] != "notebook" or model["content"] is None:
        return
    if is_of_study(Path(contents_manager.root_dir, path).resolve()):
        model["content"] = stored_form(nbformat.from_dict(model["content"]))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    server.contents_manager.register_pre_save_hook(before_saving)
