"""store.json, the small file that names the visible version of each table."""

import json
import secrets
from typing import Any

from churn.errors import StoreError
from churn.store.places import Place

STATE = "store.json"
SCHEMA_VERSION = 3

STORED = (
    "schema_version",
    "versions",
    "bound",
    "inputs",
    "cleaning",
    "covered_until",
    "first_date",
    "salt",
    "n_buckets",
)
"""Attributes of a store that store.json holds."""


def replaced(
    place: Place,
    content: dict[str, Any],
    tag: str | None,
) -> str:
    """Replace the file, whose entity tag was ``tag``; returns the new one.

    Raises StoreError if another process has replaced it since.
    """
    # Two commits must never have the same bytes, because contents are compared.
    marked = {**content, "commit": secrets.token_hex(8)}
    text = json.dumps(marked, indent=1, default=str).encode()
    done = place.write_if(STATE, text, tag)
    now = place.tagged(STATE)
    if not done or now is None or now[0] != text:
        raise StoreError(
            f"another process has written to {place.address} meanwhile; nothing of "
            "this run is visible: run it again"
        )
    return now[1]


def check_current(place: Place, tag: str | None) -> None:
    """Raise StoreError if another state than that of ``tag`` is visible by now."""
    found = place.tagged(STATE)
    if (found[1] if found else None) != tag:
        raise StoreError(
            f"{place.address} has changed since it was opened, and what was visible "
            "then is gone: open it again"
        )
