"""Two hundred nights of a simulated app, with what goes wrong in that time.

    python -m tests.benchmarks.two_hundred_nights [--nights 200] [--users 1200]

An app with season, drift and weekly rhythm gets a file a day; 3 % of the rows come a day
late, and on English holidays people do less. Every night is `churn nightly --send`, with
a training when it is due. Planted are, at known nights: a day whose file holds hardly a
row, which can show only when the next day has come, a file with all rows twice, a renamed column, an event under another name, Braze down for a day,
and every tenth night a process that is killed at a random moment.

An operator does what the guide says: a night that stops on a planted fault is started
again once the file is right; one that stops for another reason is looked at, accepted by
name and counted as a needless stop; after a kill, and once Braze is up again, the same
command is started again.

Counted are wrong sends (a profile of the sandbox that is not as the newest scores say
after a night that sent, and what was sent of a day with a planted fault), planted faults
held, needless stops, nights resumed after a kill, and processor seconds of the nights
without training, the first and the last forty.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import holidays
import polars as pl

from churn.braze.key import KEY_VARIABLE
from churn.nights import night
from churn.nights.record import Night, Stage
from churn.nights.stages import Asked
from churn.sandbox import server
from churn.sandbox.faults import Faults
from churn.sandbox.server import Sandbox
from churn.scoring import scores
from churn.settings import load
from churn.simulate import random_worlds
from churn.simulate.appsflyer import user_ids
from churn.simulate.events import events
from churn.store import open_filled

from .common import parser, wide_tables

HISTORY_DAYS = 150
"""Days in the store before the first night."""

LATE = 0.03
QUIET = 0.45
"""Shares: rows that come a day late; rows of a usual day that a holiday has."""

TOML = """
[[extracts]]
source = "table"
path = "raw"
settling_days = 0

[backtest]
n_train_cutoffs = 8
n_test_cutoffs = 3

[gates]
country = "GB"

[braze]
endpoint = "{endpoint}"
retry_seconds = 1
"""

FAULTS = {
    25: "missing_day",
    60: "doubled",
    95: "renamed_column",
    130: "renamed_event",
    150: "braze_down",
    165: "doubled",
    180: "missing_day",
}
"""Planted faults by night."""

EDGE = 40
"""Nights at either end whose cost is compared."""


@dataclass
class App:
    """The simulated app and its folder of extracts."""

    folder: Path
    rows: pl.DataFrame
    first: date

    def of_day(self, day: date) -> pl.DataFrame:
        """What is delivered of a day: its rows without the late ones of tomorrow."""
        return self.rows.filter(pl.col("delivered") == day).drop("delivered")

    def write(self, day: date, rows: pl.DataFrame) -> None:
        """Deliver, or deliver anew, the file of a day."""
        rows.write_parquet(self.folder / f"raw/{day}.parquet")


def app(folder: Path, n_users: int, n_nights: int, seed: int) -> App:
    """The app with its history in the folder of extracts."""
    world = random_worlds.world(n_users, HISTORY_DAYS + n_nights + 2, seed)
    ids = pl.Series("user_id", user_ids(world.n_users))
    rows = events(world)
    named = rows.with_columns(user_id=ids.gather(rows["user"]))
    kept = named.select("user_id", "event", "time", "revenue")
    free = holidays.country_holidays("GB", subdiv="ENG", years=range(2024, 2030))
    day = pl.col("time").dt.date()
    rng = random.Random(seed)
    luck = pl.Series([rng.random() for _ in range(kept.height)])
    is_free = day.is_in(list(free))
    kept = kept.filter(~is_free | (luck < QUIET))
    late = pl.Series([rng.random() < LATE for _ in range(kept.height)])
    delivered = day + pl.when(late).then(pl.duration(days=1)).otherwise(
        pl.duration(days=0)
    )
    first = world.start + timedelta(days=HISTORY_DAYS)
    made = App(folder, kept.with_columns(delivered=delivered), first)
    (folder / "raw").mkdir(parents=True)
    begin = made.rows.filter(pl.col("delivered") < first).drop("delivered")
    begin.write_parquet(folder / "raw/begin.parquet")
    return made


def deliver(made: App, day: date, fault: str) -> None:
    """Put the file of a day there, or what a fault makes of it."""
    rows = made.of_day(day)
    if fault == "missing_day":
        rows = rows.filter(pl.col("time").dt.date() < day)
    if fault == "doubled":
        rows = pl.concat([rows, rows])
    if fault == "renamed_column":
        rows = rows.rename({"time": "happened"})
    if fault == "renamed_event":
        commonest = rows["event"].mode()[0]
        rows = rows.with_columns(pl.col("event").replace({commonest: "renamed"}))
    made.write(day, rows)


def run(study: Path, now: datetime, accept: list[str]) -> Night:
    """One night in this process."""
    asked = Asked(study, load(study), send=True, accept=tuple(accept), now=now)

    def quiet(_: Night, __: Stage) -> None:
        pass

    return night.run(asked, quiet)


def kill_one(study: Path, now: datetime, moment: float) -> bool:
    """Start a night as a process and kill its worker; whether it was still at work."""
    command = [sys.executable, "-m", "churn.cli", "nightly", "--send"]
    stated = ["--study", str(study), "--now", f"{now:%Y-%m-%dT%H:%M:%S}"]
    with subprocess.Popen(
        [*command, *stated], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as started:
        time.sleep(moment)
        found = subprocess.run(
            ["pgrep", "-P", str(started.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        return started.wait() != 0


def wrong_profiles(study: Path, sandbox: Sandbox) -> int:
    """Users whose segment in the sandbox is not that of the newest scores."""
    table = scores.read(open_filled(load(study)))[0]
    wanted = dict(table.drop_nulls("identifier").select("identifier", "segment").rows())
    n_wrong = 0
    for profile in sandbox.state.profiles.values():
        found = profile.attributes.get("churn_segment")
        identifier = profile.identifiers.get("external_id", "")
        n_wrong += found != wanted.get(identifier)
    return n_wrong


@contextmanager
def processor_seconds(into: dict[str, Any]) -> Iterator[None]:
    """Adds the processor seconds of this process and of those it waited for."""
    before = os.times()
    yield
    after = os.times()
    into["seconds"] = sum(after[:4]) - sum(before[:4])


def play(
    made: App,
    study: Path,
    n_nights: int,
    up: Sandbox,
    down: Sandbox,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """All nights, one row for each."""
    rng = random.Random(seed)
    toml = study.read_text()
    pending: tuple[date, str] | None = None
    for number in range(1, n_nights + 1):
        day = made.first + timedelta(days=number - 1)
        now = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
        now += timedelta(hours=4, minutes=15)
        fault = FAULTS.get(number, "")
        row: dict[str, Any] = {"night": number, "fault": fault, "killed": False}
        deliver(made, day, fault)
        is_down = fault == "braze_down"
        study.write_text(toml.replace(up.url, down.url) if is_down else toml)
        n_before = up.state.n_data_points
        if number % 10 == 0:
            row["killed"] = kill_one(study, now, rng.uniform(2, 16))
        accept: list[str] = []
        with processor_seconds(row):
            done = run(study, now, accept)
        row["resumed"] = bool(done.resumes)
        train = done.stages.get("train", Stage("", ""))
        row["trained"] = train.status == "done"
        row["promoted"] = row["trained"] and bool(train.counts.get("promoted"))
        watched = done.stages.get("monitor", Stage("", ""))
        row["monitor"] = watched.counts.get("decision", "")
        row["first_status"] = done.status
        row["needless"] = []
        if fault and not is_down:
            pending = (day, fault)
        if pending:
            shows = pending != (day, "missing_day")
            row["of_fault"] = pending[1] if shows else ""
            row["sent_in_fault"] = shows * (up.state.n_data_points - n_before)
            row["held"] = done.status != "done"
            if row["held"]:
                made.write(pending[0], made.of_day(pending[0]))
                pending = None
                done = run(study, now, accept)
        for _ in range(6):
            if done.status != "decide":
                break
            gates = [name for name in _gates(done.error) if name not in accept]
            row["needless"] += gates
            accept += gates
            done = run(study, now, accept)
        study.write_text(toml)
        row["status"] = done.status
        row["error"] = done.error[:300] if done.status != "done" else ""
        row["wrong"] = 0 if is_down else wrong_profiles(study, up)
        yield row


def _gates(error: str) -> list[str]:
    """The gates or limits that a night asks a decision about."""
    known = (
        "missing_day excess_day vanished_event unknown_users clock_shift bulk_backfill "
        "schema_change mixed_currencies copied_day truncated_report duplicate_rows "
        "match_rate monitor stale_model score_shift calibration stale_data change_rate "
        "max_users older_cutoff"
    )
    return [name for name in known.split() if f"{name}:" in error]


def main() -> None:
    """Play the nights and print what came of them."""
    command = parser(__doc__)
    command.add_argument("--nights", type=int, default=200)
    command.add_argument("--users", type=int, default=2000)
    command.add_argument("--seed", type=int, default=10)
    command.add_argument("--out", type=Path, help="file for a JSON line a night")
    given = command.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = app(folder, given.users, given.nights, given.seed)
        users = made.rows["user_id"].unique().to_list()
        study = folder / "churn.toml"
        with (
            server.running(known_users=users) as up,
            server.running(key=up.key, faults=Faults(rates={"503": 1.0})) as down,
        ):
            os.environ[KEY_VARIABLE] = up.key
            study.write_text(TOML.format(endpoint=up.url))
            rows = []
            for row in play(made, study, given.nights, up, down, given.seed):
                rows.append(row)
                text = json.dumps(row, default=str)
                print(text, flush=True)
                if given.out:
                    with given.out.open("a") as file:
                        file.write(f"{text}\n")
    summarise(rows)


def summarise(rows: list[dict[str, Any]]) -> None:
    """Print the counts that matter."""
    planted = [row for row in rows if row["fault"]]
    held = [row for row in rows if row.get("held")]
    down = [row for row in planted if row["fault"] == "braze_down"]
    later = [row for row in down if row["first_status"] == "later"]
    killed = [row for row in rows if row["killed"]]
    needless = [row for row in rows if row["needless"]]
    plain = [r["seconds"] for r in rows if not r["trained"] and not r["killed"]]
    ends = [sum(part) / len(part) for part in (plain[:EDGE], plain[-EDGE:])]
    found = {
        "nights": len(rows),
        "wrong profiles after a night": sum(row["wrong"] for row in rows),
        "data points sent of a faulty day": sum(
            row.get("sent_in_fault", 0) for row in rows
        ),
        "planted faults held": f"{len(held)} of {len(planted) - len(down)}",
        "nights without Braze that said: try again": f"{len(later)} of {len(down)}",
        "needless stops": f"{len(needless)} ({len(needless) / len(rows):.1%})",
        "by gate": str(Counter(name for row in needless for name in row["needless"])),
        "nights killed and completed": f"{sum(r['status'] == 'done' for r in killed)} of {len(killed)}",
        "nights not done at the end": sum(
            row["status"] != "done" and row["fault"] != "braze_down" for row in rows
        ),
        "trainings": sum(row["trained"] for row in rows),
        "promotions": sum(row["promoted"] for row in rows),
        "said by the monitor": str(Counter(row["monitor"] for row in rows)),
        "processor s a night without training, first 40": round(ends[0], 2),
        "the last 40": round(ends[1], 2),
        "processor s of all nights": round(sum(row["seconds"] for row in rows)),
    }
    with wide_tables(fmt_str_lengths=120):
        print(pl.DataFrame({"what": [*found], "": [str(v) for v in found.values()]}))


if __name__ == "__main__":
    main()
