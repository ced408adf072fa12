"""What a gate is: a finding about data or scores, and which findings stop an export."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from churn.errors import GateError

LIMITS = ("change_rate", "max_users")
"""What a single export may not pass unless it is accepted by name, as a failed gate is.
"""


def check_gates(findings: pl.DataFrame, accept: Sequence[str]) -> None:
    """Raise GateError for each failed gate that isn't accepted, and for an accepted
    name that is no gate or limit.

    ``accept`` names gates: ``missing_day``, or ``missing_day:2026-12-25`` for that day
    alone, so that a holiday doesn't hide a day that goes missing later.
    """
    named = {entry.partition(":")[0] for entry in accept}
    if strange := sorted(named - {*findings["gate"], *LIMITS}):
        there = ", ".join([*sorted(findings["gate"]), *LIMITS])
        raise GateError(f"accept: {', '.join(strange)} is no gate; there are {there}")
    failed = findings.filter(~pl.col("passed"))
    said = [
        f"{finding['gate']}: {finding['sentence']}"
        for finding in failed.iter_rows(named=True)
        if finding["gate"] not in accept
        and not set(finding.get("days", "").split(", "))
        <= _accepted_days(finding["gate"], accept)
    ]
    if said:
        raise GateError(
            f"stopped, since a gate failed: {'; '.join(said)}. If it is as it should be, accept it by name"
        )


def _accepted_days(gate: str, accept: Sequence[str]) -> set[str]:
    return {
        day
        for name, _, day in (entry.partition(":") for entry in accept)
        if name == gate and day
    }


MAX_SAID = 5  # cases spelled out in a sentence


Case = tuple[str, str, str]  # where, on which days, what was seen


def finding(
    cutoff: date, gate: str, passed: bool, sentence: str, **facts: str
) -> dict[str, Any]:
    """One row of ``tables.Findings``; ``facts`` are days, expected and seen."""
    details = {"days": "", "expected": "", "seen": "", **facts}
    return {
        "cutoff": cutoff,
        "gate": gate,
        "passed": passed,
        **details,
        "sentence": sentence,
    }


def verdict(
    cutoff: date, gate: str, cases: Sequence[Case], expected: str, cure: str, whole: str
) -> dict[str, Any]:
    """Passes without cases, saying ``whole``; else names the first few, and says what
    to do.
    """
    if not cases:
        return finding(cutoff, gate, True, whole, expected=expected)
    rest = f"; and {len(cases) - MAX_SAID} more" if len(cases) > MAX_SAID else ""
    said = "; ".join(
        f"{where}, {days}: {seen}" for where, days, seen in cases[:MAX_SAID]
    )
    days = ", ".join(sorted({days for _, days, _ in cases}))
    seen = "; ".join(f"{where}: {seen}" for where, _, seen in cases[:MAX_SAID])
    return finding(
        cutoff,
        gate,
        False,
        f"{said}{rest}. {cure}",
        days=days,
        expected=expected,
        seen=f"{seen}{rest}",
    )
