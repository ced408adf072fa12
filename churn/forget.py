"""Erase people everywhere: event log, activity, scores, quarantine and ledger; only
salted hashes stay, as tombstones.

A person is their user ids and every id that is theirs alone. Tombstones become visible
first and every file is then replaced on its own, so an erasure that was interrupted is
finished by the next command that writes to the store; rows of the erased are dropped
whenever old extracts are read again. What Braze was told is taken back by a null write
with the next export.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from churn.braze import export
from churn.errors import InputError
from churn.events import identity, privacy
from churn.events.writing import exclusively
from churn.settings import Settings
from churn.store import Store

log = logging.getLogger(__name__)
TYPES = {
    "controller_customer_id": "user_id",
    "android_advertising_id": "gaid",
    "android_id": "android_id",
    "ios_advertising_id": "idfa",
    "ios_vendor_id": "idfv",
    "email": "email",
    "phone": "phone",
}
"""Identity types of an OpenDSR request by our id types; others are taken by their own
name, such as appsflyer_id.
"""

HASHES: dict[str, Callable[[bytes], Any]] = {
    "sha256": hashlib.sha256,
    "sha1": hashlib.sha1,
    "md5": hashlib.md5,
}
LOWER = (
    "idfa",
    "idfv",
    "gaid",
    "android_id",
    "email",
)  # stored in lower case, since vendors differ


@dataclass(frozen=True)
class Forgotten:
    """What an erasure did.

    People known to us, rows erased by table, null writes that wait for the next export,
    and named ids that were left since others use them too.
    """

    n_people: int
    rows: dict[str, int]
    n_waiting: int
    n_shared: int


def forget(
    settings: Settings, who: Sequence[str], by_vendors: bool = False
) -> Forgotten:
    """Erase everybody named, and the ids that are theirs alone.

    ``who``: user ids, "type:value" of the id types in the log, or paths of OpenDSR
    requests; ``by_vendors`` adds those whose erasure a vendor's rows report. Raises
    InputError where nobody is named.
    """
    with exclusively(settings) as store:
        kinds = {tag.split(":", 1)[0] for tag in _known_tags(store)}
        tags = [tag for name in who for tag in _named(name, kinds, store)]
        tags += requested(store) if by_vendors else []
        if not tags:
            raise InputError(
                "nobody is named: give user ids, an OpenDSR REQUEST.json, or --requested"
            )
        users, ids, n_shared = _person(store, tags)
        # The ledger first, while the log still knows how Braze calls them.
        waiting = export.forget(settings, lambda kind: _identifiers(store, kind, users))
        store = _remember(store, [*(privacy.USER + user for user in users), *ids])
        rows = privacy.erase(store)
    log.info("forget: %d people, %d rows", len(users), sum(rows.values()))
    return Forgotten(len(users), rows, waiting, n_shared)


def _named(name: str, kinds: set[str], store: Store) -> list[str]:
    if name.endswith(".json"):
        return read_request(Path(name), store)
    return [name if name.split(":", 1)[0] in kinds else f"{privacy.USER}{name}"]


def requested(store: Store) -> list[str]:
    """Everybody whose erasure a vendor's own rows report: user ids, and ids of rows
    without a user.
    """
    rows = (
        store.scan("events")
        .filter(pl.col("event_kind") == "erasure")
        .select("user_id", "ids")
        .collect()
    )
    users = [privacy.USER + user for user in rows["user_id"].drop_nulls()]
    return sorted(
        {
            *users,
            *rows.filter(pl.col("user_id").is_null())["ids"].explode().drop_nulls(),
        }
    )


def opted_out(
    store: Store,
) -> list[str]:
    """Identifiers of the users whose erasure a vendor reports and who aren't erased
    yet: Braze gets null for them.
    """
    return _identifiers(
        store, store.settings.braze.kind, _person(store, requested(store))[0]
    )


def read_request(file: Path, store: Store) -> list[str]:
    """The people an OpenDSR request asks to erase, as "type:value"; hashed identities
    are looked up among known ids.

    Raises InputError for a file that is no erasure request.
    """
    try:
        request = json.loads(file.read_text("utf-8"))
        kind, identities = (
            request["subject_request_type"],
            request["subject_identities"],
        )
        asked = [
            (i["identity_type"], i["identity_value"], i.get("identity_format", "raw"))
            for i in identities
        ]
    except (OSError, UnicodeError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is no OpenDSR request ({type(error).__name__}: {error})"
        ) from None
    if kind != "erasure" or not asked:
        raise InputError(
            f"{file} asks for {kind} of {len(asked)} identities; only erasure is done here"
        )
    return sorted(
        {
            tag
            for kind, value, form in asked
            for tag in _tags(str(kind), str(value), str(form), file, store)
        }
    )


def _tags(kind: str, value: str, form: str, file: Path, store: Store) -> list[str]:
    ours = TYPES.get(kind, kind)
    if form == "raw":
        return [f"{ours}:{value.lower() if ours in LOWER else value}"]
    if form not in HASHES:
        raise InputError(
            f"{file}: identity_format {form!r} unknown; there are raw, {', '.join(HASHES)}"
        )
    known = {
        tag.split(":", 1)[1] for tag in _known_tags(store) if tag.startswith(f"{ours}:")
    }
    return [
        f"{ours}:{v}"
        for v in known
        if HASHES[form](v.encode()).hexdigest() == value.lower()
    ]


def _known_tags(store: Store) -> Iterable[str]:
    users = (
        store.scan("users")
        .select(privacy.USER + pl.col("user_id").unique())
        .collect()
        .to_series()
    )
    ids = store.scan("edges").select(pl.col("id").unique()).collect().to_series()
    return [
        *users,
        *ids,
        *store.scan("anonymous")
        .select(pl.col("ids").explode().unique())
        .collect()
        .to_series()
        .drop_nulls(),
    ]


def _person(store: Store, tags: Sequence[str]) -> tuple[set[str], set[str], int]:
    """User ids and other ids of everybody named, and how many named ids are left, since
    somebody else uses them.
    """
    edges = (
        store.scan("edges")
        .filter(~identity.is_forgotten())
        .select("id", "user_id")
        .unique()
        .collect()
    )
    users = {
        tag.removeprefix(privacy.USER) for tag in tags if tag.startswith(privacy.USER)
    }
    named = {tag for tag in tags if not tag.startswith(privacy.USER)}
    alone = edges.filter(pl.col("user_id").n_unique().over("id") == 1)
    users |= set(alone.filter(pl.col("id").is_in(named))["user_id"])
    merged = identity.renames(store, identity.known_users(store)).select("was", "now")
    for was, now in merged.iter_rows():
        users |= {was, now} if users & {was, now} else set()
    others = set(edges.filter(~pl.col("user_id").is_in(users))["id"])
    ids = (named | set(edges.filter(pl.col("user_id").is_in(users))["id"])) - others
    return users, _with_devices(store, ids, others), len(named & others)


def _with_devices(store: Store, ids: set[str], others: set[str]) -> set[str]:
    """Ids that stand beside one of these in rows without a user, and so on, but nobody
    else's.
    """
    devices = store.scan("anonymous").select("ids").unique().collect()
    while True:
        beside = (
            set(
                devices.filter(
                    pl.col("ids").list.set_intersection(list(ids)).list.len() > 0
                )["ids"].explode()
            )
            - others
        )
        if beside <= ids:
            return ids
        ids |= beside


def _identifiers(store: Store, kind: str, users: set[str]) -> list[str]:
    """Every identifier of a kind by which Braze may have been told of these users."""
    kind = kind.removeprefix("user_alias:")
    if kind == "external_id":
        return sorted(users)
    edges = store.scan("edges").filter(
        pl.col("user_id").is_in(users) & pl.col("id").str.starts_with(f"{kind}:")
    )
    return (
        edges.select(pl.col("id").str.strip_prefix(f"{kind}:").unique())
        .collect()
        .to_series()
        .to_list()
    )


def _remember(store: Store, tags: Sequence[str]) -> Store:
    """Make the tombstones visible, and that files are yet to be cleaned of them."""
    batch_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-forget"
    store.write_batch("tombstones", batch_id, privacy.tombstones(store.salt, tags))
    erasing = replace(store, batches=(*store.batches, batch_id), erasing=True)
    erasing.commit()
    return erasing
