"""Kinds of events, and which of them count as a person being active.

Readers give every event one of these kinds, whatever name the vendor uses for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

ACTIVE_KINDS = (
    "session_start",
    "session_end",
    "in_app",
    "purchase",
    "message_engaged",
)
"""Kinds that a person causes. They count as active if the study names no events."""


PASSIVE_KINDS = (
    "install",
    "reinstall",
    "reattribution",
    "uninstall",
    "refund",
    "message_sent",
    "subscription_change",
    "erasure",
    "ad_revenue",
    "merge",
    "other",
)
"""Kinds that happen to a person. They count as active only if the study names them."""


EVENT_KINDS = ACTIVE_KINDS + PASSIVE_KINDS

MESSAGE_KINDS = ("message_sent", "message_engaged")
"""Kinds whose number follows the campaigns that are sent, not the days of people."""


def is_active(counts_as_active: Sequence[str]) -> pl.Expr:
    """Whether a row counts as active.

    For any frame with the columns ``event`` and ``kind``. ``counts_as_active`` lists
    event names and kinds (``kind:purchase``); if it is empty, ACTIVE_KINDS count.
    """
    import polars as pl

    if not counts_as_active:
        return pl.col("kind").is_in(ACTIVE_KINDS)
    kinds = []
    names = []
    for entry in counts_as_active:
        if entry.startswith("kind:"):
            kinds.append(entry.removeprefix("kind:"))
        else:
            names.append(entry)
    return pl.col("kind").is_in(kinds) | pl.col("event").is_in(names)


def is_by_people(counts_as_active: Sequence[str] = ()) -> pl.Expr:
    """Whether a row is something that people do on days of their own choice.

    For any frame with the columns ``event`` and ``kind``. Those are the active kinds
    and what the study counts as active, but no messages.
    """
    import polars as pl

    is_done = is_active(()) | is_active(counts_as_active)
    return is_done & ~pl.col("kind").is_in(MESSAGE_KINDS)
