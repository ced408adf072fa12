"""The files of an extract, on this machine or in an object store.

Each file gets a stamp, by which a file that was read before is recognised. Files of an
hour that is still being written must wait, and provisional files are skipped once the
final ones exist.
"""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from churn.errors import InputError
from churn.events.sources import (
    FORMS,
    SUFFIXES,
    appsflyer,
    formats,
    ga4_tables,
    patterns,
)
from churn.settings import Extract, Settings
from churn.store import objects

N_NAMED = 3
"""Number of files of one suffix that a message names."""

MARKER = "_SUCCESS"
"""Name of the marker file that says that the hour in its folder is complete."""


@dataclass(frozen=True)
class Found:
    """One file of an extract.

    Attributes
    ----------
    extract: the extract it belongs to.
    address: path or URL.
    name: its path below that of the extract; empty if the extract is this one file.
    stamp: a text that changes whenever the content may have changed.
    size: bytes.
    """

    extract: Extract
    address: str
    name: str
    stamp: str
    size: int

    @property
    def is_usual(self) -> bool:
        """Whether the file has a name that its vendor gives, or is named by the study.

        Other names may be readable as well.
        """
        usual = SUFFIXES[self.extract.source]
        return self.name == "" or self.name.lower().endswith(usual)


@dataclass(frozen=True)
class Listing:
    """The files of an extract, sorted by name.

    Attributes
    ----------
    ready: those to read.
    waiting: those that wait for their hour to end.
    passed_over: those that cannot be read by their names. Hidden files and folders,
        markers and files that the study ignores are not listed.
    """

    ready: list[Found]
    waiting: list[Found]
    passed_over: list[Found]


def find(extract: Extract, settings: Settings) -> Listing:
    """The extract's files. Raises InputError if none of them can be read."""
    is_remote = objects.is_url(extract.path)
    listed = list(_objects(extract) if is_remote else _local(extract, settings))
    visible = [file for file in listed if not _is_left_out(file)]
    visible.sort(key=lambda file: _sort_key(file.name))
    readable = _readable(visible, FORMS[extract.source])
    if not readable:
        where = extract.path if is_remote else settings.path(extract.path)
        others = f"; there are {in_words(visible)}" if visible else ""
        raise InputError(
            f"extract {extract.path}: no file at {where} that can be read; expected "
            f"names that end in {formats.endings(FORMS[extract.source])}{others}"
        )
    addresses = {file.address for file in readable}
    unfinished = _unfinished(listed)
    left_out = set(unfinished)
    if extract.source == "ga4":
        left_out |= ga4_tables.superseded(addresses)
    return Listing(
        ready=[file for file in readable if file.address not in left_out],
        waiting=[file for file in readable if file.address in unfinished],
        passed_over=[file for file in visible if file.address not in addresses],
    )


def has_files(settings: Settings) -> bool:
    """Whether any extract of a study has a file that can be read."""
    for extract in settings.extracts:
        try:
            find(extract, settings)
        except (InputError, OSError):
            continue
        return True
    return False


def _is_left_out(file: Found) -> bool:
    """Whether a file is hidden, or the study says that it is to be ignored."""
    path = PurePosixPath(file.name)
    is_hidden = any(part.startswith((".", "_")) for part in path.parts)
    return is_hidden or any(path.match(pattern) for pattern in file.extract.ignore)


def _readable(visible: Sequence[Found], forms: Sequence[str]) -> list[Found]:
    """The files whose names may be of these formats.

    Beside files with usual names, those with other names are read only if they are of
    the same format: a .json beside tables of CSV says something about these.
    """
    possible = [
        file
        for file in visible
        if file.name == "" or formats.is_readable(file.name, forms)
    ]
    usual = {formats.of_name(file.name) for file in possible if file.is_usual}
    if not usual or formats.UNSTATED in usual:
        return possible
    same = {*usual, formats.UNSTATED}
    return [
        file for file in possible if file.is_usual or formats.of_name(file.name) in same
    ]


def in_words(files: Sequence[Found]) -> str:
    """The files by suffix with their number and some names, for messages."""
    by_suffix: dict[str, list[str]] = {}
    for file in files:
        name = PurePosixPath(file.address).name
        suffix = "".join(PurePosixPath(name).suffixes[-2:]) or "no suffix"
        by_suffix.setdefault(suffix, []).append(name)
    texts = []
    for suffix, names in by_suffix.items():
        more = " …" if len(names) > N_NAMED else ""
        texts.append(f"{len(names)} {suffix} ({', '.join(names[:N_NAMED])}{more})")
    return ", ".join(texts)


def _sort_key(name: str) -> list[str | int]:
    """Sort numbers in names by value, so that h=2 comes before h=10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def _unfinished(listed: Iterable[Found]) -> set[str]:
    """Addresses of Data Locker files whose hour is still being written.

    These are files in hours later than the last one that has a marker. A report without
    any marker is taken as it is.
    """
    hours = []
    for file in listed:
        report_hour = appsflyer.report_hour(file.address)
        if report_hour:
            hours.append((file.address, *report_hour))
    last_complete: dict[str, int] = {}
    for address, report, hour in hours:
        if PurePosixPath(address).name == MARKER:
            last_complete[report] = max(last_complete.get(report, 0), hour)
    return {
        address
        for address, report, hour in hours
        if report in last_complete and hour > last_complete[report]
    }


def _local(extract: Extract, settings: Settings) -> Iterator[Found]:
    path = settings.path(extract.path)
    if path.exists():
        root = path
        files = [path, *path.rglob("*")]
    else:
        folder = settings.path(".")
        root = folder.joinpath(*patterns.fixed_parts(PurePath(extract.path)))
        matches = glob.glob(
            extract.path,
            root_dir=folder,
            recursive=True,
        )
        files = [folder / match for match in matches]
        files += _markers(files)
    for file in files:
        if not file.is_file():
            continue
        status = file.stat()
        name = "" if file == path else os.path.relpath(file, root)
        yield Found(extract, str(file), name, _stamp(status), status.st_size)


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}"


def has_changed(file: Found) -> bool:
    """Whether a local file was changed or removed after it had been listed.

    False for an object: an object store replaces objects as a whole.
    """
    if objects.is_url(file.address):
        return False
    try:
        return _stamp(os.stat(file.address)) != file.stamp
    except FileNotFoundError:
        return True


def _markers(files: Iterable[Path]) -> list[Path]:
    """Markers of the Data Locker reports that these files belong to.

    A glob such as ``*.gz`` does not match them.
    """
    reports = set()
    for file in files:
        report_hour = appsflyer.report_hour(file.as_posix())
        if report_hour:
            reports.add(report_hour[0])
    return [marker for report in reports for marker in Path(report).rglob(MARKER)]


def _objects(extract: Extract) -> Iterator[Found]:
    root, key = objects.split(extract.path)
    pattern = PurePosixPath(key).parts if glob.has_magic(key) else None
    prefix = "/".join(patterns.fixed_parts(PurePosixPath(key))) if pattern else key
    for item in _listed(extract, root, prefix, is_pattern=pattern is not None):
        path = str(item["path"])
        parts = PurePosixPath(path).parts
        if not pattern or patterns.matches(parts, pattern) or parts[-1] == MARKER:
            name = path.removeprefix(prefix).strip("/")
            stamp = f"{item['size']}:{item['e_tag'] or item['last_modified']}"
            yield Found(extract, f"{root}/{path}", name, stamp, int(item["size"]))


def _listed(
    extract: Extract,
    root: str,
    prefix: str,
    is_pattern: bool,
) -> list[Any]:
    """Objects below a prefix, or the one object of that key; none if it does not exist.

    Raises InputError if the object store cannot be reached.
    """
    url = f"{root}/{prefix}"
    with objects.explained(extract.path, InputError):
        found = objects.listed(url)
        if found or is_pattern or not prefix:
            return found
        item = objects.head(url)
        return [item] if item else []


def fetch(found: Found, scratch: Path) -> Path:
    """The file on this machine: itself, or a copy of the object below ``scratch``.

    The copy keeps the folders of its key, since readers look at them. Raises InputError
    if the object cannot be read.
    """
    if not objects.is_url(found.address):
        return Path(found.address)
    root, key = objects.split(found.address)
    copy = scratch / root.partition("://")[2] / key
    copy.parent.mkdir(parents=True, exist_ok=True)
    with objects.explained(found.address, InputError):
        objects.download(found.address, copy)
    return copy
