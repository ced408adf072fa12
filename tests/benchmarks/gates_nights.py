"""The day gates night by night: real logs, and simulated apps with campaigns.

python -m tests.benchmarks.gates_nights [--data FOLDER] [--apps 5]

One night a week is played, with what was known by then. Refused are nights on which a
day gate fails although nothing was planted. On every other night three faults are
planted, each on the last day and on the tenth last: a day removed, its hours from 13:00
on removed, and a day doubled. A fault counts as caught if its gate names its day. Days
with fewer than MIN_ROWS rows are left out, since a closed day has nothing to lose.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churn.scoring import gates
from churn.settings import Settings, parse
from churn.store.schemas import Files

from .common import DATA, parser
from .gates import DAY, app, counted

DAY_GATES = ("missing_day", "excess_day", "vanished_event", "copied_day")
FIRST_NIGHT = timedelta(days=63)
"""Length of the log at its first night: the judged window and its reference weeks."""

MIN_ROWS = 20
KINDS = {"purchase": "purchase", "return": "refund", "message_received": "message_sent"}
"""Kinds of the real logs' events; all others are in_app."""

COUNTRIES = {"online_retail_ii": "GB", "oulad_vle": "GB", "collegemsg": "US"}
CAMPAIGN_EVERY = timedelta(days=14)
OPEN_RATE = 0.2
"""Share of a campaign's messages that are opened on the same day."""


def study(country: str | None = None) -> Settings:
    """A study with all settings at their default but the country."""
    extracts = [{"source": "table", "path": "x"}]
    found = {"country": country} if country else {}
    return parse({"extracts": extracts, "gates": found}, Path())


def real_log(file: Path) -> pl.DataFrame:
    """The rows of a real log, as ``gates.counted`` takes them."""
    whole = pl.read_parquet(file)
    content = whole.hash_rows(seed=0).alias("content")
    rows = whole.select("user_id", "event", "time", content)
    kind = pl.col("event").replace_strict(KINDS, default="in_app")
    nothing = pl.lit(None, pl.String)
    return rows.with_columns(
        kind=kind,
        platform=pl.lit(""),
        country=nothing,
        revenue=pl.lit(None, pl.Float64),
        currency=nothing,
        known_date=pl.lit(None, pl.Date),
    )


def campaign_app(seed: int, n_users: int = 2000, n_days: int = 343) -> pl.DataFrame:
    """A simulated app in which everybody gets a message on one day in fourteen.

    Everybody is whoever has been seen by then. A fifth opens it on the same day.
    """
    rows, _ = app(n_users, n_days, seed)
    done = rows.with_columns(kind=pl.lit("in_app"))
    rng = np.random.default_rng([seed, 4])
    first = rows.group_by("user_id").agg(
        pl.col("time").min(), pl.col("platform").last()
    )
    start = rows["time"].min()
    assert start is not None
    noon = start.replace(hour=12, minute=0, second=0, microsecond=0)
    parts = [done]
    for sent_at in [noon + k * CAMPAIGN_EVERY for k in range(1, n_days // 14)]:
        people = first.filter(pl.col("time") < sent_at)
        sent = people.with_columns(
            time=pl.lit(sent_at),
            event=pl.lit("email_sent"),
            kind=pl.lit("message_sent"),
        )
        opened = people.filter(pl.Series(rng.random(people.height) < OPEN_RATE))
        opened = opened.with_columns(
            time=pl.lit(sent_at + timedelta(hours=2)),
            event=pl.lit("email_open"),
            kind=pl.lit("message_engaged"),
        )
        parts += [sent, opened]
    return pl.concat(parts, how="diagonal_relaxed").sort("time")


def nights(rows: pl.DataFrame) -> list[date]:
    """A cutoff a week, from the first night to the day after the last."""
    days = rows.select(DAY).to_series()
    first, last = days.min(), days.max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    n_weeks = (last + timedelta(days=1) - first - FIRST_NIGHT).days // 7
    return [first + FIRST_NIGHT + timedelta(weeks=k) for k in range(n_weeks + 1)]


def failing(rows: pl.DataFrame, cutoff: date, settings: Settings) -> dict[str, str]:
    """The day gates that fail at a cutoff, each with the days it names."""
    recent = rows.filter(cutoff > DAY, cutoff - timedelta(days=180) <= DAY)
    volume, tally = counted(recent)
    findings = gates.data(volume, tally, Files.create_empty(), settings, cutoff)
    return {
        f["gate"]: f["days"]
        for f in findings
        if f["gate"] in DAY_GATES and not f["passed"]
    }


def planted(
    rows: pl.DataFrame, day: date
) -> Iterator[tuple[str, tuple[str, ...], pl.DataFrame]]:
    """Logs with a fault on a day: what it is, the gates of which one is due, the rows.

    The doubled rows have no event ids, or the ingest would have dropped the copies.
    """
    on = day == DAY
    late = pl.col("time").dt.hour() >= 13
    yield "removed", ("missing_day",), rows.filter(~on)
    yield "half removed", ("missing_day",), rows.filter(~(on & late))
    twice = pl.concat([rows, rows.filter(on)])
    yield "doubled", ("excess_day", "copied_day"), twice


def play(rows: pl.DataFrame, settings: Settings) -> dict[str, Any]:
    """Nights in all and refused, and of each fault how many were caught of how many."""
    cutoffs = nights(rows)
    refused: Counter[str] = Counter()
    n_refused = 0
    caught: Counter[str] = Counter()
    n_planted: Counter[str] = Counter()
    for cutoff in cutoffs:
        if found := failing(rows, cutoff, settings):
            refused.update(list(found))
            n_refused += 1
            continue
        recent = rows.filter(cutoff - timedelta(days=180) <= DAY)
        for back in (1, 10):
            day = cutoff - timedelta(days=back)
            if rows.filter(day == DAY).height < MIN_ROWS:
                continue
            for fault, due, faulty in planted(recent, day):
                n_planted[fault] += 1
                found = failing(faulty, cutoff, settings)
                caught[fault] += any(str(day) in found.get(gate, "") for gate in due)
    return {
        "nights": len(cutoffs),
        "refused": n_refused,
        "by gate": dict(refused),
        "caught": {k: f"{caught[k]} of {n}" for k, n in n_planted.items()},
    }


def main() -> None:
    """Print a line per log and country."""
    command = parser(__doc__)
    command.add_argument("--data", type=Path, default=DATA)
    command.add_argument("--apps", type=int, default=5)
    arguments = command.parse_args()
    for name, country in COUNTRIES.items():
        rows = real_log(arguments.data / name / "events.parquet")
        for where in (None, country):
            print(name, where or "-", play(rows, study(where)), flush=True)
    for seed in range(arguments.apps):
        print(f"campaigns {seed}", "-", play(campaign_app(seed), study()), flush=True)


if __name__ == "__main__":
    main()
