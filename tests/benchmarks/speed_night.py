"""The speed of a whole night on the demo's app: `churn nightly` for one day more."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from .speed_measure import Options, Row, Work, alternately, compared, cost

IMPORTS = "import polars, sklearn.linear_model"
CHURN = (sys.executable, "-m", "churn.cli")


def rows(given: Options) -> Iterator[Row]:
    """A night, with its export as a dry run, against an import of two libraries."""
    app = given.folder / "app"
    cost(prepared, app)
    night = (one_night, app)
    imports = (command, (sys.executable, "-c", IMPORTS))
    ours, peer = alternately(given.repeat, night, imports)
    yield compared(
        f"`churn nightly` on the demo's app, against `{IMPORTS}`", ours, peer
    )


def command(arguments: tuple[str, ...]) -> Work:
    """Work that runs a command; what it prints is shown only if it fails."""
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def work() -> None:
        done = subprocess.run(
            arguments,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            print(done.stdout, file=sys.stderr)
        done.check_returncode()

    return work


def churn(name: str, study_file: Path, *arguments: str) -> Work:
    """Work that runs a command of churn on a study."""
    return command((*CHURN, name, *arguments, "--study", str(study_file)))


def prepared(app: Path) -> Work:
    """Work that makes the demo's app, ingested and trained on all but the last day.

    The rows of the last day are in ``app/last_day``, a copy of the store is in
    ``app/before``.
    """

    def work() -> None:
        if (app / "before").exists():
            return
        shutil.rmtree(app, ignore_errors=True)
        command((*CHURN, "simulate", str(app), "--no-progress"))()
        hold_back_last_day(app / "raw", app / "last_day")
        study_file = app / "churn.toml"
        churn("ingest", study_file, "--no-progress")()
        churn("run", study_file, "train", "--no-progress")()
        shutil.copytree(app / "store", app / "before")

    return work


def hold_back_last_day(raw: Path, aside: Path) -> None:
    """Move the rows of the last day into files of their own in another folder.

    The names of AppsFlyer reports end with their first and last day.
    """
    aside.mkdir()
    last = max(file.stem.rpartition("_")[2] for file in raw.iterdir())
    for file in raw.glob(f"*_{last}.csv"):
        report = pl.read_csv(file, infer_schema=False)
        is_last = pl.col("Event Time").str.starts_with(last)
        file.unlink()
        report.filter(~is_last).write_csv(file)
        report.filter(is_last).write_csv(aside / f"{file.stem}_only.csv")


def one_night(app: Path) -> Work:
    """Work that runs a night, on the store as it was before the last day's files."""
    shutil.rmtree(app / "store")
    shutil.copytree(app / "before", app / "store")
    shutil.copytree(app / "last_day", app / "raw", dirs_exist_ok=True)
    return churn("nightly", app / "churn.toml")
