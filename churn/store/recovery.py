"""Removal of what a writer that died has left behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from churn.errors import StoreError
from churn.store import delta, grouped
from churn.store.places import Place
from churn.store.tables import Store

STAGING = ".churn-staging-"

SHARED = "staging"
"""Folder of the store for staged rows that processes of other machines share."""

ROOM = 2**20
"""Bytes without which a disk counts as full."""


def recovered(store: Store) -> Store:
    """The store with every table rolled back to the version that is visible.

    Call it under the lock only. If the lock was taken over, the holder before may live
    on; a commit of our own makes sure that it can't make anything visible any more. A
    new store is committed empty, so that tables without a store.json mean damage.
    """
    clean = store
    for table, version in store.versions.items():
        following = f"{table}/_delta_log/{version + 1:020d}.json"
        if store.place.read(following) is not None:
            address = store.place.below(table)
            opened = delta.restored(address, version, store.place.delta_options)
            clean = clean.pinned(table, opened)
    _sweep_staging(store.place)
    grouped.sweep(store.place)
    if store.place.is_local:
        _sweep(Path(store.place.address))
    is_contested = store.lock is not None and store.lock.was_taken_over
    is_new = store.tag is None
    return clean.commit() if is_new or is_contested or clean is not store else clean


def _sweep(root: Path) -> None:
    """Remove temporary files of processes that no longer run."""
    for file in root.rglob(".*.tmp"):
        process_id = int(file.name.split(".")[-2])
        if not _is_alive(process_id):
            file.unlink(missing_ok=True)


def _sweep_staging(place: Place) -> None:
    """Remove what processes that died have staged, for it holds people's rows.

    Outside a local store, a folder may belong to a living process and another store.
    """
    place.remove_below(SHARED)
    _sweep_folders(_parent(place), only_dead=not place.is_local)


def _sweep_folders(parent: Path, only_dead: bool) -> None:
    for folder in parent.glob(f"{STAGING}*"):
        process_id = folder.name.removeprefix(STAGING).split("-")[0]
        is_dead = process_id.isdigit() and not _is_alive(int(process_id))
        if is_dead or not only_dead:
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True)
class Stage:
    """Where the rows of one ingest stand until they are stored.

    Attributes
    ----------
    place: a folder on this machine, or one of the store if other machines work too.
    scratch: the folder in which each process makes one for its own temporary files;
        null for the one that its machine has for all programs.
    """

    place: Place
    scratch: str | None

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """A folder on the disk of this process, removed at the end."""
        if self.scratch is None:
            _sweep_folders(Path(tempfile.gettempdir()), only_dead=True)
        with tempfile.TemporaryDirectory(
            prefix=f"{STAGING}{os.getpid()}-",
            dir=self.scratch,
            ignore_cleanup_errors=True,
        ) as folder:
            yield Path(folder)


@contextmanager
def stage(store: Store) -> Iterator[Stage]:
    """A place for the rows of one ingest, which all its processes reach.

    Everything in it is removed at the end. If the work fails because the disk is full,
    StoreError says so, whatever error it failed with.
    """
    if store.settings.cluster.engine != "local":
        shared = store.place.below(SHARED)
        try:
            yield Stage(Place(shared), None)
        except Exception:
            if store.place.is_local:
                _check_room(Path(shared))
            raise
        finally:
            store.place.remove_below(SHARED)
        return
    with _folder(store.place) as folder:
        yield Stage(Place(str(folder)), str(folder))


@contextmanager
def _folder(place: Place) -> Iterator[Path]:
    """A folder on this machine.

    It lies in a local store, on whose disk there must be room anyway.
    """
    parent = _parent(place)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        prefix = f"{STAGING}{os.getpid()}-"
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(f"{parent} can't be written to ({reason})") from None
    try:
        yield folder
    except Exception:
        _check_room(folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parent(place: Place) -> Path:
    """Where the staging folders of a place lie."""
    return Path(place.address if place.is_local else tempfile.gettempdir())


def _check_room(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath("room").write_bytes(bytes(ROOM))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(
            f"the disk of {folder.parent} can't be written to ({reason}): make room and "
            "run the command again; what was visible before is unchanged"
        ) from None
