"""The tables derived from the extracts, made visible together by one small file.

``tables`` holds the Store, ``opening`` how it is opened, ``state`` its store.json,
``delta`` a single Delta table, ``parts`` how rows are divided into its folders,
``compaction`` how tables are kept small, ``cleaning`` how old files are removed,
``recovery`` what follows a crash, ``damage`` how damaged files are named, ``schemas``
the columns of every table that crosses a module border, ``inputs`` the settings that
stored rows depend on, ``places`` files by name on this machine or in an object store,
``objects`` the requests to it, and ``locks`` the lock of a store.
"""

from churn.store.files import write_atomically
from churn.store.opening import create_or_open, for_writing, open_filled
from churn.store.places import Place
from churn.store.tables import Store

__all__ = [
    "Place",
    "Store",
    "create_or_open",
    "for_writing",
    "open_filled",
    "write_atomically",
]
