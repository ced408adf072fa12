"""The kind of each event: what a person did, or what happened to a person.

In this order a kind comes from: a record that merges or erases people; the study; the
vendor's statement; the event's name (``known_names``); its revenue. All other events
are ``in_app``. A purchase with negative revenue is a refund, whoever said so.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from churn.errors import InputError
from churn.events.sources import cells, known_names
from churn.settings import Extract

OF_PEOPLE = ("merge", "erasure")
"""Kinds that say who people are; the study can't give them to other events."""


OPEN_KINDS = ("in_app", "message_sent", "purchase", "refund")
"""Kinds of events that nobody but the readers gave them, in most cases."""


def named_kinds(extract: Extract) -> dict[str, str]:
    """The kinds that the study gives to events, by normalised event name.

    The study may write a name as the vendor does. Raises InputError if two spellings of
    one name have different kinds.
    """
    normalised = cells.event_names(list(extract.kinds))
    kinds: dict[str, str] = {}
    for name, kind in zip(normalised, extract.kinds.values(), strict=True):
        if kinds.setdefault(name, kind) != kind:
            raise InputError(
                f"extract {extract.path}: kinds gives {name} the kinds {kinds[name]} "
                f"and {kind}; remove one of them"
            )
    return kinds


def kind(extract: Extract, stated: pl.Expr | None = None) -> pl.Expr:
    """The kind of each row, from the columns ``event`` and ``revenue``.

    ``stated`` is what the vendor says besides the name; null where it says nothing.
    """
    event, revenue = pl.col("event"), pl.col("revenue")
    said = pl.lit(None, pl.String) if stated is None else stated
    about_people = pl.when(said.is_in(OF_PEOPLE)).then(said)
    by_study = looked_up(event, named_kinds(extract))
    by_revenue = (
        pl.when(revenue > 0)
        .then(pl.lit("purchase"))
        .when(revenue < 0)
        .then(pl.lit("refund"))
    )
    return pl.coalesce(
        about_people,
        *by_study,
        said,
        known_names.kind(event, extract.source),
        by_revenue,
        pl.lit("in_app"),
    )


def with_refunds() -> pl.Expr:
    """The column ``event_kind``; of purchases with negative revenue it is refund."""
    is_refund = (pl.col("event_kind") == "purchase") & (pl.col("revenue") < 0)
    return pl.when(is_refund).then(pl.lit("refund")).otherwise("event_kind")


def renewed(source: str, named: Sequence[str]) -> pl.Expr:
    """The kind that stored events have by today's names, as far as the log can tell.

    Only kinds change that could have come from a name or from revenue. ``named`` are
    the events whose kind the study gives.
    """
    event = pl.col("event")
    by_name = pl.coalesce(known_names.kind(event, source), "event_kind")
    is_open = pl.col("event_kind").is_in(OPEN_KINDS) & ~event.is_in(list(named))
    return pl.when(is_open).then(by_name).otherwise("event_kind").alias("event_kind")


def looked_up(name: pl.Expr, meanings: Mapping[str, str]) -> list[pl.Expr]:
    """Expressions to be coalesced that give each name its meaning, and null otherwise.

    ``replace_strict`` would leave polars' streaming engine, so that all other columns
    had to wait for it in memory.
    """
    expressions: list[pl.Expr] = []
    for meaning in dict.fromkeys(meanings.values()):
        names = [key for key, value in meanings.items() if value == meaning]
        expressions.append(pl.when(name.is_in(names)).then(pl.lit(meaning)))
    return expressions
