"""Erase people everywhere: event log, activity, scores, quarantine, ledger, audiences.

A person is a set of user ids and every other id that belongs to no other person. Only
tombstones, which are salted hashes of these ids, are kept: they keep the person's rows
out when an old extract is read again. Tombstones are committed first, and then the
files are rewritten one by one. If an erasure is interrupted, the next command that
writes to the store completes it. The next export clears the person's attributes in
Braze by writing null.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from churn.audiences import erasure as audiences
from churn.braze import export
from churn.errors import InputError
from churn.events import erasure, identity
from churn.events.erasure import USER
from churn.events.requests import as_stored, known_tags, read_request
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
    rows: rows erased, by table; lines of audience files are among them.
    n_waiting: null writes that wait for the next export.
    n_shared: named ids that were kept, because other people use them too.
    """

    n_people: int
    rows: dict[str, int]
    n_waiting: int
    n_shared: int


def forget(
    settings: Settings, who: Sequence[str], by_vendors: bool = False
) -> Forgotten:
    """Erase the named people, and the ids that belong to no other person.

    ``who`` holds user ids, other ids as "type:value" if the log has ids of that type,
    and paths of OpenDSR requests. ``by_vendors`` adds everybody for whom a vendor's
    rows report a request for erasure. Raises InputError if nobody is named, and
    StoreError if another process writes to the store.
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
        # The ledger comes first, because the log still holds their Braze identifiers.
        n_waiting = export.forget(
            settings, lambda kind: _identifiers(store, kind, users)
        )
        n_lines = audiences.forget(store, users)
        erased = [*(USER + user for user in users), *ids]
        _, rows = erasure.erase(_with_tombstones(store, erased))
        if n_lines:
            rows["audiences"] = n_lines
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
    return [as_stored(name) if has_type else f"{USER}{name}"]


def requested(store: Store) -> list[str]:
    """Ids, as "type:value", of people for whom a vendor reports a request for erasure.

    A row gives its user id or, if it has none, all its other ids.
    """
    is_erasure = pl.col("event_kind") == "erasure"
    rows = store.scan("events").filter(is_erasure).select("user_id", "ids").collect()
    users = [USER + user for user in rows["user_id"].drop_nulls()]
    anonymous = rows.filter(pl.col("user_id").is_null())
    return sorted({*users, *anonymous["ids"].explode().drop_nulls()})


def opted_out(store: Store) -> list[str]:
    """Braze identifiers of users who asked a vendor for erasure but are still stored.

    Their attributes in Braze are set to null.
    """
    return identifiers(store, opted_out_users(store))


def identifiers(store: Store, users: set[str]) -> list[str]:
    """What Braze knows these users by, under the study's kind of identifier."""
    return _identifiers(store, store.settings.braze.kind, users)


def opted_out_users(store: Store) -> set[str]:
    """User ids of those who asked a vendor for erasure but are still stored."""
    users, _, _ = _person(store, requested(store))
    return users


def _person(store: Store, tags: Sequence[str]) -> tuple[set[str], set[str], int]:
    """User ids and other ids of the named people, and the number of shared named ids.

    A named id leads to its user if only one user has it, and a user leads to the users
    with whom their profile was merged.
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
    ids_of_others = set(edges.filter(~is_theirs)["id"])
    ids = (named | set(edges.filter(is_theirs)["id"])) - ids_of_others
    return users, _with_devices(store, ids, ids_of_others), len(named & ids_of_others)


def _with_devices(
    store: Store,
    ids: set[str],
    ids_of_others: set[str],
) -> set[str]:
    """These ids and all ids linked to them, directly or through others.

    Two ids are linked if a row without a user holds both. Ids of other people are left
    out.
    """
    devices = store.scan("anonymous").select("ids").unique().collect()
    known = set(ids)
    while True:
        common = pl.col("ids").list.set_intersection(list(known))
        linked = devices.filter(common.list.len() > 0)
        linked_ids = set(linked["ids"].explode()) - ids_of_others
        if linked_ids <= known:
            return known
        known |= linked_ids


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
    """Make the tombstones visible, with the mark that the store is not yet cleaned."""
    rows = erasure.new_tombstones(store.salt, tags)
    return replace(store.append("tombstones", rows), cleaning=True).commit()
