"""The lock that lets only one process at a time change the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from filelock import FileLock, Timeout

from churn.errors import StoreError
from churn.events import erasure
from churn.settings import Settings
from churn.store import Store, create_or_open


@contextmanager
def exclusively(settings: Settings) -> Iterator[Store]:
    """The store of these settings, locked against changes by other processes.

    The unfinished work of an earlier process is cleared first: files that were never
    committed are removed, and an interrupted erasure is completed. Raises StoreError if
    another process holds the lock.
    """
    root = create_or_open(settings).root
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".ingest.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"another ingest into {root} is running; wait until it has ended"
        ) from None
    try:
        store = create_or_open(settings)
        store.sweep()
        if store.erasing:
            erasure.erase(store)
        yield replace(store, erasing=False)
    finally:
        lock.release()
