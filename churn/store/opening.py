"""How the store of a study is opened."""

import json
from datetime import date

from churn.errors import StoreError
from churn.settings import Settings
from churn.store.inputs import bound, check_bound
from churn.store.places import Place
from churn.store.tables import SCHEMA_VERSION, STATE, STORED, Store


def for_writing(settings: Settings) -> Store:
    """The store of these settings; an empty one, not yet written, if there is none.

    Its files may have been read under other settings of their extracts. Raises
    StoreError if all tables depend on a setting that differs, or if another version of
    the program wrote them.
    """
    place = Place(settings.store_address)
    if place.read(STATE) is None:
        return Store(place, settings, bound(settings))
    store = at(place, settings)
    check_bound(place.address, store.bound, settings)
    return store


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
    try:
        data = json.loads(content)
        version = data["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{file} is damaged: restore it from a backup") from None
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
    for name in ("covered_until", "first_date"):
        data[name] = date.fromisoformat(data[name]) if data[name] else None
    return Store(
        place=place,
        settings=settings,
        tag=tag,
        **{name: data[name] for name in STORED},
    )


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
