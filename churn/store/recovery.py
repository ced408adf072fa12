"""What a writer that died has left behind, and how it is cleared."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from churn.store import delta
from churn.store.places import Place
from churn.store.tables import Store

STAGING = ".staging-"


def recovered(store: Store) -> Store:
    """The store with every table rolled back to the version that is visible.

    Call it under the lock only. If the lock was taken over, the holder before may live
    on; a commit of our own makes sure that it can't make anything visible any more.
    """
    clean = store
    for table, version in store.versions.items():
        following = f"{table}/_delta_log/{version + 1:020d}.json"
        if store.place.read(following) is not None:
            address = store.place.below(table)
            opened = delta.restored(address, version, store.place.delta_options)
            clean = clean.pinned(table, opened)
    if store.place.is_local:
        _sweep(Path(store.place.address))
    is_contested = store.tag is not None and store.lock and store.lock.was_taken_over
    return clean.commit() if is_contested or clean is not store else clean


def _sweep(root: Path) -> None:
    """Remove staging folders, and temporary files of processes that no longer run."""
    for folder in root.glob(f"{STAGING}*"):
        shutil.rmtree(folder, ignore_errors=True)
    for file in root.rglob(".*.tmp"):
        process_id = int(file.name.split(".")[-2])
        if not _is_alive(process_id):
            file.unlink(missing_ok=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def staging_folder(place: Place) -> Iterator[Path]:
    """A folder on this machine for the rows of one ingest, removed at the end.

    It lies in a local store, on whose disk there must be room anyway.
    """
    parent = None
    if place.is_local:
        parent = Path(place.address)
        parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=STAGING, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
