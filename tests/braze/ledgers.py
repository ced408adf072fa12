"""Plans and runs that the tests of the ledger write."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import polars as pl

from churn.braze.ledger import closing, runs, users
from churn.braze.ledger.database import Ledger
from churn.braze.ledger.runs import SENT, Result

Open = Callable[..., AbstractContextManager[Ledger]]


def changes(*users: str, before: str = "{}", **values: Any) -> pl.DataFrame:
    """A plan that writes the same to all these users."""
    text = json.dumps(values or {"x": 1}, separators=(",", ":"))
    return pl.DataFrame({"identifier": users}).with_columns(
        before=pl.lit(before), after=pl.lit(text), attributes=pl.lit(text)
    )


def synced(ledger: Ledger) -> dict[str, tuple[dict[str, Any], bool]]:
    """Attributes and whether they are unconfirmed, by identifier."""
    return {
        who: (json.loads(text), unsure)
        for who, text, unsure in users.synced(ledger).iter_rows()
    }


def deliver(ledger: Ledger, run_id: str, plan: pl.DataFrame, *results: Result) -> None:
    """A whole run with these results; by default all users are sent."""
    run = runs.start(ledger, run_id, "export", plan, ["x"])
    runs.record(ledger, run, results or [Result(0, plan.height - 1, SENT)], plan.height)
    closing.finish(ledger, run, plan.height, {"n": 1}, lost=False)
