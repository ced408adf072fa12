"""Which files an extract has, here or in an object store, and how each is told apart from what was read before."""

import fnmatch
import glob
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from churn.errors import InputError
from churn.sources import SUFFIXES, appsflyer
from churn.study import Extract, Study

MARKER = "_SUCCESS"  # beside the files of an hour that is whole


@dataclass(frozen=True)
class Found:
    """One file of an extract. ``name`` is its path below the extract's, ``stamp`` changes whenever its content may."""

    extract: Extract
    address: str
    name: str
    stamp: str
    size: int


def find(extract: Extract, study: Study) -> tuple[list[Found], list[Found]]:
    """The extract's files sorted by name, and those that wait since their hour is still being written.

    Hidden files, markers and foreign suffixes inside a folder are passed over. Raises InputError where there is none.
    """
    remote = "://" in extract.path
    listed = list(_objects(extract) if remote else _local(extract, study))
    usable = [f for f in listed if _readable(f, SUFFIXES[extract.source])]
    if not usable:
        where = extract.path if remote else study.path(extract.path)
        raise InputError(
            f"extract {extract.path}: no file at {where}; expected "
            f"names that end in {', '.join(SUFFIXES[extract.source])}"
        )
    waiting = _waiting(listed)
    superseded = {f.name.replace("events_", "events_intraday_") for f in usable} if extract.source == "ga4" else set()
    ready = [f for f in usable if f.name not in waiting | superseded]
    return sorted(ready, key=lambda f: f.name), [f for f in usable if f.name in waiting]


def _readable(file: Found, suffixes: tuple[str, ...]) -> bool:
    name = PurePosixPath(file.address).name
    return file.name == "" or (not name.startswith((".", "_")) and name.lower().endswith(suffixes))


def _waiting(listed: Iterable[Found]) -> set[str]:
    """Names in hours without a marker, where the same report has markers in other hours and none in a later one."""
    hours = [(f.name, appsflyer.topic("/" + f.name)) for f in listed]
    marked: dict[str, int] = {}
    for name, hour in hours:
        if hour and name.endswith(MARKER):
            marked[hour[0]] = max(marked.get(hour[0], 0), hour[1])
    return {name for name, hour in hours if hour and hour[0] in marked and hour[1] > marked[hour[0]]}


def _local(extract: Extract, study: Study) -> Iterable[Found]:
    path = study.path(extract.path)
    if path.is_file():
        found, root = [path], path
    elif path.is_dir():
        found, root = list(path.rglob("*")), path
    else:
        found, root = [Path(p) for p in glob.glob(str(path), recursive=True)], Path(*_fixed_parts(path))
    for file in found:
        if file.is_file():
            status, name = file.stat(), file.relative_to(root).as_posix()
            stamp = f"{status.st_size}:{status.st_mtime_ns}"
            yield Found(extract, str(file), "" if name == "." else name, stamp, status.st_size)


def _fixed_parts(path: Path) -> list[str]:
    parts = path.parts
    first = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return list(parts[: min(first, len(parts) - 1)])


def _objects(extract: Extract) -> Iterable[Found]:
    root, key = _split(extract.path)
    prefix = "/".join(_fixed_parts(PurePosixPath(key) / "*")) if glob.has_magic(key) else key  # type: ignore[arg-type]
    try:
        pages = obstore.list(_store(root), prefix=prefix or None)
        objects = [item for page in pages for item in page]
    except BaseError as error:
        raise _unreachable(extract.path, error) from None
    for item in objects:
        path = str(item["path"])
        if not glob.has_magic(key) or fnmatch.fnmatchcase(path, key):
            stamp = f"{item['size']}:{item['e_tag'] or item['last_modified']}"
            name = path.removeprefix(prefix).strip("/")
            yield Found(extract, f"{root}/{path}", name, stamp, int(item["size"]))


def _split(url: str) -> tuple[str, str]:
    """Store and key: the bucket, or for Azure account and container, and what comes after."""
    parts = urlsplit(url)
    key = parts.path.strip("/")
    if parts.scheme == "az":
        container, _, key = key.partition("/")
        return f"{parts.scheme}://{parts.netloc}/{container}", key
    return f"{parts.scheme}://{parts.netloc}", key


def _store(root: str):  # type: ignore[no-untyped-def]
    return from_url(root, retry_config={"max_retries": 3, "retry_timeout": timedelta(minutes=2)})


def _unreachable(address: str, error: BaseError) -> InputError:
    # The error's own text may hold a signed address.
    return InputError(
        f"{address} can't be reached ({type(error).__name__}); are bucket, region and "
        "credentials in the environment right?"
    )


def fetch(found: Found, scratch: Path) -> Path:
    """The file on this machine: itself, or a copy of the object below ``scratch``, its folders kept."""
    if "://" not in found.address:
        return Path(found.address)
    root, key = _split(found.address)
    copy = scratch / urlsplit(root).netloc / key
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with copy.open("wb") as out:
            for part in obstore.get(_store(root), key).stream():
                out.write(part)
    except BaseError as error:
        raise _unreachable(found.address, error) from None
    return copy
