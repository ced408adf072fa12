"""Scores → what changed → Braze → ledger. A dry run unless told to send."""

import json
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churn.braze import client, ledger, payload
from churn.braze.client import Acknowledgement, Batch, Target
from churn.braze.ledger import Ledger
from churn.errors import BrazeError
from churn.study import Braze, Study
from churn.tables import check_gates, digest, stable_hash

log = logging.getLogger(__name__)
NONE, REMOVED = "none", "removed"


@dataclass(frozen=True)
class Export:
    """What an export did, or in a dry run would do.

    ``summary`` holds the counts, ``transitions`` (from, to, n) the changed segments, ``outcomes`` (identifier, outcome,
    reason) one row per user, ``sample_bodies`` request bodies with pseudonyms for ids.
    """

    summary: dict[str, Any]
    transitions: pl.DataFrame
    outcomes: pl.DataFrame
    sample_bodies: list[str]


def run(
    scores: pl.DataFrame,
    study: Study,
    *,
    run_id: str,
    findings: pl.DataFrame,
    send: bool = False,
    accept: Sequence[str] = (),
    progress: bool = True,
) -> Export:
    """Tell Braze what changed since it was last told; without ``send`` only say what that would be.

    Raises GateError if a gate failed that isn't accepted by name, BrazeError if delivery stopped: what was acknowledged
    until then is in the ledger, and the same export again sends the rest.
    """
    check_gates(findings, accept)
    key = client.key_from_environment() if send else ""
    braze = study.braze
    names = _names(braze)
    with ledger.opened(study.ledger_url, braze.endpoint, braze.workspace, braze.kind) as book:
        told = ledger.told(book, names)
        changes = plan(scores, told, braze, ledger.forgotten(book))
        objects = _objects(changes, braze)
        summary = _forecast(scores, changes, objects, braze)
        log.info("export: %d of %d users changed", summary["n_changed"], summary["n_scored"])
        delivery = _Delivery(book, run_id, braze)
        if send:
            _deliver(delivery, objects, key, summary, progress)
    outcomes = _outcomes(scores, changes, delivery, planned="planned" if not send else "not attempted")
    return Export(summary, _transitions(changes, told, braze), outcomes, _samples(objects, braze))


def _names(braze: Braze) -> list[str]:
    names = [braze.segment_attribute] + ([braze.score_attribute] if braze.score_attribute else [])
    payload.check_names(names)
    return names


def forget(study: Study, identifiers: Sequence[str]) -> int:
    """Forget users in the ledger; returns for how many a null write waits for the next export."""
    url, braze = study.ledger_url, study.braze
    if not identifiers or not ledger.exists(url):
        return 0
    with ledger.opened(url, braze.endpoint, braze.workspace, braze.kind) as book:
        return ledger.forget(book, identifiers)


def plan(scores: pl.DataFrame, told: pl.DataFrame, braze: Braze, forgotten: Sequence[str] = ()) -> pl.DataFrame:
    """What differs from what Braze was told: identifier, attribute, value (JSON text), in a stable order.

    A score goes along with a changed segment, or by itself once it has moved by ``score_step``. Users who were told a
    segment and are no longer scored get the lapsed value once, the forgotten get null.
    """
    scored = scores.select("identifier", "segment", "score").drop_nulls("identifier")
    lapsed = told.select("identifier").unique().join(scored, on="identifier", how="anti")
    erased = pl.col("identifier").is_in(list(forgotten))
    scored, silent = scored.filter(~erased), lapsed.filter(~erased)
    gone = told.filter(erased).select("identifier", "attribute", pl.lit("null").alias("value"))
    wanted = pl.concat([_wanted(scored, braze), _wanted_lapsed(silent, braze), gone])
    before = told.rename({"value": "before"})
    differs = wanted.join(before, on=["identifier", "attribute"], how="left").filter(
        pl.col("value").ne_missing(pl.col("before"))
        & ~((pl.col("value") == "null") & pl.col("before").is_null())  # nothing to remove
    )
    is_segment = pl.col("attribute") == braze.segment_attribute
    moved = pl.col("value").cast(pl.Int64, strict=False) - pl.col("before").cast(pl.Int64, strict=False)
    due = is_segment.any().over("identifier") | (moved.abs() >= braze.score_step) | moved.is_null()
    due_changes = differs.filter(due).select("identifier", "attribute", "value")
    return (
        due_changes.with_columns(order=stable_hash("identifier")).sort("order", "identifier", "attribute").drop("order")
    )


def _wanted(scored: pl.DataFrame, braze: Braze) -> pl.DataFrame:
    segment = scored.select(
        "identifier",
        pl.lit(braze.segment_attribute).alias("attribute"),
        ('"' + pl.col("segment") + '"').alias("value"),
    )
    if not braze.score_attribute:
        return segment
    attribute = pl.lit(braze.score_attribute).alias("attribute")
    return pl.concat([segment, scored.select("identifier", attribute, pl.col("score").cast(pl.String).alias("value"))])


def _wanted_lapsed(lapsed: pl.DataFrame, braze: Braze) -> pl.DataFrame:
    values = {braze.segment_attribute: braze.lapsed_value}
    if braze.lapsed_value is not None:
        payload.check_text(braze.lapsed_value)
    if braze.score_attribute:
        values[braze.score_attribute] = None
    parts = [
        lapsed.select("identifier", pl.lit(n).alias("attribute"), pl.lit(json.dumps(v)).alias("value"))
        for n, v in values.items()
    ]
    return pl.concat(parts)


def _objects(changes: pl.DataFrame, braze: Braze) -> list[dict[str, Any]]:
    grouped = changes.group_by("identifier", maintain_order=True).agg("attribute", "value")
    return [
        payload.update(
            braze.identifier,
            who if braze.alias_label is None else payload.alias(who, braze.alias_label),
            {n: json.loads(v) for n, v in zip(names, values, strict=True)},
            braze.create_unknown_users,
        )
        for who, names, values in grouped.iter_rows()
        if payload.is_deliverable(who)
    ]


def _forecast(
    scores: pl.DataFrame, changes: pl.DataFrame, objects: list[dict[str, Any]], braze: Braze
) -> dict[str, Any]:
    n_changed = changes["identifier"].n_unique()
    lapsed = changes.join(scores, on="identifier", how="anti")["identifier"].n_unique()
    control = 2  # identifier and update-only flag
    return {
        "dry_run": True,
        "n_scored": scores.height,
        "n_changed": n_changed,
        "n_unchanged": scores["identifier"].count() - (n_changed - lapsed),
        "n_unmatched": scores["identifier"].null_count(),
        "n_lapsed": lapsed,
        "n_undeliverable": n_changed - len(objects),
        "n_requests": -(-len(objects) // braze.batch_size),
        "n_data_points": sum(len(o) - control for o in objects),
        "n_requests_sent": 0,
        "n_sent": 0,
        "n_rejected": 0,
        "n_unknown": 0,
    }


@dataclass
class _Delivery:
    """Outcomes as they come in; each acknowledged batch is in the ledger before the next step."""

    book: Ledger
    run_id: str
    braze: Braze
    outcome: dict[str, tuple[str, str]] = field(default_factory=dict)
    n_requests_sent: int = 0

    def answered(self, batch: Batch, answer: Acknowledgement) -> None:
        self.n_requests_sent += 1
        if answer.unplaced:
            # Some object was refused and nobody says which: none of the batch may count as told.
            return self._all(batch, "unknown", answer.unplaced)
        good = [o for i, o in enumerate(batch) if i not in answer.rejected]
        refused = [(self._who(batch[i]), why) for i, why in answer.rejected.items() if i < len(batch)]
        ledger.record(self.book, self.run_id, [(self._who(o), self._values(o)) for o in good])
        ledger.reject(self.book, self.run_id, refused)
        self.outcome |= {self._who(o): ("sent", "") for o in good} | {who: ("rejected", why) for who, why in refused}
        return None

    def lost(self, batch: Batch, error: BrazeError) -> None:
        refused_whole = getattr(error, "status", None) is not None
        self._all(batch, "not attempted" if refused_whole else "unknown", str(error))

    def _all(self, batch: Batch, outcome: str, reason: str) -> None:
        self.outcome |= {self._who(o): (outcome, reason) for o in batch}

    def _who(self, item: dict[str, Any]) -> str:
        return payload.whose(item, self.braze.identifier)

    def _values(self, item: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in item.items() if k not in {self.braze.identifier, "_update_existing_only"}}


def _deliver(
    delivery: _Delivery, objects: list[dict[str, Any]], key: str, summary: dict[str, Any], progress: bool
) -> None:
    braze = delivery.braze
    target = Target(braze.endpoint, key, braze.requests_per_second, braze.concurrency)
    ledger.start_run(delivery.book, delivery.run_id)
    batches = list(payload.batches(objects, braze.batch_size))
    error = client.send(batches, target, delivery.answered, delivery.lost, progress)
    ledger.bury(delivery.book)
    kinds = [kind for kind, _ in delivery.outcome.values()]
    counts = {f"n_{kind}": kinds.count(kind) for kind in ("sent", "rejected", "unknown")}
    summary.update(dry_run=False, n_requests_sent=delivery.n_requests_sent, **counts)
    ledger.finish_run(delivery.book, delivery.run_id, {**summary, "error": str(error) if error else None})
    if error:
        raise type(error)(
            f"{error}. {summary['n_sent']} of {len(objects)} users were told; run it again to send the rest"
        )


def _outcomes(scores: pl.DataFrame, changes: pl.DataFrame, delivery: _Delivery, planned: str) -> pl.DataFrame:
    schema = {"identifier": pl.String, "outcome": pl.String, "reason": pl.String}
    changed = changes["identifier"].unique(maintain_order=True).to_list()
    told = [(who, *delivery.outcome.get(who, _default(who, planned))) for who in changed]
    known = pl.col("identifier").is_not_null()
    same = (
        scores.select("identifier")
        .join(changes, on="identifier", how="anti")
        .with_columns(
            outcome=pl.when(known).then(pl.lit("unchanged")).otherwise(pl.lit("not matched")),
            reason=pl.when(known)
            .then(pl.lit(""))
            .otherwise(pl.lit("no identifier that Braze knows and no other user has")),
        )
    )
    return pl.concat([pl.DataFrame(told, schema=schema, orient="row"), same])


def _default(who: str, planned: str) -> tuple[str, str]:
    return (planned, "") if payload.is_deliverable(who) else ("rejected", "identifier is empty or over 987 bytes")


def _transitions(changes: pl.DataFrame, told: pl.DataFrame, braze: Braze) -> pl.DataFrame:
    mine = pl.col("attribute") == braze.segment_attribute
    before = told.filter(mine).select("identifier", pl.col("value").alias("from"))
    moved = changes.filter(mine).select("identifier", pl.col("value").alias("to"))
    pairs = moved.join(before, on="identifier", how="left").with_columns(
        pl.col("from").str.strip_chars('"').replace("null", NONE).fill_null(NONE),
        pl.col("to").str.strip_chars('"').replace("null", REMOVED),
    )
    return pairs.group_by("from", "to").agg(n=pl.len()).sort("from", "to")


def _samples(objects: list[dict[str, Any]], braze: Braze) -> list[str]:
    """The first few objects of the first request, ids replaced: a report is no place for them."""
    salt = secrets.token_hex(8)
    shown = [{**o, braze.identifier: _hidden(o[braze.identifier], salt)} for o in objects[:3]]
    return [json.dumps({"attributes": shown}, indent=1)] if shown else []


def _hidden(identifier: Any, salt: str) -> Any:
    if isinstance(identifier, dict):
        return {**identifier, "alias_name": _pseudonym(identifier["alias_name"], salt)}
    return _pseudonym(str(identifier), salt)


def _pseudonym(identifier: str, salt: str) -> str:
    return f"user-{pl.select(digest(pl.lit(salt + identifier))).item()[:16]}"


LABELS = {
    "n_scored": "users scored",
    "n_changed": "users to be told something new",
    "n_unchanged": "users unchanged",
    "n_unmatched": "users without an identifier of their own",
    "n_lapsed": "of the changed: no longer scored",
    "n_undeliverable": "of the changed: identifier Braze can't take",
    "n_requests": "requests needed",
    "n_data_points": "data points",
    "n_requests_sent": "requests answered",
    "n_sent": "users told",
    "n_rejected": "users rejected",
    "n_unknown": "users with unknown outcome",
}


def summary_table(done: Export) -> pl.DataFrame:
    """The counts for readers, under a heading that says whether it was a dry run."""
    heading = "dry run: nothing was sent" if done.summary["dry_run"] else "sent"
    return pl.DataFrame({heading: list(LABELS.values()), "n": [done.summary[name] for name in LABELS]})


def outcome_table(done: Export) -> pl.DataFrame:
    """Users per outcome and reason."""
    return done.outcomes.group_by("outcome", "reason").agg(n=pl.len()).sort("n", descending=True)
