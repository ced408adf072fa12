"""What a plan would cost, and whether it stays within the study's limits."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from churn.braze.attributes import GONE, LAPSED
from churn.braze.ledger import history, keys
from churn.braze.ledger.database import Ledger
from churn.braze.plan import Plan
from churn.errors import GateError
from churn.settings import Braze

MIN_REPLACED = 50
"""Up to this many users may always change segment, whatever share of all they are."""


def forecast(
    plan: Plan,
    n_requests: int,
    braze: Braze,
    answer_seconds: float,
) -> dict[str, Any]:
    """Users, requests, data points and minutes that sending the plan takes.

    ``answer_seconds``: mean time to an answer, which limits the pace of few workers.
    """
    why = plan.changes["why"]
    per_second = min(braze.requests_per_second, braze.concurrency / answer_seconds)
    seconds = n_requests / per_second
    if braze.requests_per_hour:
        full_hours = (n_requests - 1) // braze.requests_per_hour
        seconds = max(seconds, 3600.0 * full_hours)
    return {
        "n_changed": plan.changes.height,
        "n_moved": _n_replaced(plan),
        "n_lapsed": int((why == LAPSED).sum()),
        "n_gone": int((why == GONE).sum()),
        "n_undeliverable": len(plan.undeliverable),
        "n_requests": n_requests,
        "n_data_points": int(plan.changes["n_points"].sum()),
        "data_points_by_attribute": _by_attribute(plan),
        "minutes": round(seconds / 60, 3),
    }


def exceeded(plan: Plan, braze: Braze) -> dict[str, str]:
    """Limits of the study that the plan exceeds: a sentence by the limit's name."""
    sentences = {}
    n_replaced = _n_replaced(plan)
    allowed = max(MIN_REPLACED, braze.max_change_rate * plan.n_synced)
    if plan.n_synced and n_replaced > allowed:
        share = n_replaced / plan.n_synced
        sentences["change_rate"] = (
            f"{n_replaced:,} of {plan.n_synced:,} synced users ({share:.0%}) would "
            f"change segment, more than max_change_rate ({braze.max_change_rate:.0%}): "
            "did the events, the model or the study change?"
        )
    n_users = plan.changes.height
    if braze.max_users is not None and n_users > braze.max_users:
        sentences["max_users"] = (
            f"{n_users:,} users would be written, more than max_users "
            f"({braze.max_users:,})"
        )
    return sentences


def against_ledger(
    plan: Plan,
    ledger: Ledger,
    key: str,
) -> dict[str, str]:
    """What contradicts the ledger, like ``exceeded``.

    That is scores older than those sent last, and a key that is new to the workspace.
    ``key`` may be empty, as in a dry run without one; then it is not looked at.
    """
    sentences = {}
    sent = history.sent_cutoff(ledger)
    if sent and plan.cutoff and plan.cutoff < sent[0]:
        newest, run_id = sent
        sentences["older_cutoff"] = (
            f"the values are those of cutoff {plan.cutoff}, and run {run_id} has "
            f"written those of {newest}: users would be put back. Export the newest "
            "scores"
        )
    if key and keys.is_changed(ledger, key):
        sentences["changed_key"] = (
            "the key in CHURN_BRAZE_KEY is none of those that this workspace was "
            "written with so far. If it belongs to another workspace, give that one a "
            "label of its own as braze.workspace; if it replaces the old key, accept "
            "it once"
        )
    return sentences


def check(exceeded: dict[str, str], accept: Sequence[str]) -> None:
    """Raise GateError for every exceeded limit that isn't accepted by name."""
    faults = [
        f"{name}: {sentence}"
        for name, sentence in exceeded.items()
        if name not in accept
    ]
    if faults:
        raise GateError(
            f"nothing was sent: {'; '.join(faults)}. "
            "If this is right, accept the limit by name"
        )


def _n_replaced(plan: Plan) -> int:
    return int(plan.changes.select(pl.col("replaces_segment").sum()).item())


def _by_attribute(plan: Plan) -> dict[str, int]:
    """Data points of each attribute, without those that aren't written."""
    text = pl.col("attributes")
    counts = {
        name: plan.changes.select(text.str.contains(f'"{name}":', literal=True).sum())
        for name in plan.names
    }
    return {name: n.item() for name, n in counts.items() if n.item()}
