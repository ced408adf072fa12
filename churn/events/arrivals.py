"""Which files an ingest reads: new ones, changed ones, and others that these affect.

A file is known by its address. It is read again if its content has changed, or a
setting under which it was read. Its rows in the log are then replaced.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from churn.errors import StoreError
from churn.events.sources import ga4_tables
from churn.events.sources.find import Found
from churn.events.staged import Staged, file_id
from churn.settings import Settings
from churn.store import Store
from churn.store.inputs import READERS, changed_inputs

N_NAMED = 3
"""Number of files that an error names."""


@dataclass(frozen=True)
class Arrivals:
    """The files to read, and what the store knows of them and of the others.

    Attributes
    ----------
    files: the files to read, in this order.
    known: the stored rows of the table of files, by address.
    forced: addresses of files that are read even if their content is known.
    digests: digests of known files that are not read again. A file with one of these
        digests is a copy and is not read either.
    shared: digests of known files that may share events with one that is read again.
    superseded: addresses of known files of GA4's tables that a more final table of the
        same day replaces, unless that is still being written.
    outdated: ids of known files that are missing, so that only the kinds of their rows
        can be brought up to date.
    changed: by extract, the names of the settings that have changed.
    """

    files: list[Found]
    known: dict[str, dict[str, Any]]
    forced: frozenset[str]
    digests: frozenset[str]
    shared: frozenset[str]
    superseded: frozenset[str]
    outdated: frozenset[str]
    changed: dict[str, list[str]]

    def replaced(self, staged: Sequence[Staged]) -> set[str]:
        """Ids of the known files whose stored rows the staged files replace."""
        ids = self._superseded_by(staged)
        for file, digest in staged:
            if digest in self.shared:
                ids |= self._inherited(digest)
            row = self.known.get(file.address)
            if row is None or self._is_same(file, digest):
                continue
            ids.add(str(row["file_id"]))
            ids |= self._inherited(str(row["digest"]))
        return ids

    def _superseded_by(self, staged: Sequence[Staged]) -> set[str]:
        """Ids of the superseded files whose final table is staged, or was before."""
        complete = {file.address for file, _ in staged} | set(self.known)
        superseded = ga4_tables.superseded(complete) & self.superseded
        return {str(self.known[address]["file_id"]) for address in superseded}

    def copies(self, staged: Sequence[Staged], replaced: Collection[str]) -> set[str]:
        """Ids of the staged files whose content the log holds already, and keeps."""
        stays = {
            str(row["digest"])
            for row in self.known.values()
            if row["rows"] > 0 and row["file_id"] not in replaced
        }
        return {
            file_id(file.extract.path, file.address)
            for file, digest in staged
            if digest in stays
        }

    def is_touched(self, file: Found, digest: str, copies: Collection[str]) -> bool:
        """Whether a known file was read only to find that nothing has changed.

        If another file's rows stood for its content and are replaced, its own count.
        """
        own = file_id(file.extract.path, file.address)
        is_copy = own in copies or digest not in self._with_rows
        return self._is_same(file, digest) and is_copy

    def _is_same(self, file: Found, digest: str) -> bool:
        """Whether a known file is not read otherwise than before."""
        row = self.known.get(file.address)
        is_same = row is not None and row["digest"] == digest
        return is_same and file.address not in self.forced

    def _inherited(self, digest: str) -> set[str]:
        """Ids of deleted files with this content: a present file stands for them now."""
        return self._gone.get(digest, set())

    @cached_property
    def _with_rows(self) -> set[str]:
        """Digests of known files whose own rows are counted."""
        return {str(row["digest"]) for row in self.known.values() if row["rows"] > 0}

    @cached_property
    def _gone(self) -> dict[str, set[str]]:
        """Ids of the deleted files, by digest."""
        read = {file.address for file in self.files}
        gone: dict[str, set[str]] = {}
        for address, row in self.known.items():
            if row["is_gone"] and address not in read:
                gone.setdefault(str(row["digest"]), set()).add(str(row["file_id"]))
        return gone


def arrivals(
    found: Sequence[Found],
    present: set[str],
    store: Store,
) -> Arrivals:
    """The files to read among those that were ``found``.

    ``present`` are the addresses of all files of the extracts, also of those that must
    wait. Raises StoreError if a setting of an extract has changed but one of its files
    is missing, so that its rows can't be made anew.
    """
    table = store.scan("files").collect()
    known = {
        str(row["address"]): {**row, "is_gone": row["address"] not in present}
        for row in table.iter_rows(named=True)
    }
    changed = changed_inputs(store.inputs, store.settings)
    forced = {f.address for f in found if _is_read_otherwise(f, known, changed)}
    superseded = _superseded(found, known, store.settings)
    outdated = _outdated(known, changed, superseded, found)
    moved = [file for file in found if _has_moved(file, known)]
    again = {file.address for file in moved} | forced | superseded
    shared = _shared(again, known, store.settings)
    forced |= {
        address
        for address, row in known.items()
        if row["digest"] in shared and not row["is_gone"]
    }
    to_read = {file.address for file in moved} | forced
    # Where one file is read again, another of equal content may stand for it.
    contents = {known[address]["digest"] for address in to_read if address in known}
    contents |= shared
    to_read |= {a for a, row in known.items() if row["digest"] in contents}
    going = to_read | superseded
    unread = [row["digest"] for a, row in known.items() if a not in going]
    first = {file.address for file in moved}
    files = [file for file in found if file.address in to_read]
    return Arrivals(
        # Changed files come before files with their former content. Those were copies
        # so far, and are read because the changed file no longer has that content.
        files=sorted(files, key=lambda file: file.address not in first),
        known=known,
        forced=frozenset(forced),
        digests=frozenset(map(str, unread)),
        shared=frozenset(shared),
        superseded=frozenset(superseded),
        outdated=outdated,
        changed=changed,
    )


def _has_moved(file: Found, known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a file is new, or may have changed since it was read."""
    row = known.get(file.address)
    return row is None or row["stamp"] != file.stamp


def _is_read_otherwise(
    file: Found,
    known: Mapping[str, Mapping[str, Any]],
    changed: Mapping[str, list[str]],
) -> bool:
    """Whether a known file would be read under other settings, or in another extract."""
    row = known.get(file.address)
    if row is None:
        return False
    path = file.extract.path
    return path in changed or row["extract"] != path


def _superseded(
    found: Sequence[Found],
    known: Mapping[str, Mapping[str, Any]],
    settings: Settings,
) -> set[str]:
    """Addresses of known files of GA4's tables that have a more final one."""
    names = {file.address for file in found if file.extract.source == "ga4"}
    extracts = {e.path for e in settings.extracts if e.source == "ga4"}
    older = {address for address, row in known.items() if row["extract"] in extracts}
    return ga4_tables.superseded(names | older) - names


def _outdated(
    known: Mapping[str, Mapping[str, Any]],
    changed: Mapping[str, list[str]],
    superseded: set[str],
    found: Sequence[Found],
) -> frozenset[str]:
    """Ids of missing files whose rows were made by the readers of an earlier version.

    Raises StoreError if a file is missing that another setting affects.
    """
    there = superseded | {file.address for file in found}
    contents = {row["digest"] for address, row in known.items() if address in there}
    outdated: set[str] = set()
    for path, names in changed.items():
        gone = [
            address
            for address, row in known.items()
            if row["extract"] == path
            and row["rows"] > row["quarantined"]
            and address not in there
            and row["digest"] not in contents
        ]
        if gone and names != [READERS]:
            raise _missing(path, names, gone)
        outdated.update(str(known[address]["file_id"]) for address in gone)
    return frozenset(outdated)


def _missing(
    path: str,
    names: Sequence[str],
    gone: Sequence[str],
) -> StoreError:
    more = f" and {len(gone) - N_NAMED} more" if len(gone) > N_NAMED else ""
    return StoreError(
        f"extract {path}: {', '.join(names)} changed, so its files must be "
        f"read again, but {', '.join(gone[:N_NAMED])}{more} are missing: bring "
        "them back, restore the setting, or move the store away and run `churn "
        "ingest` with the files that are left"
    )


def _shared(
    addresses: Collection[str],
    known: Mapping[str, Mapping[str, Any]],
    settings: Settings,
) -> set[str]:
    """Digests of known files that may share events with a file that is read again.

    The log holds one copy of such an event. If the file that is read again no longer
    has it, the other file's copy takes its place.
    """
    again = [known[address] for address in addresses if address in known]
    sources = {extract.path: extract.source for extract in settings.extracts}
    spans = [
        (sources.get(str(row["extract"])), row["first_at"], row["last_at"])
        for row in again
        if row["first_at"] is not None
    ]
    if not spans:
        return set()
    return {
        str(row["digest"])
        for row in known.values()
        if row["duplicate"] > 0 and any(_overlap(row, sources, span) for span in spans)
    }


def _overlap(
    row: Mapping[str, Any],
    sources: Mapping[str, str],
    span: tuple[Any, Any, Any],
) -> bool:
    source, first, last = span
    is_same = sources.get(str(row["extract"])) == source
    if not is_same or row["first_at"] is None:
        return False
    return bool(row["first_at"] <= last and row["last_at"] >= first)
