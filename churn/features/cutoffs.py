"""The dates of a study: which cutoffs its log allows, and when their outcome is known.

All windows are half-open. A cutoff is the first day that its features may not see.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import islice, takewhile
from typing import Self

from churn.errors import CutoffError
from churn.events import coverage, sources
from churn.settings import Settings, Windows
from churn.store import Store

MAX_MISSING = 0.15
"""Largest share of a window's days whose events may be missing.

With fewer, a shop that closes for ten days at Christmas could not learn a horizon of 90
days. In a simulated app with a hole of 35 days churn rates of the cutoffs that remain
are those of the whole log.
"""


@dataclass(frozen=True)
class Calendar:
    """The dates of a study: possible cutoffs, and when their outcomes are known.

    ``first`` is the first day with an event, ``end`` the day after the last complete
    day. ``step_days`` is the distance between neighbouring cutoffs, ``settling_days``
    the time that the slowest source takes to report a day completely. ``missing`` are
    days before ``end`` whose events are missing, see ``coverage.missing_days``.

    >>> windows = Windows(eligible_days=28, horizon_days=14)
    >>> calendar = Calendar(date(2026, 1, 1), date(2026, 3, 1), windows, 7, 2)
    >>> str(calendar.earliest), str(calendar.newest_mature())
    ('2026-01-29', '2026-02-15')
    >>> [str(cutoff) for cutoff in calendar.series(date(2026, 2, 15), 4)]
    ['2026-02-01', '2026-02-08', '2026-02-15']
    """

    first: date
    end: date
    windows: Windows
    step_days: int
    settling_days: int
    missing: frozenset[date] = frozenset()

    @classmethod
    def of(cls, store: Store) -> Self:
        """The calendar of a store. Raises CutoffError while it has no complete day."""
        end = end_of(store)
        first = store.first_date or date.max
        calendar = cls._under(store.settings, first, end)
        volume = store.scan("volume").collect()
        return replace(calendar, missing=coverage.missing_days(volume, store.settings))

    @classmethod
    def without_log(cls, settings: Settings) -> Self:
        """A calendar that allows every cutoff, for rows already read from a log."""
        return cls._under(settings, date.min, date.max)

    @classmethod
    def _under(
        cls,
        settings: Settings,
        first: date,
        end: date,
    ) -> Self:
        settling_days = max(sources.settling_days(e) for e in settings.extracts)
        step_days = settings.backtest.step_days
        return cls(first, end, settings.windows, step_days, settling_days)

    @property
    def earliest(self) -> date:
        """The first cutoff with a whole eligible window behind it."""
        return self.first + timedelta(days=self.windows.eligible_days)

    def newest_mature(self, as_of: date | None = None) -> date:
        """The newest cutoff whose horizon is over by ``as_of`` (default: ``end``)."""
        days = self.windows.lead_days + self.windows.horizon_days
        return (as_of or self.end) - timedelta(days=days)

    def newest_whole(self) -> date:
        """The newest cutoff whose outcome is known and that has no hole around it.

        Every day counts, not only those a step apart. Where the log has no such cutoff,
        the newest whose horizon is over.
        """
        mature = self.newest_mature()
        n_days = (mature - self.earliest).days + 1
        days = (mature - timedelta(days=k) for k in range(n_days))
        return next((day for day in days if self.is_whole(day)), mature)

    def horizon(self, cutoff: date) -> tuple[date, date]:
        """First day of a cutoff's horizon, and the day after its last."""
        return self.windows.horizon(cutoff)

    def settled(self, day: date) -> date:
        """The day by which every source has reported what happened before ``day``."""
        return day + timedelta(days=self.settling_days)

    def series(
        self,
        newest: date,
        n: int,
    ) -> list[date]:
        """Up to ``n`` cutoffs, a step apart, oldest first and ending with ``newest``.

        Cutoffs before ``earliest`` are not in it, nor are those ``left_out``, in place
        of which earlier ones are taken.
        """
        whole = (day for day in self._steps(newest) if self.is_whole(day))
        return sorted(islice(whole, n))

    def left_out(
        self,
        newest: date,
        n: int,
    ) -> list[date]:
        """The cutoffs that ``series`` lacks because days around them are missing.

        See ``is_whole``; oldest first.
        """
        taken = self.series(newest, n)
        oldest = taken[0] if len(taken) == n else self.earliest
        days = takewhile(lambda day: day >= oldest, self._steps(newest))
        return sorted(day for day in days if not self.is_whole(day))

    def _steps(self, newest: date) -> Iterator[date]:
        """All possible cutoffs from ``newest`` back, a step apart."""
        day = newest
        while day >= self.earliest:
            yield day
            day -= timedelta(days=self.step_days)

    def is_whole(self, cutoff: date) -> bool:
        """Whether a cutoff's eligible window and its horizon have their data.

        One missing day in seven is tolerated in each: it hides the activity of the few
        users who were active on that day alone.
        """
        eligible = cutoff - timedelta(days=self.windows.eligible_days)
        windows = [(eligible, cutoff), self.horizon(cutoff)]
        return not any(self._has_hole(first, end) for first, end in windows)

    def has_whole_horizon(self, cutoff: date) -> bool:
        """Whether a cutoff's horizon has its data, so that silence in it is churn."""
        return not self._has_hole(*self.horizon(cutoff))

    def _has_hole(self, first: date, end: date) -> bool:
        n_missing = sum(first <= day < end for day in self.missing)
        return n_missing > MAX_MISSING * (end - first).days

    @property
    def opening_days(self) -> int:
        """Number of first days of a horizon that are used while it is still open.

        It is about half of the horizon. The lead time and these days together make
        whole steps, so that the open cutoff fits into the series of cutoffs.
        """
        lead, step = self.windows.lead_days, self.step_days
        n_steps = round((lead + self.windows.horizon_days / 2) / step)
        return max(lead // step + 1, n_steps) * step - lead

    def open(self, as_of: date) -> date | None:
        """The cutoff whose opening days end on ``as_of`` while its horizon is open.

        Null if a step is longer than the horizon.
        """
        if self.opening_days >= self.windows.horizon_days:
            return None
        return as_of - timedelta(days=self.windows.lead_days + self.opening_days)

    def with_open(
        self,
        cutoffs: Sequence[date],
        as_of: date,
    ) -> list[date]:
        """The cutoffs and, if it is newer than all of them, the open one."""
        newest = self.open(as_of)
        if newest is None or newest <= max(cutoffs) or newest < self.earliest:
            return [*cutoffs]
        if not self.is_whole(newest):
            return [*cutoffs]
        return [*cutoffs, newest]

    def check(self, cutoffs: Iterable[date]) -> None:
        """Raise CutoffError for cutoffs outside the data.

        These lie before ``earliest`` or after ``end``.
        """
        outside = [str(c) for c in cutoffs if not self.earliest <= c <= self.end]
        if outside:
            raise CutoffError(
                f"cutoff {', '.join(outside)} is outside the data: "
                f"choose from {self.earliest} to {self.end}"
            )

    def check_whole(self, cutoffs: Iterable[date]) -> None:
        """Raise CutoffError for cutoffs with too many missing days around them."""
        unknown = [str(cutoff) for cutoff in cutoffs if not self.is_whole(cutoff)]
        if unknown:
            raise CutoffError(
                f"cutoff {', '.join(unknown)} has days without data in its eligible "
                f"window or its horizon: {missing_in_words(self.missing)}"
            )


def end_of(store: Store) -> date:
    """The newest possible cutoff of a store: the day after its last complete day.

    Raises CutoffError while it has no complete day.
    """
    if store.covered_until is None:
        raise CutoffError("the store has no complete day yet: run `churn ingest` first")
    return store.covered_until + timedelta(days=1)


def missing_in_words(missing: Collection[date]) -> str:
    """How many days are missing from the log, and what to do about it.

    >>> missing_in_words([date(2026, 2, 1), date(2026, 2, 3)])[:58]
    '2 days from 2026-02-01 to 2026-02-03 have hardly any event'
    """
    first, last = min(missing), max(missing)
    if first == last:
        found = f"{first} has"
    else:
        found = f"{len(missing)} days from {first} to {last} have"
    return (
        f"{found} hardly any events. Fetch the missing files and ingest again; if that "
        "is real, name the days in gates.closed"
    )


def left_out_in_words(left_out: Collection[date], missing: Collection[date]) -> str:
    """How many training cutoffs are left out because of missing days.

    >>> left_out_in_words([date(2026, 3, 1)], [date(2026, 2, 1)])[:58]
    'training cutoffs left out: 1, because 2026-02-01 has hardl'
    """
    n = len(left_out)
    return f"training cutoffs left out: {n}, because {missing_in_words(missing)}"
