"""Writes the study's audiences, and removes erased people from what was written."""

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from churn.audiences import files, formats, members, state
from churn.audiences.members import People
from churn.audiences.state import Changes
from churn.events import erasure
from churn.settings.audiences import Audience
from churn.store import Place, Store, locks

log = logging.getLogger(__name__)

Counts = dict[str, Any]
"""What is reported of an audience; see ``counts``."""


def run(
    store: Store,
    scores: pl.DataFrame,
    opted_out: Collection[str],
    send: bool,
    now: datetime | None = None,
) -> list[Counts]:
    """Write the files of every audience of the study; without ``send`` only count.

    ``scores``: those of one cutoff (schemas.Scores). ``opted_out``: user ids that are
    never listed. Returns counts per audience, in the study's order. Raises StoreError
    if a place can't be written to, and BusyError while another process writes.
    """
    audiences = store.settings.audiences
    if not audiences or scores.is_empty():
        return []
    if not send:
        people = members.of_scores(store, scores, opted_out)
        return [_counted(store, people, audience) for audience in audiences]
    present = now or datetime.now(UTC)
    with locks.exclusively(store.place, name=locks.AUDIENCES):
        # Users may have been erased since the scores were read.
        store = store.reopened()
        people = members.of_scores(store, scores, opted_out)
        done = [_written(store, people, audience, present) for audience in audiences]
    log.info("audiences: %d written", len(done))
    return done


def _counted(
    store: Store,
    people: People,
    audience: Audience,
) -> Counts:
    chosen = members.of_audience(people, audience)
    changes = _changes(store, people, chosen, audience)
    return counts(audience, chosen.height, changes, [])


def _written(
    store: Store,
    people: People,
    audience: Audience,
    now: datetime,
) -> Counts:
    """Write one audience; its state is certain only when all its files are there."""
    chosen = members.of_audience(people, audience)
    changes = _changes(store, people, chosen, audience)
    target = store.settings.address(audience.target)
    before = state.read(store.place, audience.name)
    state.write(store.place, audience.name, state.uncertain(changes, target))
    place = Place(target)
    new = _contents(audience, changes, now)
    for name, content in new.items():
        place.write(name, content)
    is_full = audience.content == "full"
    oldest = files.oldest_kept(now, audience.keep_days)
    place.remove(*files.outdated(place, audience.name, is_full, oldest))
    for earlier in set(before["target"]) - {target}:
        old_place = Place(earlier)
        old_place.remove(*files.of_audience(old_place, audience.name))
    state.write(store.place, audience.name, state.certain(changes, target))
    return counts(audience, chosen.height, changes, list(new))


def _contents(
    audience: Audience,
    changes: Changes,
    now: datetime,
) -> dict[str, bytes]:
    """The files to write, by name. Without changes there are no files of changes."""
    if audience.content == "full":
        parts = {files.full_name(audience.name): changes.new}
    else:
        named = {files.ADDED: changes.added, files.REMOVED: changes.removed}
        parts = {
            files.change_name(audience.name, change, now): rows
            for change, rows in named.items()
            if rows.height
        }
    headers = formats.headers(audience)
    return {
        name: files.content(rows, headers, has_bucket=audience.format == "csv")
        for name, rows in parts.items()
    }


def _changes(
    store: Store,
    people: People,
    chosen: pl.DataFrame,
    audience: Audience,
) -> Changes:
    """How the audience differs from what its files have listed so far."""
    listed = _listed(store, people, chosen, audience)
    return state.compared(listed, state.read(store.place, audience.name))


def _listed(
    store: Store,
    people: People,
    chosen: pl.DataFrame,
    audience: Audience,
) -> pl.DataFrame:
    """Every id of an audience as it is written (``state.LISTED``), each once."""
    user = erasure.USER + pl.col("user_id")
    bucket = pl.col("decile") if audience.format == "csv" else pl.lit(None)
    users = chosen.select(
        "user_id",
        subject=erasure.hashed(store.salt, user),
        bucket=bucket.cast(pl.Int64),
    )
    ids = people.ids.join(users, on="user_id")
    parts = [pl.DataFrame(schema=state.LISTED)]
    for id_type in dict.fromkeys(audience.ids):
        of_type = ids.filter(pl.col("id_type") == id_type)
        written = of_type.select(
            "subject",
            column=pl.lit(formats.header(audience, id_type)),
            value=formats.written(audience, id_type, pl.col("value")),
            bucket="bucket",
        )
        parts.append(written.drop_nulls("value"))
    # Addresses that differ only in what a network ignores become one.
    ordered = pl.concat(parts).sort("subject", "column", "value")
    return ordered.unique(state.KEY, keep="first", maintain_order=True)


def counts(
    audience: Audience,
    n_users: int,
    changes: Changes,
    written: Sequence[str],
) -> Counts:
    """What is reported of an audience.

    n_users: users who meet its conditions. n_listed: those with an id that may be
    written. n_ids: ids in the list. n_added, n_removed: ids that have changed since the
    files before. files: names of those written. warning: empty, or a sentence.
    """
    n_listed = changes.new["subject"].n_unique()
    return {
        "name": audience.name,
        "format": audience.format,
        "content": audience.content,
        "n_users": n_users,
        "n_listed": n_listed,
        "n_ids": changes.new.height,
        "n_added": changes.added.height,
        "n_removed": changes.removed.height,
        "files": list(written),
        "warning": _warning(audience, n_listed),
    }


def _warning(audience: Audience, n_listed: int) -> str:
    least = formats.LEAST_PEOPLE.get(audience.format, 0)
    if n_listed >= least:
        return ""
    return f"{n_listed:,} people; {audience.format} wants at least {least:,}"
