"""The files of an extract, on this machine or in an object store.

Each file gets a stamp, by which a file that was read before is recognised. Files of an
hour that is still being written must wait, and provisional files are skipped once the
final ones exist.
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
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from churn.errors import InputError
from churn.events.sources import SUFFIXES, appsflyer, ga4
from churn.settings import Extract, Settings

MARKER = "_SUCCESS"
"""Name of the marker file that says that the hour in its folder is complete."""

FETCH_RETRIES = 30
RETRY_TIMEOUT = timedelta(hours=1)


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


def find(extract: Extract, settings: Settings) -> tuple[list[Found], list[Found]]:
    """The extract's files, sorted by name, and those that wait for their hour to end.

    Hidden files and folders, markers and files with other suffixes are passed over.
    Raises InputError if no file remains.
    """
    is_remote = "://" in extract.path
    listed = list(_objects(extract) if is_remote else _local(extract, settings))
    suffixes = SUFFIXES[extract.source]
    readable = [file for file in listed if _is_readable(file, suffixes)]
    if not readable:
        where = extract.path if is_remote else settings.path(extract.path)
        raise InputError(
            f"extract {extract.path}: no file at {where}; expected "
            f"names that end in {', '.join(suffixes)}"
        )
    readable.sort(key=lambda file: _sort_key(file.name))
    unfinished = _unfinished(listed)
    passed_over = set(unfinished)
    if extract.source == "ga4":
        passed_over |= _superseded(readable)
    ready = [file for file in readable if file.address not in passed_over]
    waiting = [file for file in readable if file.address in unfinished]
    return ready, waiting


def _is_readable(file: Found, suffixes: tuple[str, ...]) -> bool:
    if file.name == "":
        return True
    parts = PurePosixPath(file.name).parts
    is_hidden = any(part.startswith((".", "_")) for part in parts)
    return not is_hidden and file.name.lower().endswith(suffixes)


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


def _superseded(files: Iterable[Found]) -> set[str]:
    """Addresses of GA4's intraday tables of days whose final table exists."""
    tables = []
    for file in files:
        table = ga4.table(file.address)
        if table:
            tables.append((file.address, *table))
    final = {day for _, day, is_intraday in tables if not is_intraday}
    return {
        address for address, day, is_intraday in tables if is_intraday and day in final
    }


def _local(extract: Extract, settings: Settings) -> Iterator[Found]:
    path = settings.path(extract.path)
    if path.exists():
        root = path
        files = [path, *path.rglob("*")]
    else:
        folder = settings.path(".")
        root = folder.joinpath(*_fixed_parts(PurePath(extract.path)))
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
        stamp = f"{status.st_size}:{status.st_mtime_ns}"
        yield Found(extract, str(file), name, stamp, status.st_size)


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


def _fixed_parts(path: PurePath) -> list[str]:
    """The folders before the first one with a wildcard."""
    return list(
        itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1])
    )


def _objects(extract: Extract) -> Iterator[Found]:
    root, key = _bucket_and_key(extract.path)
    pattern = PurePosixPath(key).parts if glob.has_magic(key) else None
    prefix = "/".join(_fixed_parts(PurePosixPath(key))) if pattern else key
    for item in _listed(extract, root, prefix, is_pattern=pattern is not None):
        path = str(item["path"])
        parts = PurePosixPath(path).parts
        if not pattern or _matches(parts, pattern) or parts[-1] == MARKER:
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
    try:
        bucket = _bucket(root)
        pages = obstore.list(bucket, prefix=prefix or None)
        objects = [item for page in pages for item in page]
        if not objects and prefix and not is_pattern:
            objects = [obstore.head(bucket, prefix)]
    except FileNotFoundError:
        return []
    except (BaseError, OSError) as error:
        raise _unreachable(extract.path, error) from None
    return objects


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Match as glob does: ``*`` within one folder, ``**`` any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**" and _matches(path, pattern[1:]):
        return True
    if not path:
        return False
    if pattern[0] == "**":
        return _matches(path[1:], pattern)
    is_match = fnmatch.fnmatchcase(path[0], pattern[0])
    return is_match and _matches(path[1:], pattern[1:])


def _bucket_and_key(url: str) -> tuple[str, str]:
    """Address of the bucket (in Azure: the container), and the key in it.

    Keys may hold ``#`` and ``?``, so urlsplit does not fit.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key.strip("/")


@functools.cache
def _bucket(root: str, retries: int = 3):  # type: ignore[no-untyped-def]
    # Client options given here would override those in the environment, so requests
    # keep their default time limit of 30 s.
    return from_url(
        root, retry_config={"max_retries": retries, "retry_timeout": RETRY_TIMEOUT}
    )


def _unreachable(address: str, error: Exception) -> InputError:
    # The error's own text is not quoted, because it may hold a signed address.
    status = re.search(r"status code: (\d{3} [A-Za-z ]*)", str(error))
    answer = f" ({status[1].strip()})" if status else ""
    return InputError(
        f"{address} can't be read{answer}; are bucket or container, account, "
        "region and credentials in the environment right?"
    )


def fetch(found: Found, scratch: Path) -> Path:
    """The file on this machine: itself, or a copy of the object below ``scratch``.

    The copy keeps the folders of its key, since readers look at them. Raises InputError
    if the object cannot be read.
    """
    if "://" not in found.address:
        return Path(found.address)
    root, key = _bucket_and_key(found.address)
    copy = scratch / root.partition("://")[2] / key
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        # A stream continues where a request was interrupted.
        stream = obstore.get(_bucket(root, retries=FETCH_RETRIES), key).stream()
        with copy.open("wb") as out:
            for part in stream:
                out.write(part)
    except (BaseError, FileNotFoundError) as error:
        raise _unreachable(found.address, error) from None
    return copy
