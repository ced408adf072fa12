"""A JupyterLab on this machine, and a browser in which its notebooks are run."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .conftest import unavailable

BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu"]
"""Chromium refuses to be root's without the first, and needs no screen."""

LONGEST_MS = 900_000
"""Time that one notebook may take on a slow and crowded machine."""


def chromium() -> str:
    """The path of Chromium; without one, the test is skipped, or fails in CI."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    return found or unavailable("no Chromium on this machine")


@contextmanager
def browser(**options: Any) -> Iterator[Any]:
    """A browser context of Playwright, with options such as color_scheme."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=chromium(), args=BROWSER_OPTIONS
        )
        context = opened.new_context(**options)
        context.set_default_timeout(LONGEST_MS)
        yield context
        opened.close()


@contextmanager
def server(folder: Path, home: Path) -> Iterator[str]:
    """JupyterLab over a folder; gives its address, to which ``path`` can be added.

    ``home`` is its home folder, so that no settings of this machine count.
    """
    token = secrets.token_hex(16)
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--expose-app-in-browser",
        "--ip=127.0.0.1",
        "--port=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}",
    ]
    environment = {**os.environ, "HOME": str(home), "JUPYTER_PREFER_ENV_PATH": "1"}
    with (home / "jupyter.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            yield _address(process, home / "jupyter.log", token)
        finally:
            process.terminate()
            process.wait(30)


def _address(process: Any, log: Path, token: str) -> str:
    """The address that the server writes into its log once it answers."""
    import stamina

    for attempt in stamina.retry_context(
        LookupError, attempts=None, timeout=120, wait_max=0.5
    ):
        with attempt:
            if process.poll() is not None:
                raise RuntimeError(log.read_text(encoding="utf-8"))
            found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())
            if not found:
                raise LookupError
            return f"{found[0]}lab/tree/{{path}}?reset&token={token}"
    raise AssertionError


def run_all(page: Any, address: str, notebook: str) -> list[str]:
    """Open a notebook, run all its cells, save it; returns the texts of its errors."""
    page.goto(address.format(path=f"notebooks/{notebook}"))
    # The page may first show what was open before.
    page.wait_for_function(
        "path => window.jupyterapp?.shell?.currentWidget?.context?.path === path",
        arg=f"notebooks/{notebook}",
    )
    page.evaluate(
        "async () => {"
        "  const widget = window.jupyterapp.shell.currentWidget;"
        "  window.jupyterapp.shell.activateById(widget.id);"
        "  await widget.context.ready;"
        "  await widget.sessionContext.ready;"
        "  await window.jupyterapp.commands.execute('notebook:run-all-cells');"
        "  await window.jupyterapp.commands.execute('docmanager:save');"
        "}"
    )
    return [str(text) for text in page.evaluate(ERRORS)]


ERRORS = """() => {
  const cells = window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON()
    .cells;
  return cells.flatMap(cell => cell.outputs ?? [])
    .filter(output => output.output_type === "error")
    .map(output => `${output.ename}: ${output.evalue}`);
}"""
"""Errors in the outputs of the notebook that is shown."""
