"""Kinds of events, and which of them count as a person being active."""

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
    "refund",
    "message_engaged",
)
"""Kinds that a person caused; what an empty ``counts_as_active`` means."""


PASSIVE_KINDS = (
    "install",
    "reinstall",
    "reattribution",
    "uninstall",
    "message_sent",
    "subscription_change",
    "erasure",
    "ad_revenue",
    "merge",
    "other",
)
"""Kinds that happen to a person; never activity unless the study names them."""


EVENT_KINDS = ACTIVE_KINDS + PASSIVE_KINDS


def is_active(counts_as_active: Sequence[str]) -> pl.Expr:
    """True for activity rows that count as active: named events or kinds, else every
    kind a person caused.

    Works on any frame with the columns ``event`` and ``kind``.
    """
    import polars as pl

    kinds = [
        name.removeprefix("kind:")
        for name in counts_as_active
        if name.startswith("kind:")
    ]
    names = [name for name in counts_as_active if not name.startswith("kind:")]
    if not counts_as_active:
        return pl.col("kind").is_in(ACTIVE_KINDS)
    return pl.col("kind").is_in(kinds) | pl.col("event").is_in(names)
