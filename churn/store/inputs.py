"""The settings that stored rows were made under.

Some are bound: all tables depend on them, and a store made under others is refused.
The others belong to an extract's files, which the next ingest reads again when one has
changed. Until then nothing is read from the store. A new version of churn may read the
same file otherwise, so the version of its readers is one of them. It alone keeps nobody
from reading the store as it is.
"""

from collections.abc import Mapping
from typing import Any

from churn.errors import StoreError
from churn.settings import Csv, Extract, Settings

OF_EXTRACT = (
    "source",
    "columns",
    "kinds",
    "timezone",
    "encoding",
    "csv",
    "currency",
)
"""Settings of an extract that decide what is read from its files."""

LATER: dict[str, Any] = {"csv": Csv().model_dump(mode="json"), "audiences": []}
"""Settings that an older store.json lacks, with their values at that time."""

READERS = "readers of this version"
"""The input that says how this version of churn reads files."""

READERS_VERSION = 2
"""Raised whenever readers make other rows of a file than before, such as other kinds."""

ADDRESSES = ("email", "phone")
"""Types of ids that are stored only if Braze or an audience identifies users by them."""


def bound(settings: Settings) -> dict[str, Any]:
    """The settings that all stored tables depend on."""
    return {"timezone": settings.timezone, "currency": settings.activity.currency}


def check_bound(
    address: str,
    stored: Mapping[str, Any],
    settings: Settings,
) -> None:
    """Raise StoreError if the store at ``address`` was made under other settings."""
    wanted = bound(settings)
    changed = [name for name, value in wanted.items() if stored.get(name) != value]
    if changed:
        raise StoreError(
            f"{address} was made with another {', '.join(changed)}, and its tables "
            "depend on that: restore the setting, or move the store away and run "
            "`churn ingest` again"
        )


def inputs(extract: Extract, settings: Settings) -> dict[str, Any]:
    """The settings under which an extract's files are read, as store.json holds them.

    If one of them changes, other rows or other parts of a row are stored.
    """
    own = extract.model_dump(mode="json", include=set(OF_EXTRACT))
    return {**own, READERS: READERS_VERSION, **of_study(settings)}


def of_study(settings: Settings) -> dict[str, Any]:
    """The part of the inputs that all extracts share."""
    identifier = settings.braze.identifier
    return {
        "identity": settings.identity.model_dump(mode="json"),
        "privacy": settings.privacy.model_dump(mode="json"),
        "braze.identifier": identifier if identifier in ADDRESSES else "",
        "audiences": [one for one in settings.addresses if one != identifier],
    }


def all_inputs(settings: Settings) -> dict[str, dict[str, Any]]:
    """The inputs of every extract, by its path."""
    return {extract.path: inputs(extract, settings) for extract in settings.extracts}


def changed_inputs(
    stored: Mapping[str, Mapping[str, Any]], settings: Settings
) -> dict[str, list[str]]:
    """Names of the settings that have changed since an extract was read, by its path.

    Extracts that were never read, or that have not changed, are left out. Of an extract
    that the study no longer has, the settings count that all extracts share.
    """
    changed = {}
    shared = of_study(settings)
    removed = dict.fromkeys(stored, shared)
    for path, wanted in (removed | all_inputs(settings)).items():
        before = {**LATER, **stored.get(path, wanted)}
        names = [name for name in wanted if before.get(name) != wanted[name]]
        if names:
            changed[path] = names
    return changed


def check_inputs(stored: Mapping[str, Mapping[str, Any]], settings: Settings) -> None:
    """Raise StoreError if an extract's files were read under other settings."""
    changed = {
        path: [name for name in names if name != READERS]
        for path, names in changed_inputs(stored, settings).items()
        if names != [READERS]
    }
    if changed:
        listed = "; ".join(f"{path}: {', '.join(n)}" for path, n in changed.items())
        raise StoreError(
            f"settings have changed since the extracts were read ({listed}): run "
            "`churn ingest`, which reads their files again"
        )
