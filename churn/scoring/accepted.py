"""Days of a gate that somebody has accepted, and that later nights don't ask for again.

A holiday stays in the judged days for weeks. Once it is accepted, by whom, when and why
is kept in the store, a small file for each gate, day and place.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from churn import account
from churn.errors import StoreError
from churn.scoring.gate import Case, cases_of, verdict
from churn.store import Place

REMEMBERED = (
    "missing_day",
    "excess_day",
    "vanished_event",
    "clock_shift",
    "bulk_backfill",
    "schema_change",
    "copied_day",
)
"""Gates whose cases are single days of the log, which no later fault can be.

An accept of another gate is good for one run only: old data, for instance, grows older
every day, and a second delivery on the same day is another fault.
"""

FOLDER = "accepted"
BY_PLATFORM = ("missing_day", "excess_day")
"""Gates that name a platform behind its extract."""

TOLERANCE = 0.1
"""By so much, or such a share, a case may be further off than when it was accepted.

What is usual shifts a little from night to night. A day that was quiet when it was
accepted and has lost its events since is another fault.
"""


@dataclass(frozen=True)
class Accepted:
    """One accepted case: a gate, the day, the extract or part of it, and who did it.

    ``off`` says how far off the day was.
    """

    gate: str
    day: str
    where: str
    off: float
    who: str
    at: str
    why: str

    def covers(self, gate: str, case: Case) -> bool:
        """Whether it is this case, and that is hardly further off than it was then.

        A day of a whole extract covers that day of its platforms.
        """
        is_day = (self.gate, self.day) == (gate, case.days)
        is_part = gate in BY_PLATFORM and case.where.startswith(f"{self.where} ")
        is_there = case.where == self.where or is_part
        allowed = self.off + TOLERANCE * max(1.0, self.off)
        return is_day and is_there and case.off <= allowed

    @property
    def described(self) -> str:
        """The accept in words."""
        why = f" ({self.why})" if self.why else ""
        return f"{self.where}, {self.day} by {self.who} on {self.at[:10]}{why}"


def read(place: Place, first: date = date.min) -> list[Accepted]:
    """Everything accepted for days from ``first`` on, oldest day first."""
    names = [name for name in place.names(FOLDER) if _day(name) >= str(first)]
    return [_parsed(place, name) for name in names]


def _day(name: str) -> str:
    return name.removeprefix(f"{FOLDER}/")[:10]


def _parsed(place: Place, name: str) -> Accepted:
    content = place.read(name)
    try:
        return Accepted(**json.loads(content or b""))
    except (ValueError, TypeError):
        raise StoreError(
            f"{place.below(name)} is damaged: remove it, and accept the day again"
        ) from None


def without(finding: dict[str, Any], accepted: Sequence[Accepted]) -> dict[str, Any]:
    """A finding in which accepted cases no longer count, but are named.

    ``finding`` is that of ``gate.verdict``.
    """
    gate = finding["gate"]
    left: list[Case] = []
    named: list[str] = []
    for case in cases_of(finding):
        covering = [entry for entry in accepted if entry.covers(gate, case)]
        if covering:
            named.append(covering[0].described)
        else:
            left.append(case)
    if not named:
        return finding
    judged = verdict(
        finding["cutoff"],
        gate,
        left,
        expected=finding["expected"],
        cure=finding["cure"],
        all_clear=finding["all_clear"],
    )
    sentence = f"{judged['sentence']}; accepted: {'; '.join(named)}"
    return {**judged, "sentence": sentence}


def remember(
    place: Place,
    findings: pl.DataFrame,
    why: str,
) -> pl.DataFrame:
    """Keep the cases of the findings that failed and have been accepted.

    Returns the findings, in which these gates now pass and say by whom they were
    accepted. Those of gates that aren't remembered stay as they are.
    """
    who = account.name()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    rows = [
        _kept(place, finding, who, at, why)
        for finding in findings.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=findings.schema)


def _kept(
    place: Place,
    finding: dict[str, Any],
    who: str,
    at: str,
    why: str,
) -> dict[str, Any]:
    gate = finding["gate"]
    if finding["passed"] or gate not in REMEMBERED:
        return finding
    for case in cases_of(finding):
        entry = Accepted(
            gate=gate,
            day=case.days,
            where=case.where,
            off=case.off,
            who=who,
            at=at,
            why=why,
        )
        content = json.dumps(asdict(entry), indent=1).encode()
        place.write(_name(entry), content)
    reason = f" ({why})" if why else ""
    sentence = f"{finding['sentence']}; accepted by {who} on {at[:10]}{reason}"
    return {**finding, "passed": True, "sentence": sentence}


def _name(entry: Accepted) -> str:
    where = hashlib.blake2b(entry.where.encode(), digest_size=6).hexdigest()
    return f"{FOLDER}/{entry.day}.{entry.gate}.{where}.json"


def table(entries: Sequence[Accepted]) -> pl.DataFrame:
    """Accepted cases as a table: gate, day, where, who, at, why."""
    columns = ("gate", "day", "where", "who", "at", "why")
    rows = [{name: getattr(entry, name) for name in columns} for entry in entries]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))


def revoke(place: Place, named: str) -> int:
    """Take back what was accepted of a gate on a day, written GATE:DATE.

    Returns how many cases that were.
    """
    gate, _, day = named.partition(":")
    entries = [entry for entry in read(place) if (entry.gate, entry.day) == (gate, day)]
    place.remove(*map(_name, entries))
    return len(entries)
