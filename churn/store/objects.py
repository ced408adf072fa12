"""Requests to object stores: s3://, gs:// and az:// addresses.

Credentials, region and endpoint come from the environment only, under the names that
obstore, deltalake and polars all know, such as AWS_ACCESS_KEY_ID or AWS_ENDPOINT_URL.

A request that gets no answer fails within seconds, so that a wrong endpoint is noticed
at once. A store that answers that it is busy (429 or 5xx) is asked again for minutes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from churn.errors import ChurnError

if TYPE_CHECKING:
    from obstore.store import RetryConfig

T = TypeVar("T")

SHORT: RetryConfig = {"max_retries": 3}

N_RETRIES = 60
FIRST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(seconds=5)
# A download counts as one request, so the limit has to allow for large objects.
LONGEST_REQUEST = timedelta(hours=1)
LONG: RetryConfig = {
    "max_retries": N_RETRIES,
    "retry_timeout": LONGEST_REQUEST,
    "backoff": {"init_backoff": FIRST_WAIT, "max_backoff": LONGEST_WAIT, "base": 2},
}

DELTA_OPTIONS = {
    "max_retries": str(N_RETRIES),
    "retry_timeout": f"{LONGEST_REQUEST.total_seconds():.0f}s",
    "backoff_config.init_backoff": f"{FIRST_WAIT.total_seconds():.0f}s",
    "backoff_config.max_backoff": f"{LONGEST_WAIT.total_seconds():.0f}s",
}
"""Storage options by which deltalake retries as long as the requests here do.

Everything else, conditional puts included, works with its defaults.
"""

POLARS_OPTIONS = {
    "max_retries": N_RETRIES,
    "retry_timeout_ms": int(LONGEST_REQUEST.total_seconds() * 1000),
    "retry_init_backoff_ms": int(FIRST_WAIT.total_seconds() * 1000),
    "retry_max_backoff_ms": int(LONGEST_WAIT.total_seconds() * 1000),
}
"""Storage options by which ``polars.scan_parquet`` retries as long as well."""


THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def leave_the_proxy_out() -> None:
    """Ask a store on this machine without the proxy that the environment names.

    obstore, deltalake and polars know no other way than the variable NO_PROXY. The
    hosts that it names already stay in it.
    """
    given = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    missing = [host for host in THIS_MACHINE if host not in hosts]
    if "*" in hosts or not missing:
        return
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(hosts + missing)


def is_url(address: str) -> bool:
    """Whether an address is a URL and not a path on this machine."""
    return "://" in address


def split(url: str) -> tuple[str, str]:
    """Address of the bucket (in Azure: the container), and the key in it.

    Keys may hold ``#`` and ``?``, so urlsplit does not fit.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key.strip("/")


def listed(url: str) -> list[Any]:
    """Objects below an address, with path (the key), size, e_tag and last_modified."""
    import obstore

    root, key = split(url)

    def request(client: Any) -> list[Any]:
        pages = obstore.list(client, prefix=key or None)
        return [item for page in pages for item in page]

    return _ask(root, request)


def head(url: str) -> Any:
    """The object at an address, described as ``listed`` does; null if there is none."""
    import obstore

    root, key = split(url)
    try:
        return _ask(root, lambda client: obstore.head(client, key))
    except FileNotFoundError:
        return None


def get(url: str) -> tuple[bytes, str] | None:
    """Content and entity tag of an object; null if there is none."""
    import obstore

    root, key = split(url)

    def request(client: Any) -> tuple[bytes, str]:
        answer = obstore.get(client, key)
        return bytes(answer.bytes()), _tag(answer.meta)

    try:
        return _ask(root, request)
    except FileNotFoundError:
        return None


def download(url: str, file: Path) -> None:
    """Copy an object to a file. Raises FileNotFoundError if there is none."""
    import obstore

    root, key = split(url)
    # A stream continues where a request was interrupted.
    stream = obstore.get(_client(root, is_patient=True), key).stream()
    with file.open("wb") as out:
        for part in stream:
            out.write(part)


def put(url: str, content: bytes) -> None:
    """Replace an object."""
    import obstore

    root, key = split(url)
    _ask(root, lambda client: obstore.put(client, key, content))


def put_if(url: str, content: bytes, tag: str | None) -> bool:
    """Replace an object if its entity tag is still ``tag``; null: if there is none.

    Returns whether the object now holds ``content``. A repeated request may find that
    the first one succeeded although its answer was lost. Therefore the content is
    compared, and two writers must never write the same. Raises FileNotFoundError if
    there is no such bucket.
    """
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    root, key = split(url)
    mode: Any = _version(tag) if tag else "create"
    try:
        _ask(root, lambda client: obstore.put(client, key, content, mode=mode))
    except FileNotFoundError:
        if tag is None:
            raise  # The bucket itself does not exist.
        return False
    except (AlreadyExistsError, PreconditionError):
        found = get(url)
        return found is not None and found[0] == content
    return True


def delete(*urls: str) -> None:
    """Remove objects of one bucket; those that do not exist are passed over."""
    import obstore

    if not urls:
        return
    root, _ = split(urls[0])
    keys = [split(url)[1] for url in urls]
    try:
        _ask(root, lambda client: obstore.delete(client, keys))
    except FileNotFoundError:
        # Some object stores stop at the first that does not exist.
        for key in keys if len(keys) > 1 else []:
            delete(f"{root}/{key}")


@contextlib.contextmanager
def explained(address: str, error_type: type[ChurnError]) -> Iterator[None]:
    """Turn any error of an object store into one sentence that names the address.

    The error's own text is not quoted, because it may hold a signed address.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        answer = _status(error)
        quoted = f" ({answer})" if answer else ""
        raise error_type(
            f"{address} can't be reached{quoted}; are bucket or container, account, "
            "region and credentials in the environment right?"
        ) from None


def _ask(root: str, request: Callable[[Any], T]) -> T:
    from obstore.exceptions import BaseError

    try:
        return request(_client(root))
    except BaseError as error:
        if not re.match("429|5", _status(error)):
            raise
    return request(_client(root, is_patient=True))


def _status(error: Exception) -> str:
    """Code and name of the HTTP status that an error reports; empty without answer."""
    status = re.search(r"status code: (\d{3} [A-Za-z ]*)", str(error))
    return status[1].strip() if status else ""


@functools.cache
def _client(root: str, is_patient: bool = False) -> Any:
    from obstore.store import from_url

    leave_the_proxy_out()
    # Client options given here would override those in the environment, so requests
    # keep their default time limit of 30 s.
    return from_url(root, retry_config=LONG if is_patient else SHORT)


def _tag(meta: Any) -> str:
    """Entity tag and version of an object as one text; Google needs the version."""
    return f"{meta['e_tag'] or ''} {meta['version'] or ''}"


def _version(tag: str) -> dict[str, str]:
    e_tag, _, version = tag.rpartition(" ")
    named = {"e_tag": e_tag, "version": version}
    return {name: value for name, value in named.items() if value}
