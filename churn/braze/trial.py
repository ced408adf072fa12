"""Writes test values to one named profile, and says what a person should then see.

It needs no other permission than an export. The write is a run like any other: it
stands in the ledger, can be restored, and the next export writes over it.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from churn.braze import corrections, profiles
from churn.braze import key as secret
from churn.braze.delivery import Delivery, deliver
from churn.braze.ledger import users
from churn.braze.ledger.database import Ledger
from churn.braze.lines import Line
from churn.braze.plan import Plan
from churn.errors import BrazeError, GateError
from churn.settings import Braze, Settings

STEP = "check"
TEST_TEXT = "churn_test"
TEST_NUMBER = 1


def run(
    settings: Settings,
    identifier: str,
    run_id: str,
    *,
    opted_out: Sequence[str] = (),
    accept: Sequence[str] = (),
    now: datetime | None = None,
) -> Iterator[Line]:
    """Write every attribute of the study to the profile, which is never created.

    Nothing is written to people who have ``opted_out``. ``accept`` names limits, such
    as ``changed_key``. ``now`` is by default the clock.
    """
    braze = settings.braze.model_copy(update={"create_unknown_users": False})
    values = trial_values(braze, now or datetime.now(UTC))

    def make_plan(
        ledger: Ledger,
        gone: Sequence[str],
    ) -> Plan:
        synced = users.synced(ledger)
        return corrections.writing(identifier, values, synced, braze, gone)

    delivery = Delivery(
        settings.model_copy(update={"braze": braze}),
        run_id,
        send=True,
        progress=False,
        opted_out=opted_out,
        accept=accept,
    )
    try:
        done = deliver(delivery, STEP, make_plan)
    except (BrazeError, GateError) as error:
        yield Line("profile", False, str(error))
        return
    if done.summary["n_sent"] != 1:
        yield Line("profile", False, _why_not(done.outcomes))
        return
    yield from _advice(braze, values, run_id)
    yield _read_back(braze, identifier, values)


def trial_values(braze: Braze, now: datetime) -> dict[str, Any]:
    """A value of the right type for each attribute that the study writes."""
    values: dict[str, Any] = {braze.segment_attribute: TEST_TEXT}
    if braze.score_attribute:
        values[braze.score_attribute] = TEST_NUMBER
    if braze.decile_attribute:
        values[braze.decile_attribute] = TEST_NUMBER
    if braze.changed_attribute:
        values[braze.changed_attribute] = now.date().isoformat()
    if braze.reason_attribute:
        values[braze.reason_attribute] = TEST_TEXT
    return values


def _why_not(outcomes: pl.DataFrame) -> str:
    if outcomes.is_empty():
        return "nothing was written: the user was forgotten or has opted out, and gets null only"
    return f"{outcomes['outcome'][0]}: {outcomes['reason'][0]}"


def _advice(
    braze: Braze,
    values: dict[str, Any],
    run_id: str,
) -> Iterator[Line]:
    written = ", ".join(f"{name} = {json.dumps(v)}" for name, v in values.items())
    yield Line("profile", True, f"Braze took {written}")
    yield Line(
        "look",
        True,
        "search for the profile under Audience > Search Users: within some minutes its "
        "custom attributes are these. If not, the profile doesn't exist, or an "
        "attribute is blocklisted or has another type in the data settings",
    )
    yield Line(
        "filter",
        True,
        f"a segment of Custom Attributes, {braze.segment_attribute}, equals, "
        f"{TEST_TEXT} has this profile and no other",
    )
    yield Line(
        "take back",
        True,
        f"`churn braze restore {run_id} --send`; the next export does it too",
    )


def _read_back(
    braze: Braze,
    identifier: str,
    values: dict[str, Any],
) -> Line:
    """What the profile holds, if the key may read; Braze may not have applied it yet."""
    name = "read back"
    try:
        key = secret.from_environment()
        compared = profiles.compare(braze, key, {identifier: values})
    except BrazeError as error:
        return Line(name, True, f"not possible: {error}")
    if compared.n_missing:
        return Line(name, False, "Braze has no such profile")
    if compared.differences:
        return Line(name, True, "not there yet; look again in some minutes")
    return Line(name, True, "the profile holds these values now")
