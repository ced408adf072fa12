"""What came of a run for every user, and what one of its requests looks like."""

import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from churn.braze import payload, plan
from churn.braze.ledger.runs import SENT, UNKNOWN, Result
from churn.braze.plan import Plan
from churn.hashing import digest
from churn.settings import Braze

if TYPE_CHECKING:
    from churn.braze.sending import Sent

PLANNED, REJECTED = "planned", "rejected"
UNCHANGED, NOT_MATCHED = "unchanged", "not matched"
HELD_BACK = (
    f"rejected {plan.MAX_REJECTIONS} times; not sent again until it changes, "
    "except by `churn braze resend`"
)
UNDELIVERABLE = "the identifier is empty, too long for Braze or holds a NUL"
UNMATCHED = "no identifier of the study's kind that no other user has"
N_SAMPLES = 3


def of_plan(
    plan: Plan,
    results: Sequence[Result],
    default: str,
) -> pl.DataFrame:
    """One row per user of a plan: identifier, outcome, reason.

    Outcomes and reasons are categories, so that a user takes few bytes.
    ``default``: the outcome of users without a result. Reasons show no identifiers,
    which Braze may repeat: reports quote reasons.
    """
    identifiers = plan.changes["identifier"]
    outcome = [default] * len(identifiers)
    reason = [""] * len(identifiers)
    for result in results:
        for position in range(result.first, result.last + 1):
            outcome[position] = result.outcome
            reason[position] = result.reason
        for position, text in result.rejected:
            outcome[position] = REJECTED
            reason[position] = text.replace(identifiers[position], "…")
    planned = plan.changes.select(
        "identifier",
        outcome=pl.Series(outcome, dtype=pl.Categorical),
        reason=pl.Series(reason, dtype=pl.Categorical),
    )
    undeliverable = _all(plan.undeliverable, REJECTED, UNDELIVERABLE)
    held_back = _all(plan.held_back, REJECTED, HELD_BACK)
    return pl.concat([planned, undeliverable, held_back])


def _all(
    identifiers: pl.Series,
    outcome: str,
    reason: str,
) -> pl.DataFrame:
    """Rows of users with the same outcome and reason."""
    return pl.DataFrame(identifiers).with_columns(
        outcome=pl.lit(outcome, pl.Categorical),
        reason=pl.lit(reason, pl.Categorical),
    )


def with_unchanged(outcomes: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The outcomes, and a row for every scored user that the plan doesn't write."""
    others = scores.select("identifier").join(
        outcomes,
        on="identifier",
        how="anti",
    )["identifier"]
    unchanged = _all(others.drop_nulls(), UNCHANGED, "")
    unmatched = _all(others.filter(others.is_null()), NOT_MATCHED, UNMATCHED)
    return pl.concat([outcomes, unchanged, unmatched])


def counts(results: Sequence[Result], sent: "Sent") -> dict[str, Any]:
    """Users by outcome, requests, and the time they took."""
    n_acknowledged = sum(r.n_users for r in results if r.outcome == SENT)
    n_rejected = sum(len(r.rejected) for r in results)
    learned = {} if sent.max_users is None else {"n_users_per_request": sent.max_users}
    return {
        "n_sent": n_acknowledged - n_rejected,
        "n_rejected": n_rejected,
        "n_unknown": sum(r.n_users for r in results if r.outcome == UNKNOWN),
        "n_requests_sent": sent.n_requests,
        "n_retries": sent.n_retries,
        "minutes_taken": round(sent.seconds / 60, 3),
        "answer_seconds": round(sent.answer_seconds, 4),
        **learned,
    }


def sample_bodies(plan: Plan, braze: Braze) -> list[str]:
    """The first users of the first request, with pseudonyms for identifiers."""
    salt = pl.lit(secrets.token_hex(8))
    pseudonym = "user-" + digest(salt + pl.col("identifier")).str.head(16)
    writes = plan.changes.head(N_SAMPLES).with_columns(identifier=pseudonym)
    items = payload.items(writes, braze.kind, braze.create_unknown_users)
    objects = [json.loads(item) for item in items]
    return [json.dumps({"attributes": objects}, indent=1)] if objects else []
