"""One user: scores with reasons, what Braze was sent, and days with activity."""

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from churn.braze.delivery import open_ledger
from churn.braze.ledger import history
from churn.errors import ChurnError, InputError
from churn.events import erasure
from churn.report import reason_words
from churn.scoring import scores
from churn.store import Store

WEEKS = 8
"""Weeks of activity that are shown."""

MARKS = "·▁▃▅▇"
"""A day without an event, and days with more and more of them."""

MOST_SCORES = 30
"""Number of the newest scores that are shown."""


@dataclass(frozen=True)
class Person:
    """What is known of a user.

    - ``scores``: cutoff, probability, segment, newest first; empty if never scored.
    - ``why``: reasons of the newest score, in words.
    - ``sent``: what Braze has acknowledged, see ``ledger.history.history``.
    - ``activity``: a text per week, oldest first.
    """

    user_id: str
    scores: pl.DataFrame
    why: list[str]
    sent: pl.DataFrame
    activity: list[str]


def look_up(
    store: Store,
    name: str,
) -> Person:
    """A user by user id, by another id as TYPE:VALUE, or by the pseudonym of reports.

    Raises InputError for a name of nobody or of several users.
    """
    user_id = find(store, name)
    scored = scores.of_user(store, user_id, MOST_SCORES)
    return Person(
        user_id,
        scored.select("cutoff", "probability", "segment"),
        _why(store, scored),
        _sent(store, user_id, scored),
        activity(store, user_id),
    )


def find(
    store: Store,
    name: str,
) -> str:
    """The user id that a name means. Raises InputError unless it is exactly one."""
    users = store.scan("users").select("user_id").unique()
    of_id = (
        store.scan("edges")
        .filter((pl.col("id") == name) & ~erasure.is_forgotten())
        .select("user_id")
        .unique()
    )
    is_pseudonym = erasure.pseudonym(store.salt) == name
    for found in (
        users.filter(pl.col("user_id") == name).collect(),
        of_id.collect(),
        users.collect().filter(is_pseudonym),
    ):
        if found.height == 1:
            return str(found["user_id"][0])
        if found.height:
            raise InputError(
                f"{found.height} users share the id {name!r}: give a user id"
            )
    raise InputError(
        f"nobody in the event log is called {name!r}: give a user id, another id as "
        "TYPE:VALUE such as idfa:1A2B, or a pseudonym such as user-1a2b3c4d; people who "
        "were erased can't be found"
    )


def _why(
    store: Store,
    scored: pl.DataFrame,
) -> list[str]:
    """The reasons of the newest score in words; as codes if its model is gone."""
    newest = scored.head(1)
    if newest.is_empty():
        return []
    try:
        words = reason_words.of_scores(store, newest)
    except ChurnError:
        words = newest
    names = [name for name in words.columns if name.startswith("reason_")]
    return [str(text) for text in words.select(names).row(0) if text is not None]


def _sent(
    store: Store,
    user_id: str,
    scored: pl.DataFrame,
) -> pl.DataFrame:
    """What Braze acknowledged under the user's identifier, or else the user id."""
    identifiers = scored["identifier"].drop_nulls().to_list()
    identifier = identifiers[0] if identifiers else user_id
    with open_ledger(store.settings, None) as ledger:
        return history.history(ledger, identifier)


def activity(
    store: Store,
    user_id: str,
) -> list[str]:
    """The last weeks until coverage as marks, Monday first; a text for each week."""
    until = store.covered_until
    if until is None:
        return []
    monday = until - timedelta(days=until.weekday() + 7 * (WEEKS - 1))
    days = (
        store.scan("activity")
        .filter((pl.col("user_id") == user_id) & (pl.col("date") >= monday))
        .group_by("date")
        .agg(pl.col("n").sum())
        .collect()
    )
    counts = dict(days.iter_rows())
    most = max(counts.values(), default=1)
    lines = []
    for week in range(WEEKS):
        start = monday + timedelta(days=7 * week)
        shown = [start + timedelta(days=k) for k in range(7)]
        marks = [_mark(counts.get(day, 0), most) for day in shown if day <= until]
        lines.append(f"{start}  {''.join(marks)}")
    return lines


def _mark(
    n: int,
    most: int,
) -> str:
    if not n:
        return MARKS[0]
    steps = len(MARKS) - 1
    return MARKS[min(steps, 1 + n * steps // (most + 1))]
