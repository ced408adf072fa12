"""The lock that lets only one process at a time change the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from churn.events import erasure
from churn.settings import Settings
from churn.store import Store, create_or_open, locks


@contextmanager
def exclusively(settings: Settings) -> Iterator[Store]:
    """The store of these settings, locked against changes by other processes.

    The unfinished work of an earlier process is cleared first: files that were never
    committed are removed, and an interrupted erasure is completed. Raises StoreError if
    another process holds the lock.
    """
    place = create_or_open(settings).place
    with locks.exclusively(place):
        store = create_or_open(settings)
        store.sweep()
        if store.erasing:
            erasure.erase(store)
        yield replace(store, erasing=False)
