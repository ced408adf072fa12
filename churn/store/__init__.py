"""The tables derived from the extracts, written in batches and committed atomically.

``batches`` holds the Store and how it is opened, ``schemas`` the columns of every table
that crosses a module border, ``files`` the atomic replacement of one file, ``places``
files by name on this machine or in an object store, ``objects`` the requests to it, and
``locks`` the lock of a store.
"""

from churn.store.batches import Store, create_or_open, open_filled
from churn.store.files import write_atomically
from churn.store.places import Place

__all__ = ["Place", "Store", "create_or_open", "open_filled", "write_atomically"]
