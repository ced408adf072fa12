"""Publishing: closed journal files become packed files where ingest looks for them.

A file is removed from the spool only when the folder or object store has acknowledged
the packed one. If that fails it stays, and is tried again. A file's name follows from
that of its journal, so publishing one twice replaces it by the same content.

    postbacks/adjust/t=RECEIVER/dt=2026-03-08/h=2/20260308T02-9f3c01aa-00000.postbacks.ndjson.gz

The marker ``_SUCCESS`` says that an hour of this receiver is complete, as in AppsFlyer's
Data Locker; ingest waits for it.
"""

import gzip
import logging
import mmap
import threading
from datetime import UTC, datetime
from pathlib import Path

from churn.errors import StoreError
from churn.receive.journal import HOUR, SUFFIX, Journal, flush_folder
from churn.store.places import Place

log = logging.getLogger(__name__)

MARKER = "_SUCCESS"
POLL_SECONDS = 2.0
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 300.0

GZIP_LEVEL = 4
"""Ingest reads a file once, so more time for fewer bytes isn't worth it."""

SETTLING_SECONDS = 60
"""How long after an hour a postback may still be on its way to its journal."""


class Publisher(threading.Thread):
    """The thread that publishes the journal of one source until it is ended.

    Attributes
    ----------
    n_published: files published so far.
    """

    def __init__(
        self,
        source: str,
        journal: Journal,
        place: Place,
        receiver: str,
    ) -> None:
        super().__init__(name=f"publisher-{source}", daemon=True)
        self.n_published = 0
        self._source = source
        self._journal = journal
        self._place = place
        self._receiver = receiver
        self._unmarked = {_hour(file) for file in self.unpublished()}
        self._is_over = threading.Event()

    def unpublished(self) -> list[Path]:
        """Closed files of the journal that aren't published, the oldest first."""
        files = sorted(self._journal.folder.glob(f"*{SUFFIX}"))
        return [file for file in files if file != self._journal.open_path]

    def run(self) -> None:
        """Publish until ``end`` is called, and once more after that."""
        wait = POLL_SECONDS
        while True:
            is_last = self._is_over.wait(wait)
            try:
                self.publish(datetime.now(UTC), is_last)
                wait = POLL_SECONDS
            except (StoreError, OSError) as error:
                wait = min(max(wait * 2, FIRST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)
                log.warning(
                    "%d files of %s wait to be published: %s; next attempt in %.0f s",
                    len(self.unpublished()),
                    self._source,
                    error,
                    wait,
                )
            if is_last:
                return

    def publish(
        self,
        now: datetime,
        is_last: bool = False,
    ) -> None:
        """Publish all closed files, then mark the hours that are over.

        ``is_last``: whether nothing more will be received, so that this hour is over as
        well. Raises StoreError if the place can't be written to.
        """
        self._unmarked.add(now.strftime(HOUR))
        for file in self.unpublished():
            self._publish(file)
        settled = datetime.fromtimestamp(now.timestamp() - SETTLING_SECONDS, UTC)
        going_on = {now.strftime(HOUR), settled.strftime(HOUR)}
        over = self._unmarked if is_last else self._unmarked - going_on
        waiting = {_hour(file) for file in self.unpublished()}
        if self._journal.open_path:
            waiting.add(_hour(self._journal.open_path))
        for hour in sorted(over - waiting):
            self._place.write(f"{self._folder(hour)}/{MARKER}", b"")
            self._unmarked.discard(hour)

    def _publish(self, file: Path) -> None:
        hour = _hour(file)
        name = f"{self._folder(hour)}/{file.stem}.postbacks.ndjson.gz"
        content = _packed(file)
        if content:
            self._place.write(name, content)
            if self._place.is_local:
                flush_folder(Path(self._place.below(name)).parent)
        file.unlink()
        self._unmarked.add(hour)
        self.n_published += 1

    def _folder(self, hour: str) -> str:
        start = datetime.strptime(hour, HOUR).replace(tzinfo=UTC)
        day = f"dt={start.date().isoformat()}"
        return f"{self._source}/t={self._receiver}/{day}/h={start.hour}"

    def end(self, seconds: float) -> None:
        """Publish what is closed by now and end, at the latest after so many seconds.

        What isn't published by then stays in the spool until the next start.
        """
        self._is_over.set()
        self.join(seconds)
        left = len(self.unpublished())
        if left:
            log.warning("%d files of %s stay in the spool", left, self._source)


def _hour(file: Path) -> str:
    return file.name.partition("-")[0]


def _packed(file: Path) -> bytes:
    """A journal file's whole lines, packed; nothing if there are none.

    After a crash the last line may be half of one. Nobody got an answer for it.
    """
    if file.stat().st_size == 0:
        return b""
    with (
        file.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
        view[: content.rfind(b"\n") + 1] as lines,
    ):
        return gzip.compress(lines, GZIP_LEVEL, mtime=0) if lines else b""
