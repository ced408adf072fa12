"""Erase people everywhere: event log, activity, scores, quarantine and ledger.

A person is a set of user ids and every other id that belongs to them alone. Only
tombstones, salted hashes of these ids, are kept, so that old extracts bring nobody
back. Tombstones become visible first and each file is then replaced on its own; an
erasure that was interrupted is completed by the next command that writes to the store.
The next export takes back what Braze has acknowledged, by writing null.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from churn.braze import export
from churn.errors import InputError
from churn.events import erasure, identity
from churn.events.erasure import USER
from churn.events.requests import known_tags, read_request
from churn.events.writing import exclusively
from churn.settings import Settings
from churn.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Forgotten:
    """What an erasure did.

    Attributes
    ----------
    n_people: user ids that were erased.
    rows: rows erased, by table.
    n_waiting: null writes that wait for the next export.
    n_shared: ids that were named but kept, because others use them too.
    """

    n_people: int
    rows: dict[str, int]
    n_waiting: int
    n_shared: int


def forget(
    settings: Settings, who: Sequence[str], by_vendors: bool = False
) -> Forgotten:
    """Erase the people named, and the ids that belong to them alone.

    ``who`` holds user ids, ids as "type:value" with a type of the log, and paths of
    OpenDSR requests. ``by_vendors`` adds everybody whose erasure a vendor's rows
    report. Raises InputError if nobody is named, and StoreError if another process
    writes to the store.
    """
    with exclusively(settings) as store:
        id_types = {tag.split(":", 1)[0] for tag in known_tags(store)}
        tags = []
        for name in who:
            tags += _tags(name, id_types, store)
        if by_vendors:
            tags += requested(store)
        if not tags:
            raise InputError(
                "nobody is named: give user ids, an OpenDSR REQUEST.json, "
                "or --requested"
            )
        users, ids, n_shared = _person(store, tags)
        # The ledger comes first, while the log still knows their Braze identifiers.
        n_waiting = export.forget(
            settings, lambda kind: _identifiers(store, kind, users)
        )
        erased = [*(USER + user for user in users), *ids]
        rows = erasure.erase(_with_tombstones(store, erased))
    log.info("forget: %d people, %d rows", len(users), sum(rows.values()))
    return Forgotten(len(users), rows, n_waiting, n_shared)


def _tags(
    name: str,
    id_types: set[str],
    store: Store,
) -> list[str]:
    if name.endswith(".json"):
        return read_request(Path(name), store)
    has_type = name.split(":", 1)[0] in id_types
    return [name if has_type else f"{USER}{name}"]


def requested(store: Store) -> list[str]:
    """Everybody whose erasure a vendor's own rows report, as "type:value".

    These are user ids and, of rows without a user, all other ids.
    """
    is_erasure = pl.col("event_kind") == "erasure"
    rows = store.scan("events").filter(is_erasure).select("user_id", "ids").collect()
    users = [USER + user for user in rows["user_id"].drop_nulls()]
    anonymous = rows.filter(pl.col("user_id").is_null())
    return sorted({*users, *anonymous["ids"].explode().drop_nulls()})


def opted_out(store: Store) -> list[str]:
    """Braze identifiers of users whose erasure a vendor reports and who remain here.

    Braze gets null for them.
    """
    users, _, _ = _person(store, requested(store))
    return _identifiers(store, store.settings.braze.kind, users)


def _person(store: Store, tags: Sequence[str]) -> tuple[set[str], set[str], int]:
    """User ids and other ids of everybody named, and how many named ids are shared.

    Ids are followed to a user if only one uses them, and users to the users their
    profile was merged with.
    """
    edges = (
        store.scan("edges")
        .filter(~erasure.is_forgotten())
        .select("id", "user_id")
        .unique()
        .collect()
    )
    users = {tag.removeprefix(USER) for tag in tags if tag.startswith(USER)}
    named = {tag for tag in tags if not tag.startswith(USER)}
    of_one_user = edges.filter(pl.col("user_id").n_unique().over("id") == 1)
    users |= set(of_one_user.filter(pl.col("id").is_in(named))["user_id"])
    merged = identity.renames(store, identity.known_users(store))
    for was, now in merged.select("was", "now").iter_rows():
        if users & {was, now}:
            users |= {was, now}
    is_theirs = pl.col("user_id").is_in(users)
    of_others = set(edges.filter(~is_theirs)["id"])
    ids = (named | set(edges.filter(is_theirs)["id"])) - of_others
    return users, _with_devices(store, ids, of_others), len(named & of_others)


def _with_devices(
    store: Store,
    ids: set[str],
    of_others: set[str],
) -> set[str]:
    """These ids, and those that share rows without a user with them, and so on.

    Ids of other people are left out.
    """
    devices = store.scan("anonymous").select("ids").unique().collect()
    known = set(ids)
    while True:
        common = pl.col("ids").list.set_intersection(list(known))
        linked = devices.filter(common.list.len() > 0)
        beside = set(linked["ids"].explode()) - of_others
        if beside <= known:
            return known
        known |= beside


def _identifiers(
    store: Store,
    kind: str,
    users: set[str],
) -> list[str]:
    """Every identifier of a kind by which Braze may know these users."""
    id_type = kind.removeprefix("user_alias:")
    if id_type == "external_id":
        return sorted(users)
    is_theirs = pl.col("user_id").is_in(users)
    is_of_type = pl.col("id").str.starts_with(f"{id_type}:")
    edges = store.scan("edges").filter(is_theirs & is_of_type)
    value = pl.col("id").str.strip_prefix(f"{id_type}:").unique()
    return edges.select(value).collect().to_series().to_list()


def _with_tombstones(store: Store, tags: Sequence[str]) -> Store:
    """Make the tombstones visible, and that files have still to be cleaned."""
    batch_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-forget"
    rows = erasure.new_tombstones(store.salt, tags)
    store.write_batch("tombstones", batch_id, rows)
    erasing = replace(
        store,
        batches=(*store.batches, batch_id),
        erasing=True,
    )
    erasing.commit()
    return erasing
