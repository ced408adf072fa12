"""Measure what a small night costs, most of which is start-up.

python -m tests.benchmarks.night [--users 5000] [--days 240] [--repeat 3]

Simulates an app, ingests it and trains, then runs `churn nightly` as a dry run:
ingest, gates, scores, export, executed notebooks and reports. Prints processor seconds
(user and system, of the process and its children), peak memory and the ratio to an
import of polars and scikit-learn in the same run. Each figure is the least of N; night
and import alternate. The first night, which compiles modules, is not counted.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import common
from .start_up import CONSOLE_SCRIPT, SKLEARN, python, used

BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024
"""In which unit the system states the most memory of a process."""

LIMIT = 5.0
"""The most that a night on the demo's app may cost, as a multiple of the import."""


@dataclass(frozen=True)
class Night:
    """Processor seconds of a night and of the import, and the most memory, in MB."""

    seconds: float
    import_seconds: float
    peak_mb: float

    @property
    def ratio(self) -> float:
        """How many times the import a night costs."""
        return self.seconds / self.import_seconds


def main() -> None:
    """Prepare the app, measure and print."""
    parser = common.parser(__doc__)
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--days", type=int, default=240)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study_file = make_app(Path(folder), given.users, given.days)
        night = measure(study_file, given.repeat)
    verdict = "ok" if night.ratio <= LIMIT else "TOO MUCH"
    print(
        f"churn nightly {night.seconds:.2f} s, {night.peak_mb:.0f} MB; "
        f"{night.ratio:.2f} x {SKLEARN}, wanted {LIMIT}: {verdict}"
    )


def make_app(folder: Path, n_users: int, n_days: int) -> Path:
    """Simulate an app, ingest it, train, and return its study file."""
    study_file = folder / "app" / "churn.toml"
    size = ("--users", str(n_users), "--days", str(n_days))
    study = ("--study", str(study_file), "--no-progress")
    for command in (
        ("simulate", str(study_file.parent), *size, "--no-progress"),
        ("ingest", *study),
        ("run", "train", *study),
    ):
        subprocess.run([CONSOLE_SCRIPT, *command], check=True, stdout=subprocess.PIPE)
    return study_file


def measure(study_file: Path, repeat: int) -> Night:
    """Run nights of a trained app, and imports between them."""
    command = (str(CONSOLE_SCRIPT), "nightly", "--study", str(study_file))
    nights, imports = [], []
    for _ in range(repeat + 1):
        nights.append(used(command, study_file.parent))
        imports.append(used(python(SKLEARN), study_file.parent))
    return Night(
        min(usage.ru_utime + usage.ru_stime for usage in nights[1:]),
        min(usage.ru_utime + usage.ru_stime for usage in imports[1:]),
        max(usage.ru_maxrss for usage in nights) * BYTES_OF_MAXRSS / 1e6,
    )


if __name__ == "__main__":
    main()
