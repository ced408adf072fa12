"""The journal of a source: postbacks on the disk, written in groups.

While one group is being written and flushed, the postbacks that arrive form the next
one. So a flush, which takes the disk a moment, is shared by all who wait for it. Every
source has a journal with a thread of its own, and none waits for another.

A journal file holds plain lines. Its name begins with the hour of receipt in UTC; when
that is over, or the file is large, it is closed and may be published.
"""

import asyncio
import itertools
import logging
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

HOUR = "%Y%m%dT%H"
"""How the hour of receipt is written in the name of a journal file."""

SUFFIX = ".ndjson"

PROBE = "x" * 4096

fdatasync = getattr(os, "fdatasync", os.fsync)


class JournalFile:
    """One file to which whole groups of lines are appended.

    Attributes
    ----------
    path: the file. It exists as soon as something may be in it.
    hour: hour of receipt of its lines.
    size: bytes that are on the disk for certain.
    """

    def __init__(self, path: Path, hour: str) -> None:
        self.path = path
        self.hour = hour
        self.size = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._file = os.open(path, flags, 0o640)
        flush_folder(path.parent)

    def append(self, lines: bytes) -> None:
        """Write lines and flush them to the disk. Raises OSError if that fails.

        Then the file ends where it did before, as far as that can be had.
        """
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            fdatasync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self.size)
            raise
        self.size += len(lines)

    def close(self) -> None:
        """Close the file, and remove it if it is empty."""
        with suppress(OSError):
            os.close(self._file)
        if self.size == 0:
            with suppress(OSError):
                self.path.unlink()


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that a new file outlasts a crash."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class Journal:
    """The postbacks of one source on their way to the disk.

    Attributes
    ----------
    folder: folder of its files. No other process uses it.
    open_path: the file that is being written; it must not be published yet.
    is_failing: whether the last attempt to write failed.
    """

    def __init__(
        self,
        source: str,
        folder: Path,
        file_bytes: int,
    ) -> None:
        self.folder = folder
        self.open_path: Path | None = None
        self.is_failing = False
        self._file: JournalFile | None = None
        self._file_bytes = file_bytes
        self._token = secrets.token_hex(4)
        self._numbers = itertools.count()
        self._waiting: list[tuple[str, bytes, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, f"journal-{source}")

    async def write(
        self,
        lines: bytes,
        received_at: datetime,
    ) -> None:
        """Return when the lines are on the disk. Raises OSError if they can't be."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((received_at.strftime(HOUR), lines, written))
        if self._task is None:
            self._task = asyncio.create_task(self._write_waiting())
        await written

    async def _write_waiting(self) -> None:
        """Write group after group until nothing waits."""
        while self._waiting:
            group, self._waiting = self._waiting, []
            for hour, members in itertools.groupby(group, key=lambda one: one[0]):
                await self._write_group(hour, list(members))
        self._task = None

    async def _write_group(
        self,
        hour: str,
        group: list[tuple[str, bytes, asyncio.Future[None]]],
    ) -> None:
        lines = b"".join(lines for _, lines, _ in group)
        failure: Exception | None = None
        try:
            await self._in_thread(self._append, hour, lines)
        except Exception as error:  # whatever it is, those who wait must hear of it
            failure = error
            if not self.is_failing:
                reason = getattr(error, "strerror", type(error).__name__)
                log.error("postbacks can't be written (%s)", reason)
        self.is_failing = failure is not None
        for _, _, written in group:
            if written.done():  # given up while the receiver ends
                continue
            if failure:
                written.set_exception(failure)
            else:
                written.set_result(None)

    async def _in_thread(self, function: Callable[..., None], *arguments: Any) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, function, *arguments)

    def _append(self, hour: str, lines: bytes) -> None:
        """Append to the file of this hour, in the journal's thread."""
        file = self._file
        if file and (file.hour != hour or file.size >= self._file_bytes):
            self._close()
        try:
            self._opened(hour).append(lines)
        except OSError:
            # After a failed flush, nothing can be known of what follows in this file.
            self._close()
            raise

    def _opened(self, hour: str) -> JournalFile:
        if self._file is None:
            name = f"{hour}-{self._token}-{next(self._numbers):05d}{SUFFIX}"
            self.open_path = self.folder / name
            self._file = JournalFile(self.open_path, hour)
        return self._file

    def _close(self) -> None:
        if self._file:
            self._file.close()
        self._file = self.open_path = None

    async def look_after(self) -> None:
        """Close the file if its hour is over; try again if writing has failed.

        Call it every few seconds.
        """
        hour = datetime.now(UTC).strftime(HOUR)
        try:
            await self._in_thread(self._look_after, hour)
        except OSError:
            return
        self.is_failing = False

    def _look_after(self, hour: str) -> None:
        if self._file and self._file.hour != hour:
            self._close()
        if self.is_failing:
            probe = self.folder / ".probe"
            probe.write_text(PROBE)
            with probe.open("rb") as file:
                os.fsync(file.fileno())
            probe.unlink()

    async def close(self) -> None:
        """Write what waits, and close the file."""
        while self._task:
            await asyncio.wait([self._task])
        await self._in_thread(self._close)
        self._thread.shutdown()
