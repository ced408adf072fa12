"""How the store of a study is opened."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

from churn.errors import StoreError
from churn.settings import Settings
from churn.store.inputs import bound, check_bound
from churn.store.layout import TABLES
from churn.store.places import Place
from churn.store.state import SCHEMA_VERSION, STATE, STORED
from churn.store.tables import Store


def for_writing(settings: Settings) -> Store:
    """The store of these settings; an empty one, not yet written, if there is none.

    Its files may have been read under other settings of their extracts. Raises
    StoreError if all tables depend on a setting that differs, or if another version of
    the program wrote them.
    """
    place = Place(settings.store_address)
    found = place.tagged(STATE)
    if found is None:
        _check_new(place)
        return Store(place, settings, bound(settings))
    store = _parsed(*found, place, settings)
    if not store.versions:
        return replace(store, bound=bound(settings))
    check_bound(place.address, store.bound, settings)
    return store


def _check_new(place: Place) -> None:
    """Raise StoreError if there are tables, because then store.json has been lost.

    To make them anew would bring back the people who have been erased.
    """
    for table in TABLES:
        if place.names(f"{table}/_delta_log"):
            raise StoreError(
                f"{place.below(STATE)} is missing, but there are tables beside it: "
                "restore it from a backup, or move the store away and run `churn "
                "ingest` again, then `churn forget` for everybody erased so far"
            )


def at(place: Place, settings: Settings) -> Store:
    """The store at a place as of its newest commit.

    Raises StoreError if it is gone, or in the cases of ``_parsed``.
    """
    found = place.tagged(STATE)
    if found is None:
        raise StoreError(f"{place.below(STATE)} is missing: restore it from a backup")
    return _parsed(*found, place, settings)


def _parsed(
    content: bytes,
    tag: str,
    place: Place,
    settings: Settings,
) -> Store:
    """The store that a store.json describes.

    Raises StoreError for one that is damaged or was written by another version of the
    program.
    """
    file = place.below(STATE)
    damaged = StoreError(f"{file} is damaged: restore it from a backup")
    try:
        data = json.loads(content)
        version = data["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise damaged from None
    if version == 2:
        raise StoreError(
            f"{file} has schema version 2, that of an earlier version: run `churn "
            "convert-store` once, or move the folder away and run `churn ingest` again"
        )
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{file} has schema version {version}, but this program reads and writes "
            f"{SCHEMA_VERSION}: use the program that wrote it"
        )
    try:
        stored = {name: data[name] for name in STORED}
        for name in ("covered_until", "first_date"):
            stored[name] = date.fromisoformat(stored[name]) if stored[name] else None
    except (ValueError, KeyError, TypeError):
        raise damaged from None
    return Store(
        place=place,
        settings=settings,
        tag=tag,
        **stored,
    )


@dataclass(frozen=True)
class Pinned:
    """What another process needs to read a store as of the same commit: plain values.

    The salt of the store is not among them.
    """

    place: Place
    settings: Settings
    versions: Mapping[str, int]
    tag: str | None

    @classmethod
    def of(cls, store: Store) -> Self:
        """What leads to this store as it is pinned."""
        return cls(
            store.place,
            store.settings,
            dict(store.versions),
            store.tag,
        )

    def open(self) -> Store:
        """The same store, whatever was committed since; raises as ``at`` does.

        A process that opens it for one group after the other reads the logs of its
        tables once.
        """
        if not _opened or _opened[0][0] != self:
            newest = at(self.place, self.settings)
            store = replace(newest, versions=self.versions, tag=self.tag)
            _opened[:] = [(self, store)]
        return _opened[0][1]


_opened: list[tuple[Pinned, Store]] = []
"""The last store that this process opened for others."""


def create_or_open(settings: Settings) -> Store:
    """The store of these settings; an empty one, not yet written, if there is none.

    Raises StoreError if the stored tables were made under other settings or by another
    version of the program.
    """
    return for_writing(settings).under(settings)


def open_filled(settings: Settings) -> Store:
    """The store of these settings, for readers that need events.

    Raises StoreError if it holds none yet, and in the cases of ``create_or_open``.
    """
    store = create_or_open(settings)
    if store.first_date is None:
        raise StoreError(
            f"{store.place.address} holds no events yet: run `churn ingest` first"
        )
    return store
