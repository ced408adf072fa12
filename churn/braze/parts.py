"""The parts of a plan on their way: each is one request, or becomes smaller ones.

How many users a request may hold is a matter of the contract, so a run learns it from
what Braze refuses.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from churn.braze import payload
from churn.braze.answers import Answer
from churn.braze.payload import Batches, Range

SIZES = (500, 250, 100, 75, 50, 25, 10, 5, 2, 1)
"""Users of a request tried after a refusal; Braze's contracts name 75, 50 and 5."""


@dataclass
class Part:
    """A range being delivered, which ``may_be_applied`` without an acknowledgement."""

    range: Range
    may_be_applied: bool = False
    n_failures: int = 0
    failing_seconds: float = 0.0
    sent_at: float = 0.0
    confirmed_at: float = field(default_factory=time.monotonic)

    @property
    def n_users(self) -> int:
        """Positions in the range."""
        return self.range[1] - self.range[0] + 1


class Remaining(Iterator[Range]):
    """The ranges that no worker has taken yet, shared by all workers.

    ``max_users``: users that a request may hold, as far as is known; null: as many as
    the study says.
    """

    def __init__(self, batches: Batches) -> None:
        self.max_users: int | None = None
        self._batches = batches
        self._ranges = deque(batches.ranges)

    def __next__(self) -> Range:
        if not self._ranges:
            raise StopIteration
        return self._ranges.popleft()

    def __len__(self) -> int:
        return len(self._ranges)

    def shrink(self, max_users: int) -> bool:
        """Cut what remains into requests of so many users; false if they aren't fewer."""
        if self.max_users is not None and max_users >= self.max_users:
            return False
        self.max_users = max_users
        if self._ranges:
            first = self._ranges[0][0]
            self._ranges = deque(self._batches.cut(first, max_users))
        return True


@dataclass
class Tried:
    """The requests of one range: which sizes were refused, and which were taken."""

    n_refused: int = 0
    largest_taken: int = 0
    has_invalid: bool = False

    def add(self, n_users: int, answer: Answer) -> None:
        """Note what came of a request with so many users."""
        if answer.was_taken:
            self.largest_taken = max(self.largest_taken, n_users)
        elif answer.split:
            self.n_refused += 1
        else:
            self.has_invalid = True

    @property
    def max_users(self) -> int | None:
        """The size that helped: the larger requests were refused for their size alone.

        Null if nothing was refused, or if users were refused whatever the size, since
        one of them may have been the reason.
        """
        is_known = self.n_refused and self.largest_taken and not self.has_invalid
        return self.largest_taken if is_known else None


def first_parts(part: Range, max_users: int | None) -> list[Part]:
    """A range as it is sent first: whole, or in parts of so many users, last first."""
    n_users = part[1] - part[0] + 1
    if max_users is None or n_users <= max_users:
        return [Part(part)]
    return [Part(piece) for piece in reversed(payload.pieces(part, max_users))]


def split(part: Part, answer: Answer) -> list[Part]:
    """Smaller parts of a refused request, or single users of a vague answer.

    After a vague answer each user may have been accepted.
    """
    size = 1 if answer.split == "singles" else smaller_size(part.n_users)
    may_be_applied = part.may_be_applied or answer.split == "singles"
    pieces = payload.pieces(part.range, size)
    return [Part(piece, may_be_applied) for piece in pieces]


def smaller_size(n_users: int) -> int:
    """The next smaller of SIZES.

    >>> smaller_size(75), smaller_size(50), smaller_size(6), smaller_size(1000)
    (50, 25, 5, 500)
    """
    return next((size for size in SIZES if size < n_users), 1)
