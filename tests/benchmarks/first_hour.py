"""What people see in the first hour: notebooks in JupyterLab, and reports.

    python -m tests.benchmarks.first_hour CLONE PICTURES

CLONE is a clone of this repository in which `churn demo` has ended. Every notebook is
run in JupyterLab without a word typed, and the slider of the evaluation is moved.
Every report is opened without a network, wide and narrow, light and dark, and printed.
A line each says what was found; the pictures are to be looked at.
"""

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe

from .. import jupyterlab

WIDTHS = {"phone": 390, "desktop": 1440}
"""Widths of a window in pixels."""


def notebooks(clone: Path, pictures: Path) -> Iterator[str]:
    """Run all notebooks in JupyterLab; gives a line about each, and git's state."""
    with (
        tempfile.TemporaryDirectory() as home,
        jupyterlab.server(clone, Path(home)) as address,
        jupyterlab.browser(viewport={"width": 1440, "height": 1000}) as browser,
    ):
        page = browser.new_page()
        for file in sorted((clone / "notebooks").glob("*.ipynb")):
            started = time.monotonic()
            errors = jupyterlab.run_all(page, address, file.name)
            seconds = time.monotonic() - started
            page.screenshot(path=pictures / f"lab-{file.stem}.png")
            yield f"{file.name}: {seconds:.0f} s, errors: {errors or 'none'}"
            if page.locator("input[type=range]").count():
                yield f"{file.name}: {moved(page)}"
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True
    )
    yield f"git status: {changed.stdout.strip() or 'clean'}"


def moved(page: Any) -> str:
    """Move the slider of a page; what stands beside it, before and after."""
    slider = page.locator("input[type=range]").first
    around = slider.locator("xpath=ancestor::section[1]")
    slider.scroll_into_view_if_needed()
    before = " ".join(around.inner_text().split())
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    after = " ".join(around.inner_text().split())
    return f"slider {'moved' if before != after else 'STUCK'}: {before} -> {after}"


def reports(clone: Path, pictures: Path) -> Iterator[str]:
    """Open all pages below the folder of reports; gives a line about each."""
    pages = sorted((clone / "reports").glob("**/*.html"))
    for scheme in ("light", "dark"):
        for size, width in WIDTHS.items():
            options = {
                "color_scheme": scheme,
                "viewport": {"width": width, "height": 900},
                "offline": True,
            }
            with jupyterlab.browser(**options) as browser:
                for file in pages:
                    name = f"{file.parent.name.split('-')[-2:][0]}-{size}-{scheme}"
                    yield f"{name}: {looked_at(browser, file, pictures / name)}"


def looked_at(browser: Any, file: Path, picture: Path) -> str:
    """Open one page and save its picture and its print; returns what was found."""
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    axe = Axe().run(page)
    too_wide = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    moves = moved(page)[:12] if page.locator("input[type=range]").count() else ""
    page.screenshot(path=f"{picture}.png", full_page=True)
    page.pdf(path=f"{picture}.pdf")
    page.close()
    return (
        f"{file.stat().st_size / 1e3:.0f} kB, axe violations {axe.violations_count}, "
        f"console {said or 'silent'}, {too_wide} px too wide {moves}"
    )


def main() -> None:
    """Print the lines of notebooks and reports."""
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("clone", type=Path)
    command.add_argument("pictures", type=Path)
    given = command.parse_args()
    given.pictures.mkdir(parents=True, exist_ok=True)
    for step in (reports, notebooks):
        for line in step(given.clone.resolve(), given.pictures):
            print(line, flush=True)


if __name__ == "__main__":
    main()
