"""Notebooks in JupyterLab, as an analyst runs them."""

import shutil
import subprocess
from pathlib import Path

from churn.events import ingest
from churn.settings import load
from churn.simulate import extracts, markov

from .. import jupyterlab

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def git(folder: Path, *arguments: str) -> str:
    """What git prints; its own settings on this machine don't count."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_run_all_shows_the_answer_and_leaves_git_clean(tmp_path: Path) -> None:
    """In a clone whose own study is empty, the notebook opens the demo without a word
    typed, shows its result, and is saved as it was.
    """
    clone = tmp_path / "clone"
    shutil.copytree(NOTEBOOKS, clone / "notebooks")
    (clone / "churn.toml").write_text('[[extracts]]\nsource = "table"\npath = "raw"\n')
    (clone / ".gitignore").write_text("data/\n.ipynb_checkpoints/\n")
    git(clone, "init", "-q")
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "Begin")
    demo = clone / "data" / "demo"
    extracts.write(markov.markov(300, 150, 1), demo, "table", progress=False)
    ingest.ingest(load(demo / "churn.toml"), progress=False)
    with jupyterlab.server(clone, tmp_path) as address, jupyterlab.browser() as browser:
        page = browser.new_page()
        assert jupyterlab.run_all(page, address, "1_explore.ipynb") == []
        page.get_by_text("the demo, since no study of yours holds data").wait_for()
    assert git(clone, "status", "--porcelain") == ""
