"""Scores → what changed → Braze → ledger. A dry run unless told to send.

A run settles what a killed one left, freezes its plan, sends, records, and ends: one at
a time per ledger.
"""

import json
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from churn.braze import database, ledger, payload, plan
from churn.braze.database import Ledger
from churn.braze.ledger import NOT_ATTEMPTED, SENT, UNKNOWN, Result
from churn.braze.plan import Plan
from churn.braze.recorder import Recorder
from churn.errors import InputError
from churn.hashing import digest
from churn.scoring import segments
from churn.scoring.gate import check_gates
from churn.settings import Braze, Settings

if TYPE_CHECKING:
    from churn.braze.client import Sent

log = logging.getLogger(__name__)
ID_LIST = "churn_"  # how the files begin, so that no others are touched
EXPORT = "export"
PLANNED, REJECTED = "planned", "rejected"
HELD_BACK = f"refused {plan.MAX_REFUSALS} times; not tried again until it changes, but by `churn braze resend`"
UNDELIVERABLE = "the identifier is empty or too long for Braze"
WAIT_SECONDS = 600.0  # for another run to end
ANSWER_SECONDS = 0.1  # how long an answer is taken to need before any was seen
# reserved per worker: so many may count as unknown after a crash without having been
# sent
BATCHES_AHEAD = 4


@dataclass(frozen=True)
class Export:
    """What an export did, or in a dry run would do.

    ``summary`` holds the counts, ``transitions`` (from, to, n) the changed segments,
    ``outcomes`` (identifier, outcome, reason) one row per user, ``sample_bodies``
    request bodies with pseudonyms for ids.
    """

    summary: dict[str, Any]
    transitions: pl.DataFrame
    outcomes: pl.DataFrame
    sample_bodies: list[str]


def run(
    scores: pl.DataFrame,
    settings: Settings,
    *,
    run_id: str,
    findings: pl.DataFrame,
    send: bool = False,
    accept: Sequence[str] = (),
    opted_out: Sequence[str] = (),
    progress: bool = True,
) -> Export:
    """Tell Braze what changed since it was last told; without ``send`` only say what
    that would be.

    ``opted_out``: identifiers that get null whatever their score. Raises GateError if a
    gate failed or, when sending, a limit was passed that isn't accepted by name;
    BrazeError if delivery stopped: what was acknowledged until then is in the ledger,
    and the same export again sends the rest.
    """
    check_gates(findings, accept)

    def make(book: Ledger, told: pl.DataFrame, gone: Sequence[str]) -> Plan:
        return plan.make(
            scores, told, settings.braze, told_names=ledger.names(book), gone=gone
        )

    done = _export(settings, EXPORT, run_id, make, send, accept, opted_out, progress)
    outcomes = _with_unchanged(done.outcomes, scores)
    summary = {
        "n_scored": scores.height,
        "n_unmatched": scores["identifier"].null_count(),
        "n_unchanged": int((outcomes["outcome"] == "unchanged").sum()),
    }
    return Export(
        summary | done.summary, done.transitions, outcomes, done.sample_bodies
    )


def restore(
    settings: Settings,
    bad_run: str,
    *,
    run_id: str,
    send: bool = False,
    accept: Sequence[str] = (),
    opted_out: Sequence[str] = (),
    progress: bool = True,
) -> Export:
    """Send the values from before a run to everybody whom no later run has told
    anything else.
    """

    def make(book: Ledger, told: pl.DataFrame, gone: Sequence[str]) -> Plan:
        return plan.restored(
            ledger.restorable(book, bad_run), told, settings.braze, gone
        )

    return _export(
        settings, f"restore {bad_run}", run_id, make, send, accept, opted_out, progress
    )


def resend(
    settings: Settings,
    file: Path,
    *,
    run_id: str,
    send: bool = False,
    accept: Sequence[str] = (),
    opted_out: Sequence[str] = (),
    progress: bool = True,
) -> Export:
    """Send a file of rejects, mended by hand: a CSV with the columns identifier and
    attributes.
    """
    try:
        frame = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{file} can't be read ({type(error).__name__})") from None

    def make(_: Ledger, told: pl.DataFrame, gone: Sequence[str]) -> Plan:
        return plan.read_file(
            frame, told, settings.braze, segments.names(settings), gone
        )

    return _export(
        settings, f"resend {file.name}", run_id, make, send, accept, opted_out, progress
    )


def opened(settings: Settings, wait_seconds: float | None = WAIT_SECONDS) -> Any:
    """The study's ledger; see ``database.opened``."""
    braze = settings.braze
    return database.opened(
        settings.ledger_url, braze.endpoint, braze.workspace, braze.kind, wait_seconds
    )


def forget(settings: Settings, identifiers: Callable[[str], Sequence[str]]) -> int:
    """Forget users in the ledger and drop id lists; returns for how many a null write
    waits for the next export.

    ``identifiers`` gives theirs by kind, since the study may have addressed them
    otherwise before.
    """
    _drop_id_lists(settings)
    database.drop_old_copy(settings.ledger_url)
    if not database.exists_at(settings.ledger_url):
        return 0
    with opened(settings) as book:
        return sum(
            ledger.forget(book, identifiers(kind), kind) for kind in ledger.kinds(book)
        )


def _export(
    settings: Settings,
    what: str,
    run_id: str,
    make: Callable[[Ledger, pl.DataFrame, Sequence[str]], Plan],
    send: bool,
    accept: Sequence[str],
    opted_out: Sequence[str],
    progress: bool,
) -> Export:
    """What all exports share; ``make`` drafts the plan from the ledger, what was told,
    and who gets null or nothing.
    """
    braze = settings.braze
    key = _key_from_environment() if send else ""
    with opened(settings, WAIT_SECONDS if send else None) as book:
        if not book.is_alone:
            log.warning(
                "another export is running: what it has yet to tell is shown as still to be told"
            )
        elif n_unknown := ledger.settle(book):
            log.warning(
                "a run was interrupted; %d users may or may not have been reached",
                n_unknown,
            )
        refusals = ledger.refusals(book)
        made = make(book, ledger.told(book), [*ledger.forgotten(book), *opted_out])
        drafted, n_trusted = plan.without_refused(
            made, refusals if what == EXPORT else refusals.clear()
        )
        items = payload.items(drafted.changes, braze.kind, braze.create_unknown_users)
        ranges = payload.batches(
            items.str.len_bytes().to_list(), braze.batch_size, braze.max_body_bytes
        )
        beyond = plan.beyond_limits(drafted, braze)
        summary = plan.forecast(
            drafted, len(ranges), braze, ledger.answer_seconds(book) or ANSWER_SECONDS
        )
        summary |= {"dry_run": not send, "beyond_limits": list(beyond.values())}
        log.info(
            "%s: %d users to be told in %d requests",
            what,
            summary["n_changed"],
            len(ranges),
        )
        results: list[Result] = []
        if send:
            plan.check_limits(beyond, accept)
            results = _send(
                book,
                _Sending(
                    drafted,
                    n_trusted,
                    items,
                    ranges,
                    braze,
                    key,
                    run_id,
                    what,
                    progress,
                ),
                summary,
            )
    outcomes = _outcomes(drafted, results, PLANNED if not send else NOT_ATTEMPTED)
    return Export(
        summary, plan.transitions(drafted), outcomes, _samples(drafted, braze)
    )


def _key_from_environment() -> str:
    from churn.braze import client  # here, so that a dry run loads no HTTP client

    return client.key_from_environment()


@dataclass(frozen=True)
class _Sending:
    drafted: Plan
    n_trusted: int
    items: pl.Series
    ranges: list[payload.Range]
    braze: Braze
    key: str = field(repr=False)
    run_id: str
    what: str
    progress: bool

    def body(self, part: payload.Range) -> bytes:
        """The request body of these positions."""
        return payload.body(self.items.slice(part[0], part[1] - part[0] + 1))


def _send(book: Ledger, job: _Sending, summary: dict[str, Any]) -> list[Result]:
    """Send a plan, keep what came of it, and add the counts to the summary."""
    from churn.braze import client

    changes, braze = job.drafted.changes, job.braze
    started = ledger.start(book, job.run_id, job.what, changes, job.drafted.names)
    if job.ranges:
        _wait_for_late_requests(book, braze)
    ahead = BATCHES_AHEAD * braze.concurrency * braze.batch_size
    with Recorder(book, started, ahead) as recorder:
        sent = client.send(
            job.ranges, job.body, braze, job.key, recorder, job.progress, job.n_trusted
        )
    summary |= _counts(recorder.results, sent)
    error = str(sent.error) if sent.error else None
    ledger.finish(
        book, started, changes.height, {**summary, "error": error}, lost=sent.n_lost > 0
    )
    ledger.bury(book)
    if sent.error:
        told = f"{summary['n_sent']:,} of {changes.height:,} users were told"
        raise type(sent.error)(f"{sent.error}. {told}; run it again to send the rest")
    return recorder.results


def _wait_for_late_requests(book: Ledger, braze: Braze) -> None:
    """A request that was left without an answer may still be applied: let it be over
    before newer values are sent.
    """
    wait = (
        ledger.lost_at(book) + 1 + braze.quiet_seconds - time.time()
    )  # times there are cut to seconds
    if wait > 0:
        log.warning(
            "waiting %.0f seconds, since requests of an earlier run may still be on their way",
            wait,
        )
        time.sleep(wait)


def _counts(results: Sequence[Result], sent: "Sent") -> dict[str, Any]:
    n_rejected = sum(len(r.rejected) for r in results)
    by_outcome = {
        o: sum(r.last - r.first + 1 for r in results if r.outcome == o)
        for o in (SENT, UNKNOWN)
    }
    return {
        "n_sent": by_outcome[SENT] - n_rejected,
        "n_rejected": n_rejected,
        "n_unknown": by_outcome[UNKNOWN],
        "n_requests_sent": sent.n_requests,
        "n_retries": sent.n_retries,
        "minutes_taken": round(sent.seconds / 60, 3),
        "answer_seconds": round(sent.answer_seconds, 4),
    }


def _outcomes(drafted: Plan, results: Sequence[Result], default: str) -> pl.DataFrame:
    identifiers = drafted.changes["identifier"]
    outcome, reason = [default] * len(identifiers), [""] * len(identifiers)
    for result in results:
        for position in range(result.first, result.last + 1):
            outcome[position], reason[position] = result.outcome, result.reason
        for position, why in result.rejected:
            # A report is no place for ids, and Braze may repeat them.
            outcome[position], reason[position] = (
                REJECTED,
                why.replace(identifiers[position], "…"),
            )
    planned = drafted.changes.select(
        "identifier",
        outcome=pl.Series(outcome, dtype=pl.String),
        reason=pl.Series(reason, dtype=pl.String),
    )
    never = {UNDELIVERABLE: drafted.undeliverable, HELD_BACK: drafted.held_back}
    refused = [
        pl.DataFrame(who).with_columns(outcome=pl.lit(REJECTED), reason=pl.lit(why))
        for why, who in never.items()
    ]
    return pl.concat([planned, *refused])


def _with_unchanged(outcomes: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    known = pl.col("identifier").is_not_null()
    unmatched = pl.lit("no identifier that Braze knows and no other user has")
    same = scores.select("identifier").join(outcomes, on="identifier", how="anti")
    return pl.concat(
        [
            outcomes,
            same.with_columns(
                outcome=pl.when(known)
                .then(pl.lit("unchanged"))
                .otherwise(pl.lit("not matched")),
                reason=pl.when(known).then(pl.lit("")).otherwise(unmatched),
            ),
        ]
    )


def _samples(drafted: Plan, braze: Braze) -> list[str]:
    """The first objects of the first request, ids replaced: a report is no place for
    them.
    """
    salt = secrets.token_hex(8)
    pseudonym = "user-" + digest(pl.lit(salt) + pl.col("identifier")).str.head(16)
    shown = payload.items(
        drafted.changes.head(3).with_columns(identifier=pseudonym),
        braze.kind,
        braze.create_unknown_users,
    )
    return (
        [json.dumps({"attributes": [json.loads(item) for item in shown]}, indent=1)]
        if len(shown)
        else []
    )


def write_id_lists(
    scores: pl.DataFrame, settings: Settings, opted_out: Sequence[str] = ()
) -> None:
    """One CSV of identifiers per segment, for Braze's dashboard import or an ad
    network; replaces older ones.

    Without ``id_lists`` in the study nothing is written.
    """
    braze = settings.braze
    if braze.id_lists is None:
        return
    folder = settings.path(braze.id_lists)
    folder.mkdir(parents=True, exist_ok=True)
    _drop_id_lists(settings)
    users = scores.filter(
        payload.is_deliverable(braze.kind), ~pl.col("identifier").is_in(list(opted_out))
    ).sort("identifier")
    for (segment,), mine in users.partition_by("segment", as_dict=True).items():
        column = mine.select(pl.col("identifier").alias(braze.identifier))
        if braze.alias_label:
            column = column.select(
                user_alias_name=braze.identifier,
                user_alias_label=pl.lit(braze.alias_label),
            )
        column.write_csv(folder / f"{ID_LIST}{segment}.unfinished")
        (folder / f"{ID_LIST}{segment}.unfinished").replace(
            folder / f"{ID_LIST}{segment}.csv"
        )


def _drop_id_lists(settings: Settings) -> None:
    if settings.braze.id_lists is not None:
        for file in settings.path(settings.braze.id_lists).glob(f"{ID_LIST}*"):
            file.unlink()


LABELS = {
    "n_scored": "users scored",
    "n_changed": "users to be told something new",
    "n_moved": "of the changed: had another segment",
    "n_lapsed": "of the changed: no longer scored",
    "n_gone": "of the changed: forgotten or opted out",
    "n_unchanged": "users unchanged",
    "n_unmatched": "users without an identifier of their own",
    "n_undeliverable": "users whose identifier Braze can't take",
    "n_requests": "requests needed",
    "n_data_points": "data points",
    "minutes": "minutes at the pace set",
    "n_requests_sent": "requests answered",
    "n_retries": "requests tried again",
    "n_sent": "users told",
    "n_rejected": "users rejected",
    "n_unknown": "users with unknown outcome",
    "minutes_taken": "minutes taken",
}


def summary_table(done: Export) -> pl.DataFrame:
    """The counts for readers, under a heading that says whether it was a dry run."""
    heading = "dry run: nothing was sent" if done.summary["dry_run"] else "sent"
    shown = {
        label: done.summary[name]
        for name, label in LABELS.items()
        if name in done.summary
    }
    return pl.DataFrame(
        {heading: list(shown), "n": [f"{value:,}" for value in shown.values()]}
    )


def outcome_table(done: Export) -> pl.DataFrame:
    """Users per outcome and reason."""
    return (
        done.outcomes.group_by("outcome", "reason")
        .agg(n=pl.len())
        .sort("n", descending=True)
    )
