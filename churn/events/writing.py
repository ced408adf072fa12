"""The lock that lets only one process at a time change the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from churn.events import erasure
from churn.settings import Settings
from churn.store import Place, Store, damage, for_writing, locks, recovery


@contextmanager
def exclusively(settings: Settings) -> Iterator[Store]:
    """The store of these settings, locked against changes by other processes.

    The unfinished work of an earlier process is cleared first: tables are rolled back
    to the versions that are visible, and an interrupted erasure is completed. Raises
    StoreError if another process holds the lock.
    """
    with locks.exclusively(Place(settings.store_address)) as lock:
        store = recovery.recovered(replace(for_writing(settings), lock=lock))
        with damage.explained(store):
            if store.cleaning:
                store, _ = erasure.erase(store)
            yield store
