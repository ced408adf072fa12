"""OpenDSR requests: files by which people ask for their erasure.

The format is that of OpenDSR (formerly OpenGDPR) version 2, which AppsFlyer, Amplitude,
Braze and mParticle use.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from churn.errors import InputError
from churn.events.erasure import USER
from churn.events.sources import cells
from churn.store import Store

ID_TYPES = {
    "controller_customer_id": "user_id",
    "android_advertising_id": "gaid",
    "android_id": "android_id",
    "ios_advertising_id": "idfa",
    "ios_vendor_id": "idfv",
    "email": "email",
    "phone": "phone",
}
"""Our id type for each identity type of a request.

Others, such as appsflyer_id, are called the same here.
"""

HASHES: dict[str, Callable[[bytes], Any]] = {
    "sha256": hashlib.sha256,
    "sha1": hashlib.sha1,
    "md5": hashlib.md5,
}

LOWER_CASE = ("idfa", "idfv", "gaid", "android_id", "email")
"""Id types that are stored in lower case, because vendors write them differently."""


def read_request(file: Path, store: Store) -> list[str]:
    """The ids that an OpenDSR request asks to erase, as "type:value".

    Hashed identities are looked up among the ids that the store knows. Raises
    InputError for a file that is not a request for erasure.
    """
    try:
        request = json.loads(file.read_text("utf-8"))
        request_type = request["subject_request_type"]
        identities = [
            (
                str(entry["identity_type"]),
                str(entry["identity_value"]),
                str(entry.get("identity_format", "raw")),
            )
            for entry in request["subject_identities"]
        ]
    except (OSError, UnicodeError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not an OpenDSR request ({type(error).__name__}: {error})"
        ) from None
    if request_type != "erasure" or not identities:
        raise InputError(
            f"{file} asks for {request_type} of {len(identities)} identities; "
            "only erasure is done here"
        )
    tags: set[str] = set()
    for identity_type, value, form in identities:
        id_type = ID_TYPES.get(identity_type, identity_type)
        tags |= _tags(id_type, value, form, file, store)
    return sorted(tags)


def as_stored(tag: str) -> str:
    """An id as "type:value" in the form in which the log would hold it."""
    id_type, _, value = tag.partition(":")
    if id_type in LOWER_CASE:
        value = value.lower()
    elif id_type == "phone":
        value = cells.phone_number(value)
    else:
        value = cells.whole_number(value)
    return f"{id_type}:{value}"


def _tags(
    id_type: str,
    value: str,
    form: str,
    file: Path,
    store: Store,
) -> set[str]:
    if form == "raw":
        return {as_stored(f"{id_type}:{value}")}
    if form not in HASHES:
        raise InputError(
            f"{file}: identity_format {form!r} unknown; "
            f"there are raw, {', '.join(HASHES)}"
        )
    tags = [tag for tag in known_tags(store) if tag.startswith(f"{id_type}:")]
    return {
        tag
        for tag in tags
        if HASHES[form](tag.split(":", 1)[1].encode()).hexdigest() == value.lower()
    }


def known_tags(store: Store) -> list[str]:
    """Every id in the store as "type:value", user ids among them."""
    users = store.scan("users").select(USER + pl.col("user_id").unique())
    ids = store.scan("edges").select(pl.col("id").unique())
    anonymous = store.scan("anonymous").select(pl.col("ids").explode().unique())
    tags: list[str] = []
    for frame in (users, ids, anonymous):
        tags.extend(frame.collect().to_series().drop_nulls())
    return tags
