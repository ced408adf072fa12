"""Removal of data files and log entries that no visible state needs.

A process whose lock was taken over must not remove what the next one has written. So
the lock is checked between the listing of files and their removal: whatever was listed
is then older than the next holder's files.
"""

from __future__ import annotations

import json
import re

from churn.store import delta
from churn.store.layout import TABLES
from churn.store.tables import Store

LOG = "_delta_log"
LAST_CHECKPOINT = "_last_checkpoint"
ENTRY = re.compile(r"(\d{20})\.(json|checkpoint\.parquet)")
"""Name of a log entry, or of a checkpoint, with its version."""


def vacuum(store: Store) -> None:
    """Remove all files of older versions, for what must not be kept.

    A reader that has opened an older state can't read it any longer.
    """
    for table in TABLES:
        if table in store.versions:
            remove_files(store, table)
        else:
            # A process that died may have written it.
            _remove(store, store.place.names(table))


def remove_files(store: Store, table: str, keep: int | None = None) -> None:
    """Remove data files that a table lacks at its pinned version and at ``keep``."""
    names = store.place.names(table)
    versions = {store.versions[table]} | ({keep} if keep is not None else set())
    needed = {f"{table}/{path}" for v in versions for path in _paths(store, table, v)}
    in_log = f"{table}/{LOG}/"
    old = [n for n in names if n not in needed and not n.startswith(in_log)]
    _remove(store, old)


def summed_up(store: Store, table: str) -> int:
    """Version of the newest checkpoint of a table's log; -1 if it has none."""
    content = store.place.read(f"{table}/{LOG}/{LAST_CHECKPOINT}")
    try:
        return int(json.loads(content or b"")["version"])
    except (ValueError, KeyError, TypeError):
        return -1


def shorten_log(
    store: Store,
    table: str,
    version: int,
) -> None:
    """Sum up a table's log in a checkpoint of ``version``, and remove old entries.

    Entries since the checkpoint before stay, because a reader may have listed them just
    now. Only a visible version will do: if this process dies, tables are rolled back to
    it.
    """
    address = store.place.below(table)
    before = min(summed_up(store, table), version)
    delta.sum_up(address, version, store.place.delta_options)
    old = []
    for name in store.place.names(f"{table}/{LOG}"):
        file = name.rpartition("/")[2]
        entry = ENTRY.fullmatch(file)
        is_needed = int(entry[1]) >= before if entry else file == LAST_CHECKPOINT
        if not is_needed:
            old.append(name)
    _remove(store, old)


def _paths(
    store: Store,
    table: str,
    version: int,
) -> list[str]:
    address = store.place.below(table)
    opened = delta.opened(address, version, store.place.delta_options)
    return delta.files(opened)["path"].to_list()


def _remove(store: Store, names: list[str]) -> None:
    if names and store.lock is not None:
        store.lock.check()
    store.place.remove(*names)
