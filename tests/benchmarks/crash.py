"""Exports killed at random moments while the endpoint fails in every way.

    python -m tests.benchmarks.crash [--kills 50] [--users 50000] [--seed 1]

Measured is whether every user is reached, and how many users are written twice. Each
round gives all users a new segment and score and starts an export in a process of its
own. It ends the export with SIGKILL at a moment drawn evenly over the time an export
needs, and exports again, as an operator would, until nothing has changed. The sandbox
has a process of its own too, which survives. A round whose outcome is wrong stops the
benchmark with an AssertionError.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import select

from churn.braze import client, export, pace
from churn.braze.delivery import Delivery, open_ledger
from churn.braze.ledger import history, users
from churn.braze.ledger.database import Ledger
from churn.braze.ledger.tables import ANSWERS, RUNS
from churn.errors import BrazeError
from churn.sandbox import server
from churn.sandbox.faults import Faults
from churn.sandbox.options import Options
from churn.settings import Settings, parse

from .delivery_parts import KEY, PASSED, know, process, scores, state

RATES = {
    **dict.fromkeys(("429_mau", "429_legacy", "429_bare", "500", "503"), 0.01),
    **dict.fromkeys(
        ("hang", "hang_after", "close_before", "close_after", "truncated", "not_json"),
        0.005,
    ),
    **dict.fromkeys(("partial", "partial_no_index", "partial_strings"), 0.005),
}
BRAZE = {"timeout_seconds": 0.5, "quiet_seconds": 1, "requests_per_second": 1000}
HANG_SECONDS = 0.7
"""Time of a hanging answer: above the timeout, below the pause before another run."""

STARTED = "started"
HOME = Path(__file__).resolve().parents[2]


def child(table: Path, run_id: str, braze: str) -> None:
    """Export the scores in a file, with a ledger beside it.

    The process ends with 1 if delivery stopped.
    """
    pace.BACKOFF_SECONDS = 0.01
    scored, to = pl.read_parquet(table), study(table.parent, **json.loads(braze))
    print(STARTED, flush=True)
    try:
        accept = ["change_rate"]
        delivery = Delivery(to, run_id, send=True, accept=accept, progress=False)
        done = export.run(scored, PASSED, delivery)
    except BrazeError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps(done.summary))


def study(folder: Path, **braze: Any) -> Settings:
    """A study whose ledger is in ``folder``."""
    return parse(
        {
            "extracts": [{"source": "table", "path": "x"}],
            "braze": {"ledger": "sqlite:///ledger.db", **braze},
        },
        folder,
    )


def start(table: Path, run_id: str, braze: dict[str, Any]) -> "subprocess.Popen[str]":
    """Start a child, and return once it begins to export.

    It takes the key from the environment.
    """
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.crash",
        "--child",
        str(table),
        run_id,
        json.dumps(braze),
    ]
    running = subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True)
    assert running.stdout
    assert running.stdout.readline().strip() == STARTED
    return running


@dataclass
class Tally:
    """Numbers of runs, and of writes of single users, over all rounds.

    ``again_in_run`` counts users written more than once by one run, as in retries. The
    other three count users written although an earlier run had reached them: a run that
    was killed or stopped before it had recorded that, or a run that ended well, whose
    repeated write Braze had refused.
    """

    rounds: int = 0
    runs: int = 0
    killed: int = 0
    ended_before_the_kill: int = 0
    stopped_by_faults: int = 0
    needed: int = 0
    written: int = 0
    again_in_run: int = 0
    again_after_kill: int = 0
    again_after_stop: int = 0
    again_after_refusal: int = 0
    unknown: int = 0
    rejected: int = 0


@dataclass
class Seen:
    """Users written to the sandbox so far, and users that hold the right values."""

    written: int
    n_right: int


@dataclass
class Place:
    """A sandbox, a ledger, and the values that users are meant to hold."""

    url: str
    folder: Path
    braze: dict[str, Any]
    n: int
    tally: Tally = field(default_factory=Tally)
    wanted: dict[str, dict[str, Any]] = field(default_factory=dict)
    before: Seen = field(default_factory=lambda: Seen(0, 0))
    last_ended: str = ""

    @property
    def scores(self) -> Path:
        """The file from which a child reads the scores."""
        return self.folder / "scores.parquet"


def give(place: Place, number: int) -> None:
    """Give all users new scores, in another segment than in the round before."""
    table = scores(place.n, lambda _: pl.lit(number))
    table.write_parquet(place.scores)
    rows = table.select("identifier", "segment", "score").iter_rows()
    place.wanted = {
        who: {"churn_segment": segment, "churn_score": score}
        for who, segment, score in rows
    }
    place.before = see(place)
    assert place.before.n_right == 0


def see(place: Place) -> Seen:
    """Read the sandbox, which must not have created any user."""
    found = state(place.url)
    assert found["n_created"] == 0
    assert found["held"].keys() == place.wanted.keys()
    return Seen(
        found["n_data_points"] // 2,
        sum(held == place.wanted[who] for who, held in found["held"].items()),
    )


def one_run(place: Place, kill_after: float | None = None) -> float:
    """Run one export, count what it wrote, and return the seconds it took."""
    place.tally.runs += 1
    run_id = f"run-{place.tally.runs}"
    with start(place.scores, run_id, place.braze) as running:
        started = time.monotonic()
        try:
            running.wait(kill_after)
        except subprocess.TimeoutExpired:
            running.kill()
    took = time.monotonic() - started
    count(place, run_id)
    place.last_ended = (
        "well"
        if running.returncode == 0
        else "killed"
        if running.returncode < 0
        else "stopped"
    )
    return took


def count(place: Place, run_id: str) -> None:
    """Split the writes of a run into needed and repeated ones."""
    tally, before, after = place.tally, place.before, see(place)
    with open_ledger(study(place.folder, **place.braze)) as ledger:
        planned = sum(history.runs(ledger).filter(run_id=run_id)["n_users"])
    written, needed = after.written - before.written, after.n_right - before.n_right
    again = min(written - needed, max(0, planned - (place.n - before.n_right)))
    tally.written += written
    tally.needed += needed
    tally.again_in_run += written - needed - again
    tally.again_after_kill += again if place.last_ended == "killed" else 0
    tally.again_after_stop += again if place.last_ended == "stopped" else 0
    tally.again_after_refusal += again if place.last_ended == "well" else 0
    place.before = after


def one_round(place: Place, number: int, kill_after: float) -> None:
    """Kill an export of all users, then export until nothing has changed."""
    give(place, number)
    place.last_ended = ""
    one_run(place, kill_after)
    place.tally.killed += place.last_ended == "killed"
    place.tally.ended_before_the_kill += place.last_ended != "killed"
    finish(place)
    place.tally.rounds += 1


def finish(place: Place) -> None:
    """Export until nothing has changed, then check what every user holds."""
    while place.last_ended != "well" or n_changed(place):
        one_run(place)
        place.tally.stopped_by_faults += place.last_ended == "stopped"
    assert place.before.n_right == place.n
    with open_ledger(study(place.folder, **place.braze)) as ledger:
        check_outcomes(ledger)
        synced = users.synced(ledger)
    assert not synced["unconfirmed"].any()
    assert {
        who: json.loads(held) for who, held, _ in synced.iter_rows()
    } == place.wanted


def n_changed(place: Place) -> int:
    """The number of users that a further export would write."""
    table, to = pl.read_parquet(place.scores), study(place.folder, **place.braze)
    done = export.run(table, PASSED, Delivery(to, "dry", progress=False))
    return int(done.summary["n_changed"])


def check_outcomes(ledger: Ledger) -> None:
    """Assert that each position of each run's plan has exactly one answer."""
    runs = ledger.connection.execute(select(RUNS.c.run, RUNS.c.n_users)).all()
    answers = ledger.connection.execute(
        select(ANSWERS.c.run, ANSWERS.c.first, ANSWERS.c.last).order_by(*ANSWERS.c[:2])
    )
    expected = dict.fromkeys((run for run, _ in runs), 0)
    for run, first, last in answers.all():
        assert first == expected[run], (
            f"run {run}: position {expected[run]} has {first=}"
        )
        expected[run] = last + 1
    short = [(run, expected[run], n) for run, n in runs if expected[run] != n]
    assert not short, f"runs, positions covered, positions planned: {short}"
    assert history.runs(ledger)["pending"].sum() == 0


def main() -> None:
    """Run all rounds and print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in {"kills": 50, "users": 50_000, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    faults = Faults(
        rates=RATES, seed=given.seed, hang_seconds=HANG_SECONDS, retry_seconds=0
    )
    options = Options(burst_limit=None, reset_mode="delta", change_log=0)
    os.environ[client.KEY_VARIABLE] = KEY
    started = time.monotonic()
    with (
        process(server.serve, KEY, options, faults) as url,
        tempfile.TemporaryDirectory(dir=given.folder) as folder,
    ):
        place = Place(url, Path(folder), {**BRAZE, "endpoint": url}, given.users)
        know(url, scores(given.users)["identifier"])
        run_all(place, given.kills, random.Random(given.seed))
        injected = state(url)["faults"]
    print(f"{time.monotonic() - started:.0f} s; faults met: {injected}")
    print(
        "\n".join(
            f"{name:24}{value:>12,}" for name, value in asdict(place.tally).items()
        )
    )


def run_all(place: Place, n_kills: int, draw: random.Random) -> None:
    """Time an export that is left alone, then run rounds until ``n_kills`` have hit."""
    give(place, 0)
    lasts = one_run(place)
    finish(place)
    print(f"left alone, an export takes {lasts:.2f} s", flush=True)
    while place.tally.killed < n_kills:
        before, moment = replace(place.tally), draw.uniform(0, lasts)
        one_round(place, place.tally.rounds + 1, moment)
        n_runs = place.tally.runs - before.runs
        again = place.tally.again_after_kill - before.again_after_kill
        what = "killed" if place.tally.killed > before.killed else "had ended"
        print(
            f"round {place.tally.rounds}: {what} after {moment:.2f} s, "
            f"{n_runs} runs, {again} written again",
            flush=True,
        )
    with open_ledger(study(place.folder, **place.braze)) as ledger:
        place.tally.unknown, place.tally.rejected = (
            history.runs(ledger).select("unknown", "rejected").sum().row(0)
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), *sys.argv[3:])
    else:
        main()
