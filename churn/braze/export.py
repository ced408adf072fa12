"""Writes to Braze what changed since the last acknowledged delivery.

``run`` delivers scores, ``restore`` what users had before a run, ``resend`` a file of
rejects. Each is a dry run unless the delivery says ``send``.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from churn.braze import corrections, id_lists, outcomes, plan
from churn.braze.delivery import Delivery, Export, deliver, open_ledger
from churn.braze.ledger import database, erasure, history, users
from churn.braze.ledger.database import Ledger
from churn.braze.ledger.runs import EXPORT
from churn.braze.plan import Plan
from churn.errors import InputError
from churn.scoring import segments
from churn.scoring.gate import check_gates
from churn.settings import Settings


def run(
    scores: pl.DataFrame,
    findings: pl.DataFrame,
    delivery: Delivery,
) -> Export:
    """Write to Braze what changed: scores against the ledger.

    ``scores`` have the columns identifier, segment, score, cutoff and, if there are
    reasons, reason_1. Raises GateError if a gate failed or, when sending, a limit is
    exceeded, that isn't accepted by name; BrazeError if delivery stopped: what was
    acknowledged by then is in the ledger, and the same export again sends the rest.
    """
    check_gates(findings, delivery.accept)

    def make_plan(
        ledger: Ledger,
        gone: Sequence[str],
    ) -> Plan:
        names = history.names(ledger)
        braze = delivery.settings.braze
        made = plan.make(
            scores,
            users.pages(ledger),
            braze,
            synced_names=names,
            gone=gone,
        )
        return plan.with_rejected_last(made, history.rejections(ledger))

    done = deliver(delivery, EXPORT, make_plan)
    all_outcomes = outcomes.with_unchanged(done.outcomes, scores)
    n_unchanged = (all_outcomes["outcome"] == outcomes.UNCHANGED).sum()
    summary = {
        "n_scored": scores.height,
        "n_unmatched": scores["identifier"].null_count(),
        "n_unchanged": int(n_unchanged),
        **done.summary,
    }
    return replace(done, summary=summary, outcomes=all_outcomes)


def restore(bad_run: str, delivery: Delivery) -> Export:
    """Write what users had before a run, except to users a later run has written to."""

    def make_plan(
        ledger: Ledger,
        gone: Sequence[str],
    ) -> Plan:
        changes = history.restorable(ledger, bad_run)
        synced = users.synced(ledger)
        return corrections.restoring(changes, synced, delivery.settings.braze, gone)

    return deliver(delivery, f"restore {bad_run}", make_plan)


def resend(file: Path, delivery: Delivery) -> Export:
    """Write a corrected file of rejects: a CSV with identifier and attributes."""
    try:
        frame = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{file} can't be read ({type(error).__name__})") from None
    settings = delivery.settings
    names = segments.names(settings)

    def make_plan(
        ledger: Ledger,
        gone: Sequence[str],
    ) -> Plan:
        return corrections.from_file(
            frame,
            users.synced(ledger),
            settings.braze,
            names,
            gone,
        )

    return deliver(delivery, f"resend {file.name}", make_plan)


def outcome_counts(done: Export) -> pl.DataFrame:
    """Users by outcome and reason, most first: outcome, reason, n."""
    counted = done.outcomes.group_by("outcome", "reason").agg(n=pl.len())
    texts = pl.col("outcome", "reason").cast(pl.String)
    return counted.with_columns(texts).sort("n", descending=True)


def forget(settings: Settings, identifiers: Callable[[str], Sequence[str]]) -> int:
    """Forget users in the ledger and delete the id lists.

    ``identifiers``: the users' identifiers of a kind, since the study may have used
    another kind before. Returns how many users wait for a null write by the next
    export.
    """
    id_lists.delete(settings)
    if not database.exists_at(settings.ledger_url):
        return 0
    with open_ledger(settings) as ledger:
        return sum(
            erasure.forget(ledger, identifiers(kind), kind)
            for kind in history.kinds(ledger)
        )
