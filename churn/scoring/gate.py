"""Findings of gates, and which of them stop an export."""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

import polars as pl

from churn.errors import GateError

LIMITS = (
    "change_rate",
    "max_users",
    "older_cutoff",
    "changed_key",
)
"""Limits of a single export. Like a failed gate, each can be accepted by name."""

# Largest number of cases that a finding's sentence lists.
MAX_CASES = 5


class Case(NamedTuple):
    """One reason for which a gate fails: where, on which days, and what was seen.

    ``off`` says how far off a day is, so that an accepted one is asked for again if it
    has become worse; 0 where nothing can.
    """

    where: str
    days: str
    seen: str
    off: float = 0.0


def cases_of(finding: dict[str, Any]) -> list[Case]:
    """The cases of a finding; none if it passed or an earlier version stored it."""
    return [Case(*fields) for fields in json.loads(finding.get("cases") or "[]")]


def check_gates(findings: pl.DataFrame, accept: Sequence[str]) -> None:
    """Raise GateError for every failed gate that isn't accepted.

    ``accept`` names gates: ``missing_day``, or ``missing_day:2026-12-25`` for that day
    alone. The second form accepts a holiday without hiding a day that goes missing
    later. A name that is neither a gate nor a limit raises GateError as well.
    """
    known = [*sorted(findings["gate"]), *LIMITS]
    named = {entry.partition(":")[0] for entry in accept}
    if unknown := sorted(named - set(known)):
        raise GateError(
            f"accept: {', '.join(unknown)} is not a gate or limit; there are "
            f"{', '.join(known)}"
        )
    found = stopping(findings, accept)
    if found:
        named_in_words = "; ".join(f"{f['gate']}: {f['sentence']}" for f in found)
        raise GateError(
            f"stopped, because a gate failed: {named_in_words}. If the data is "
            "right, accept the gate by name, or one day of it as GATE:DATE. Public "
            "holidays need no accepting once the study states gates.country"
        )


def stopping(findings: pl.DataFrame, accept: Sequence[str]) -> list[dict[str, Any]]:
    """The findings of failed gates that ``accept`` doesn't cover, see check_gates."""
    failed = findings.filter(~pl.col("passed"))
    return [f for f in failed.iter_rows(named=True) if not _is_accepted(f, accept)]


def _is_accepted(finding: dict[str, Any], accept: Sequence[str]) -> bool:
    """Whether a failed gate is accepted as a whole, or for each day it names."""
    if finding["gate"] in accept:
        return True
    entries = [entry.partition(":") for entry in accept]
    days = {day for gate, _, day in entries if gate == finding["gate"] and day}
    return set(finding.get("days", "").split(", ")) <= days


def finding(
    cutoff: date, gate: str, passed: bool, sentence: str, **facts: str
) -> dict[str, Any]:
    """One row of ``schemas.Findings``; ``facts`` are days, expected, seen and cases."""
    details = {
        "days": "",
        "expected": "",
        "seen": "",
        "cases": "",
        **facts,
    }
    return {
        "cutoff": cutoff,
        "gate": gate,
        "passed": passed,
        **details,
        "sentence": sentence,
    }


def verdict(
    cutoff: date,
    gate: str,
    cases: Sequence[Case],
    *,
    expected: str,
    cure: str,
    all_clear: str,
) -> dict[str, Any]:
    """The finding of a gate, which fails if there is at least one case.

    Without a case the sentence is ``all_clear``. Otherwise it lists the first few cases
    and ends with ``cure``, which says what to do.

    Beside the columns of ``schemas.Findings`` it has ``cure`` and ``all_clear``, with
    which a later step can judge anew without some of the cases.
    """
    texts = {
        "expected": expected,
        "cure": cure,
        "all_clear": all_clear,
    }
    if not cases:
        return finding(
            cutoff,
            gate,
            True,
            all_clear,
            **texts,
        )
    shown = cases[:MAX_CASES]
    n_more = len(cases) - len(shown)
    rest = f"; and {n_more} more" if n_more else ""
    spelled_out = "; ".join(f"{case.where}, {case.days}: {case.seen}" for case in shown)
    seen = "; ".join(f"{case.where}: {case.seen}" for case in shown)
    return finding(
        cutoff,
        gate,
        False,
        f"{spelled_out}{rest}. {cure}",
        days=", ".join(sorted({case.days for case in cases})),
        seen=f"{seen}{rest}",
        cases=json.dumps(cases),
        **texts,
    )
