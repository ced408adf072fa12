"""The lock that lets one process at a time change a store.

In a folder it is a file lock, which ends with its process. An object store has no such
lock. There it is a lease: an object that its holder rewrites every few seconds, each
time only if nobody else has written it. Another process watches that object. If it
changes, its holder is alive. If it stays the same for long enough, its holder has died
and the lease is taken over. The clocks of two machines are never compared.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from churn.errors import BusyError, StoreError
from churn.store.places import Place

INGEST = ".ingest.lock"
"""Name of the lock of a process that changes the tables of a store."""

NIGHT = ".night.lock"
"""Name of the lock of a night, which lasts for all its stages."""

PROMOTION = ".promotion.lock"
"""Name of the lock of a process that makes another model the champion."""

RECEIVER = ".receiver.lock"
"""Name of the lock of a receiver's spool."""

AUDIENCES = ".audiences.lock"
"""Name of the lock of a process that writes or cleans the files of audiences."""

HOLDERS = {
    INGEST: "ingest into",
    NIGHT: "night of",
    PROMOTION: "promotion of a model in",
    RECEIVER: "receiver with the spool",
    AUDIENCES: "export of audiences from",
}
"""What the holder of a lock does, before the name of the store."""

log = logging.getLogger(__name__)


class Held:
    """The lock of a store while this process holds it.

    Attributes
    ----------
    was_taken_over: whether the process that held it before has not released it.
    """

    was_taken_over = False

    def check(self) -> None:
        """Raise StoreError if another process has taken the lock over.

        Call it before every commit. A file lock is never taken over.
        """


@dataclass(frozen=True)
class Timing:
    """When a lease is renewed and taken over, in seconds.

    Attributes
    ----------
    renewal: time between two renewals by the holder.
    lease: time without a renewal after which the holder counts as dead.
    poll: time between two looks at the lease of another process.
    """

    renewal: float = 15
    lease: float = 60
    poll: float = 3


@contextmanager
def exclusively(
    place: Place,
    timing: Timing = Timing(),
    name: str = INGEST,
) -> Iterator[Held]:
    """Hold a lock of the place: INGEST, NIGHT, PROMOTION, RECEIVER or AUDIENCES.

    Raises BusyError if another process holds it. In an object store, finding out takes
    up to ``timing.lease`` seconds.
    """
    if place.is_local:
        with _file_lock(Path(place.address), name):
            yield Held()
        return
    lease = Lease(place, timing, name)
    lease.acquire()
    try:
        yield lease
    finally:
        lease.release()


@contextmanager
def _file_lock(
    root: Path,
    name: str,
) -> Iterator[None]:
    lock = FileLock(root / name, timeout=0)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise _running(name, root) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(f"{root} can't be locked ({reason})") from None
    try:
        yield
    finally:
        lock.release()


def _running(
    name: str,
    where: Path | str,
) -> BusyError:
    return BusyError(
        f"another {HOLDERS[name]} {where} is running; wait until it has ended"
    )


class Lease(Held):
    """The lock of a store in an object store, renewed by a thread until released."""

    def __init__(
        self,
        place: Place,
        timing: Timing,
        name: str = INGEST,
    ) -> None:
        self._place = place
        self._timing = timing
        self._name = name
        self._token = secrets.token_hex(8)
        self._n_writes = 0
        self._tag: str | None = None
        self._is_lost = False
        self._writing = threading.Lock()
        self._is_over = threading.Event()
        self._renewing = threading.Thread(target=self._renew_repeatedly, daemon=True)

    def acquire(self) -> None:
        """Take the lease. Raises BusyError if its holder is alive."""
        self._tag, self.was_taken_over = self._free_tag()
        if not self._write():
            raise self._taken()
        self._renewing.start()

    def check(self) -> None:
        """Renew the lease now. Raises StoreError if it was taken over or lost."""
        if not self._renew():
            raise StoreError(
                f"the lock of {self._place.address} was taken over, because this "
                "process did not renew it in time; nothing was committed, so run the "
                "command again"
            )

    def release(self) -> None:
        """Mark the lease as free, unless another process has taken it over.

        The object stays, because a removal cannot depend on who wrote it last.
        """
        self._is_over.set()
        with self._writing:
            try:
                if not self._is_lost:
                    self._write(is_free=True)
            except StoreError as error:
                log.warning("the lock was not released: %s", error)

    def _free_tag(self) -> tuple[str | None, bool]:
        """Entity tag of a lease that nobody alive holds, and whether it is taken over.

        The tag is null if there is no lease.
        """
        first = self._place.tagged(self._name)
        if first is None or _holder(first[0]).get("is_free"):
            return first[1] if first else None, False
        log.info("the lock of %s is held; watching its holder", self._place.address)
        unchanged_since = last_look = time.monotonic()
        while last_look - unchanged_since < self._timing.lease:
            time.sleep(self._timing.poll)
            found = self._place.tagged(self._name)
            if found is None or _holder(found[0]).get("is_free"):
                return found[1] if found else None, False
            if found[1] != first[1]:
                raise self._taken()
            now = time.monotonic()
            # While the object store was busy, the holder could not renew either.
            if now - last_look > self._timing.poll + self._timing.renewal:
                unchanged_since = now
            last_look = now
        return first[1], True

    def _taken(self) -> BusyError:
        found = self._place.tagged(self._name)
        holder = _holder(found[0]) if found else {}
        if not {"host", "process"} <= holder.keys():
            return _running(self._name, self._place.address)
        by = f"process {holder['process']} on {holder['host']}"
        return _running(self._name, f"{self._place.address} (by {by})")

    def _renew_repeatedly(self) -> None:
        while not self._is_over.wait(self._timing.renewal):
            try:
                if not self._renew():
                    log.warning("the lock of %s was taken over", self._place.address)
                    return
            except StoreError as error:
                log.warning("the lock was not renewed: %s", error)

    def _renew(self) -> bool:
        with self._writing:
            if not self._is_lost and not self._is_over.is_set():
                self._is_lost = not self._write()
            return not self._is_lost

    def _write(self, is_free: bool = False) -> bool:
        """Write the lease if it is unchanged; whether that succeeded."""
        self._n_writes += 1
        content = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "token": self._token,
            "n_writes": self._n_writes,
            "is_free": is_free,
        }
        text = json.dumps(content).encode()
        if not self._place.write_if(self._name, text, self._tag):
            return False
        found = self._place.tagged(self._name)
        if found is None or found[0] != text:
            return False
        self._tag = found[1]
        return True


def _holder(content: bytes) -> dict[str, Any]:
    """What a lease says of its holder; empty if it can't be read."""
    try:
        holder = json.loads(content)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}
