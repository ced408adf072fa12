"""One writer at a time: the lock under which the store is changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from filelock import FileLock, Timeout

from churn.errors import StoreError
from churn.events import privacy
from churn.settings import Settings
from churn.store import Store, create_or_open


@contextmanager
def exclusively(settings: Settings) -> Iterator[Store]:
    """The study's store while nobody else changes it, cleared of what others have left
    unfinished.

    Raises StoreError if another has it.
    """
    root = create_or_open(settings).root
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".ingest.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"another ingest into {root} is running; wait for it to end"
        ) from None
    try:
        store = create_or_open(settings)
        store.sweep()
        if store.erasing:
            privacy.erase(store)
        yield replace(store, erasing=False)
    finally:
        lock.release()
