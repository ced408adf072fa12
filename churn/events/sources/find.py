"""Which files an extract has, here or in an object store, and how each is told apart
from what was read before.
"""

import fnmatch
import functools
import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePath, PurePosixPath

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from churn.errors import InputError
from churn.events.sources import SUFFIXES, appsflyer, ga4
from churn.settings import Extract, Settings

MARKER = "_SUCCESS"  # beside the files of an hour that is whole


@dataclass(frozen=True)
class Found:
    """One file of an extract. ``name`` is its path below the extract's, ``stamp``
    changes whenever its content may.
    """

    extract: Extract
    address: str
    name: str
    stamp: str
    size: int


def find(extract: Extract, settings: Settings) -> tuple[list[Found], list[Found]]:
    """The extract's files, sorted by name, and those that wait since their hour is
    still being written.

    Hidden files and folders, markers and foreign suffixes are passed over. Raises
    InputError where there is none.
    """
    remote = "://" in extract.path
    listed = list(_objects(extract) if remote else _local(extract, settings))
    usable = sorted(
        (f for f in listed if _readable(f, SUFFIXES[extract.source])),
        key=lambda f: _in_order(f.name),
    )
    if not usable:
        where = extract.path if remote else settings.path(extract.path)
        raise InputError(
            f"extract {extract.path}: no file at {where}; expected "
            f"names that end in {', '.join(SUFFIXES[extract.source])}"
        )
    waiting = _waiting(listed)
    passed = waiting | (_superseded(usable) if extract.source == "ga4" else set())
    return [f for f in usable if f.address not in passed], [
        f for f in usable if f.address in waiting
    ]


def _readable(file: Found, suffixes: tuple[str, ...]) -> bool:
    hidden = any(part.startswith((".", "_")) for part in PurePosixPath(file.name).parts)
    return file.name == "" or (not hidden and file.name.lower().endswith(suffixes))


def _in_order(name: str) -> list[str | int]:
    """h=2 comes before h=10."""
    return [
        int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", name))
    ]


def _waiting(listed: Iterable[Found]) -> set[str]:
    """Files in hours without a marker, where the same report has markers in other hours
    and none in a later one.
    """
    hours = [
        (f.address, topic) for f in listed if (topic := appsflyer.topic(f.address))
    ]
    marked: dict[str, int] = {}
    for address, (report, hour) in hours:
        if PurePosixPath(address).name == MARKER:
            marked[report] = max(marked.get(report, 0), hour)
    return {
        address
        for address, (report, hour) in hours
        if report in marked and hour > marked[report]
    }


def _superseded(usable: Iterable[Found]) -> set[str]:
    """Intraday tables of days whose own table is there."""
    tables = [(f.address, table) for f in usable if (table := ga4.table(f.address))]
    whole = {day for _, (day, intraday) in tables if not intraday}
    return {address for address, (day, intraday) in tables if intraday and day in whole}


def _local(extract: Extract, settings: Settings) -> Iterator[Found]:
    folder, path = settings.path("."), settings.path(extract.path)
    if path.exists():
        found, root = [path, *path.rglob("*")], path
    else:
        root = folder.joinpath(*_fixed_parts(PurePath(extract.path)))
        found = [
            folder / p for p in glob.glob(extract.path, root_dir=folder, recursive=True)
        ]
        reports = {topic[0] for f in found if (topic := appsflyer.topic(f.as_posix()))}
        found += [f for report in reports for f in Path(report).rglob(MARKER)]
    for file in found:
        if file.is_file():
            status, name = (
                file.stat(),
                "" if file == path else os.path.relpath(file, root),
            )
            yield Found(
                extract,
                str(file),
                name,
                f"{status.st_size}:{status.st_mtime_ns}",
                status.st_size,
            )


def _fixed_parts(path: PurePath) -> list[str]:
    """The folders before the first that a pattern may match in many ways."""
    return list(
        itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1])
    )


def _objects(extract: Extract) -> Iterator[Found]:
    root, key = _split(extract.path)
    pattern = PurePosixPath(key).parts if glob.has_magic(key) else None
    prefix = "/".join(_fixed_parts(PurePosixPath(key))) if pattern else key
    try:
        objects = [
            item
            for page in obstore.list(_store(root), prefix=prefix or None)
            for item in page
        ]
        if not objects and key and not pattern:
            objects = [obstore.head(_store(root), key)]
    except FileNotFoundError:
        return
    except (BaseError, OSError) as error:
        raise _unreachable(extract.path, error) from None
    for item in objects:
        path = str(item["path"])
        parts = PurePosixPath(path).parts
        if not pattern or _matches(parts, pattern) or parts[-1] == MARKER:
            stamp = f"{item['size']}:{item['e_tag'] or item['last_modified']}"
            name = path.removeprefix(prefix).strip("/")
            yield Found(extract, f"{root}/{path}", name, stamp, int(item["size"]))


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """As glob does it: ``*`` within one folder, ``**`` any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return _matches(path, pattern[1:]) or (
            bool(path) and _matches(path[1:], pattern)
        )
    return (
        bool(path)
        and fnmatch.fnmatchcase(path[0], pattern[0])
        and _matches(path[1:], pattern[1:])
    )


def _split(url: str) -> tuple[str, str]:
    """Bucket (for Azure: container) and key. Names may hold ``#`` and ``?``, so this is
    no job for urlsplit.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key.strip("/")


@functools.cache
def _store(root: str, retries: int = 3):  # type: ignore[no-untyped-def]
    # Client options given here would override those in the environment, so a request
    # ends after its default 30 s.
    return from_url(
        root, retry_config={"max_retries": retries, "retry_timeout": timedelta(hours=1)}
    )


def _unreachable(address: str, error: Exception) -> InputError:
    # The error's own text may hold a signed address.
    answer = re.search(r"status code: (\d{3} [A-Za-z ]*)", str(error))
    return InputError(
        f"{address} can't be read{f' ({answer[1].strip()})' if answer else ''}; are bucket or container, account, "
        "region and credentials in the environment right?"
    )


def fetch(found: Found, scratch: Path) -> Path:
    """The file on this machine: itself, or a copy of the object below ``scratch``, its
    folders kept.
    """
    if "://" not in found.address:
        return Path(found.address)
    root, key = _split(found.address)
    copy = scratch / root.partition("://")[2] / key
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with copy.open("wb") as out:
            for part in obstore.get(
                _store(root, retries=30), key
            ).stream():  # goes on where a request ended
                out.write(part)
    except (BaseError, FileNotFoundError) as error:
        raise _unreachable(found.address, error) from None
    return copy
