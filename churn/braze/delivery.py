"""What all deliveries share: lock the ledger, plan, check limits, send, record.

A run first closes an interrupted one. It stores its plan before it sends, and one run
at a time uses a ledger.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from churn.braze import key as secret
from churn.braze import limits, outcomes, plan
from churn.braze.ledger import closing, database, erasure, history, keys, runs
from churn.braze.ledger.database import Ledger
from churn.braze.ledger.recorder import Recorder
from churn.braze.ledger.runs import NOT_ATTEMPTED, SENT, Result, Run
from churn.braze.payload import Batches
from churn.braze.plan import Plan
from churn.settings import Braze, Settings

if TYPE_CHECKING:
    from churn.braze.sending import Sent

log = logging.getLogger(__name__)

WAIT_SECONDS = 600.0
"""Longest time that a run waits for another one to end."""

ANSWER_SECONDS = 0.1
"""Assumed time to an answer in the forecast of the first run."""

BATCHES_AHEAD = 4
"""Batches reserved ahead per worker.

After a crash up to this many may be reported unknown although never sent.
"""


@dataclass(frozen=True)
class Delivery:
    """How a run delivers.

    Nothing is sent without ``send``: a dry run plans and counts. ``accept`` names
    failed gates and exceeded limits to go on with. ``opted_out`` users get null
    whatever their score. A ``run_id`` can be used for one sending only. ``progress``
    shows a progress bar.
    """

    settings: Settings
    run_id: str
    send: bool = False
    accept: Sequence[str] = ()
    opted_out: Sequence[str] = ()
    progress: bool = True


@dataclass(frozen=True)
class Export:
    """What an export did or, in a dry run, would do.

    ``summary``: counts. ``transitions``: users by old and new segment (from, to, n).
    ``outcomes``: one row per user (identifier, outcome, reason). ``sample_bodies``:
    request bodies with pseudonyms for identifiers.
    """

    summary: dict[str, Any]
    transitions: pl.DataFrame
    outcomes: pl.DataFrame
    sample_bodies: list[str]


MakePlan = Callable[[Ledger, Sequence[str]], Plan]
"""Makes a plan from the ledger and those who are forgotten or opted out."""


@contextmanager
def open_ledger(
    settings: Settings, wait_seconds: float | None = WAIT_SECONDS
) -> Iterator[Ledger]:
    """Open the study's ledger at its place; see ``database.opened``."""
    braze = settings.braze
    url = settings.ledger_url
    place = (braze.endpoint, braze.workspace, braze.kind)
    with database.opened(url, *place, wait_seconds) as ledger:
        yield ledger


def deliver(
    delivery: Delivery,
    step: str,
    make_plan: MakePlan,
) -> Export:
    """Make a plan and, with ``delivery.send``, send it; ``step`` names the run's kind.

    Raises GateError if sending would exceed a limit, BrazeError if it stopped: what was
    acknowledged by then is in the ledger, and the next run sends the rest.
    """
    braze = delivery.settings.braze
    key = _key(braze) if delivery.send else secret.if_given()
    wait_seconds = WAIT_SECONDS if delivery.send else None
    results: list[Result] = []
    with open_ledger(delivery.settings, wait_seconds) as ledger:
        _close_interrupted(ledger)
        gone = [*erasure.waiting(ledger), *delivery.opted_out]
        planned = make_plan(ledger, gone)
        batches = Batches.of(planned.changes, braze)
        exceeded = limits.exceeded(planned, braze)
        exceeded |= limits.against_ledger(planned, ledger, key)
        summary = _forecast(ledger, planned, batches, delivery)
        summary["beyond_limits"] = list(exceeded.values())
        n_users = summary["n_changed"]
        n_requests = summary["n_requests"]
        log.info("%s: %d users to write in %d requests", step, n_users, n_requests)
        if delivery.send:
            limits.check(exceeded, delivery.accept)
            run = _start(ledger, delivery, step, planned)
            results, sent = _send(ledger, run, delivery, planned, batches, key)
            summary |= outcomes.counts(results, sent)
            _finish(ledger, run, planned, sent, summary)
    default = NOT_ATTEMPTED if delivery.send else outcomes.PLANNED
    return Export(
        summary,
        plan.transitions(planned),
        outcomes.of_plan(planned, results, default),
        outcomes.sample_bodies(planned, braze),
    )


def _key(braze: Braze) -> str:
    """The key, once nothing in the environment forbids to send with it."""
    # Imported here, so that a dry run loads no HTTP client.
    from churn.braze import client

    key = secret.from_environment()
    client.check_environment(braze, key)
    return key


def _close_interrupted(ledger: Ledger) -> None:
    if not ledger.is_exclusive:
        log.warning(
            "another export is running: "
            "what it has not sent yet is counted as still to be sent"
        )
    elif n_unknown := closing.close_interrupted(ledger):
        log.warning(
            "a run was interrupted: the outcome of %d users is unknown, "
            "and this run sends them all their attributes again",
            n_unknown,
        )


def _forecast(
    ledger: Ledger,
    planned: Plan,
    batches: Batches,
    delivery: Delivery,
) -> dict[str, Any]:
    braze = delivery.settings.braze
    answer_seconds = history.answer_seconds(ledger) or ANSWER_SECONDS
    counts = limits.forecast(planned, len(batches.ranges), braze, answer_seconds)
    return {
        "endpoint": braze.endpoint,
        "workspace": braze.workspace,
        **counts,
        "dry_run": not delivery.send,
    }


def _start(
    ledger: Ledger,
    delivery: Delivery,
    step: str,
    planned: Plan,
) -> Run:
    changes = planned.changes
    return runs.start(
        ledger,
        delivery.run_id,
        step,
        changes,
        planned.names,
        planned.cutoff,
    )


def _send(
    ledger: Ledger,
    run: Run,
    delivery: Delivery,
    planned: Plan,
    batches: Batches,
    key: str,
) -> tuple[list[Result], "Sent"]:
    """Send the batches; every result is in the ledger when this returns."""
    from churn.braze import sending

    braze = delivery.settings.braze
    if batches.ranges:
        _wait_for_unanswered(ledger, braze)
    ahead = BATCHES_AHEAD * braze.concurrency * braze.batch_size
    with Recorder(ledger, run, ahead) as recorder:
        sent = sending.send(
            batches,
            braze,
            key,
            recorder,
            delivery.progress,
            planned.retried_from,
        )
    _bind_key(ledger, delivery, recorder.results, key)
    return recorder.results, sent


def _bind_key(
    ledger: Ledger,
    delivery: Delivery,
    results: Sequence[Result],
    key: str,
) -> None:
    """Remember whose key this is, once Braze has taken it or a person has said so."""
    was_taken = any(result.outcome == SENT for result in results)
    if was_taken or "changed_key" in delivery.accept:
        keys.bind(ledger, key)


def _wait_for_unanswered(ledger: Ledger, braze: Braze) -> None:
    """Wait until a request without an answer can no longer overwrite newer values."""
    # The ledger's times are cut to seconds.
    longest = 1 + braze.quiet_seconds
    wait = history.last_unanswered_at(ledger) + longest - time.time()
    # A clock that was set back since would make the wait longer than it can need to be.
    wait = min(wait, longest)
    if wait > 0:
        log.warning(
            "waiting %.0f seconds: requests of an earlier run may still be applied",
            wait,
        )
        time.sleep(wait)


def _finish(
    ledger: Ledger,
    run: Run,
    planned: Plan,
    sent: "Sent",
    summary: dict[str, Any],
) -> None:
    """Close the run in the ledger; raise the error that stopped it, if any did."""
    n_users = planned.changes.height
    error = str(sent.error) if sent.error else None
    stored = {**summary, "error": error}
    closing.finish(
        ledger,
        run,
        n_users,
        stored,
        lost=sent.n_unanswered > 0,
    )
    erasure.complete(ledger)
    if sent.error:
        raise type(sent.error)(
            f"{sent.error}. {summary['n_sent']:,} of {n_users:,} users were "
            "delivered; run the export again to send the rest"
        )
