"""What the receiver takes at a time: bytes in memory, and requests of one peer."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

MAX_PEERS = 10_000
"""Peers whose requests are counted; those that were quiet longest are forgotten."""


class TooBusyError(Exception):
    """The receiver has no memory left for this request at the moment."""


class Memory:
    """Bytes that the bodies of one source may take from when they are read until written.

    Attributes
    ----------
    n_bytes: how many they take now.
    """

    def __init__(self, max_bytes: int) -> None:
        self.n_bytes = 0
        self._max_bytes = max_bytes

    @contextmanager
    def taken(self, n_bytes: int) -> Iterator[None]:
        """Take so many bytes while the block lasts. Raises TooBusyError if too many."""
        if self.n_bytes + n_bytes > self._max_bytes:
            raise TooBusyError
        self.n_bytes += n_bytes
        try:
            yield
        finally:
            self.n_bytes -= n_bytes


class Rate:
    """Requests of each peer in a second: as many on average, and at once."""

    def __init__(self, max_per_second: float) -> None:
        self._max = max_per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, peer: str) -> bool:
        """Whether a peer may make one more request now; it is counted if so."""
        now = time.monotonic()
        left, last = self._left.pop(peer, (max(self._max, 1.0), now))
        left = min(left + (now - last) * self._max, max(self._max, 1.0))
        is_allowed = left >= 1
        self._left[peer] = (left - is_allowed, now)
        if len(self._left) > MAX_PEERS:
            self._left.popitem(last=False)
        return is_allowed
