"""The speed of features: ours from a store, beside DuckDB's from the same files."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.kinds import ACTIVE_KINDS
from churn.store import Store
from churn.store.layout import period
from churn.store.parts import Part

from . import peer_duckdb, speed_store
from .speed_measure import Options, Parts, Row, Step, Work, alternately, compared, cost

N_CUTOFFS = 12


def rows(given: Options) -> Iterator[Row]:
    """Features at one cutoff and at twelve, against DuckDB, and twelve against one."""
    folder = given.folder / f"store-{given.events}"
    cost(speed_store.made, folder, given.events)
    steps = [
        step
        for n_cutoffs in (1, N_CUTOFFS)
        for step in (
            (observed, folder, n_cutoffs),
            duckdb_step(folder, n_cutoffs),
        )
    ]
    one, peer, many, many_peer = alternately(given.repeat, *steps)
    for ours, theirs in ((one, peer), (many, many_peer)):
        assert ours.parts["rows"] == theirs.parts["rows"], "other users are eligible"
    n_ours, n_theirs = one.parts["columns"], peer.parts["columns"]
    log = f"{given.events:,} events"
    columns = f"{n_ours} columns, DuckDB {n_theirs}"
    yield compared(f"features, {log}, 1 cutoff ({columns})", one, peer)
    yield compared(f"features, {log}, {N_CUTOFFS} cutoffs", many, many_peer)
    what = f"features, {N_CUTOFFS} cutoffs against one"
    yield Row(f"{what} of ours", "s", many.seconds, one.seconds)
    yield Row(f"{what} of DuckDB", "s", many_peer.seconds, peer.seconds)


def observed(folder: Path, n_cutoffs: int) -> Work:
    """Work that observes the newest cutoffs of a store; it counts rows and columns."""
    store = speed_store.opened(folder)
    cutoffs = newest_cutoffs(store, n_cutoffs)
    plan = snapshots.plan(store, max(cutoffs))

    def work() -> Parts:
        snapshot = snapshots.observe(store, cutoffs, plan)
        return {"rows": snapshot.height, "columns": snapshot.width - 2}

    return work


def duckdb_step(folder: Path, n_cutoffs: int) -> Step:
    """The same cutoffs with DuckDB, whose process imports nothing of ours."""
    store = speed_store.opened(folder)
    cutoffs = newest_cutoffs(store, n_cutoffs)
    windows = store.settings.windows
    start = min(cutoffs) - timedelta(days=windows.observation_days)
    arguments: dict[str, Any] = {
        "files": activity_files(store, start),
        "cutoffs": cutoffs,
        "observation_days": windows.observation_days,
        "eligible_days": windows.eligible_days,
        "active_kinds": ACTIVE_KINDS,
        "events": snapshots.plan(store, max(cutoffs)).vocabulary,
    }
    return (peer_duckdb.features, *arguments.values())


def activity_files(store: Store, start: date) -> Sequence[str]:
    """Paths of the files of daily activity for the quarters from a day on."""
    files = store.files("activity", Part(since=period(start)))
    return [store.place.below("activity", path) for path in files["path"]]


def newest_cutoffs(store: Store, n_cutoffs: int) -> list[date]:
    """The study's newest cutoffs, oldest first."""
    calendar = Calendar.of(store)
    return calendar.series(calendar.end, n_cutoffs)
