"""Write a simulated world: extract files, true probabilities and a study file."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from churn.errors import InputError
from churn.settings import Windows
from churn.simulate import appsflyer, named_worlds, random_worlds
from churn.simulate.appsflyer import user_ids
from churn.simulate.bgnbd import bgnbd
from churn.simulate.events import events
from churn.simulate.markov import markov
from churn.simulate.world import World, truth

WORLDS: dict[str, Callable[[int, int, int], World]] = {
    "markov": markov,
    "bgnbd": bgnbd,
    "random": random_worlds.world,
    "names": named_worlds.world,
}
"""Worlds by the names of the command line: (n_users, n_days, seed) → world."""

STUDY = """\
# Study of a simulated app; truth.parquet beside it holds the true churn probabilities.
store = "store"
reports = "reports"
now = {now}  # the present of this app: the day after its last

[[extracts]]
source = "{source}"
path = "raw"
settling_days = 0

{activity}[windows]
{windows}

[braze]
ledger = "sqlite:///store/ledger.db"
"""


def write(
    world: World,
    out: Path,
    source: str,
    windows: Windows | None = None,
    progress: bool = False,
) -> dict[str, int]:
    """Write out/raw (the extracts), out/truth.parquet and out/churn.toml.

    ``source`` is a key of ``WRITERS``. Returns the number of users, events and files.
    Raises InputError if there is a raw folder already: extracts are never overwritten.
    """
    windows = windows or Windows()
    raw = out / "raw"
    if raw.exists():
        raise InputError(f"{raw} exists already; choose another folder or remove it")
    raw.mkdir(parents=True)
    rows = events(world)
    n_files = WRITERS[source](world, rows, raw, progress)
    ids = pl.DataFrame(
        {"user": np.arange(world.n_users), "user_id": user_ids(world.n_users)}
    )
    probabilities = truth(world, windows, progress)
    named = probabilities.join(
        ids,
        on="user",
        maintain_order="left",
    )
    columns = named.select("user_id", "cutoff", "probability")
    columns.write_parquet(out / "truth.parquet")
    keys = [f"{name} = {value}" for name, value in windows.model_dump().items()]
    now = world.start + timedelta(days=world.n_days)
    study = STUDY.format(
        now=now,
        source=source,
        activity=_activity(world),
        windows="\n".join(keys),
    )
    (out / "churn.toml").write_text(study, encoding="utf-8")
    n_events = rows.filter(report="in_app").height
    return {
        "users": world.n_users,
        "events": n_events,
        "files": n_files,
    }


def _activity(world: World) -> str:
    """The study's table of events that count as active; empty if all do."""
    if len(world.active_names) == len(world.names):
        return ""
    listed = ", ".join(f'"{name}"' for name in world.active_names)
    return f"[activity]\ncounts_as_active = [{listed}]\n\n"


def write_table(
    world: World, rows: pl.DataFrame, folder: Path, progress: bool = False
) -> int:
    """Write one events.parquet and return 1, the number of files.

    Columns: user_id, event (with install and uninstall), time, revenue.
    """
    ids = pl.Series("user_id", user_ids(world.n_users))
    event = pl.col("event").replace({"af_uninstall": "uninstall"})
    named = rows.with_columns(event, user_id=ids.gather(rows["user"]))
    columns = named.select("user_id", "event", "time", "revenue")
    columns.write_parquet(folder / "events.parquet")
    return 1


WRITERS = {"appsflyer": appsflyer.write, "table": write_table}
"""Writers of extracts by source: (world, rows, folder, progress) → number of files."""
