"""Ids that break carelessly written programs reach the right profile, or are said."""

import csv
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from churn.braze import export, id_lists, outcomes
from churn.braze.delivery import Delivery, open_ledger
from churn.braze.key import KEY_VARIABLE
from churn.braze.ledger import history
from churn.sandbox import server
from churn.settings import Settings

from .test_export import KEY, PASSED, held, scores

DELIVERABLE = [
    "o'hara",
    'the "boss"',
    "one,two",
    "two\nlines",
    "carriage\rreturn",
    "a\ttab",
    "\u2028line separator",
    "\u202eturned around",
    "\U0001f9a5",
    "\u00fc",
    "u\u0308",
    "  before",
    "after  ",
    " ",
    "Anna",
    "anna",
    "C:\\users\\anna",
    "None",
    "NaN",
    "-7",
    "=1+1",
    "</td><script>x()</script>",
    '{"id": 1}',
    '"',
    "k" * 987,
    "\u00e4" * 493 + "k",
]
UNDELIVERABLE = ["", "k" * 988, "\u00e4" * 494, "nul\x00inside"]


def test_every_id_reaches_its_own_profile_or_is_undeliverable(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Quotes, line ends, letter case, two spellings of a letter and ids of the largest
    size are kept apart; four that Braze can't take have a reason. A second export sends
    nothing, and the id list gives every id back as it was.
    """
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    table = scores(dict.fromkeys(DELIVERABLE + UNDELIVERABLE, "high"))
    with server.running(key=KEY, known_users=DELIVERABLE) as sandbox:
        braze = {"endpoint": sandbox.url, "id_lists": "lists"}
        settings = make_study(braze=braze)
        first = Delivery(settings, "first", send=True, progress=False)
        done = export.run(table, PASSED, first)
        assert held(sandbox) == dict.fromkeys(DELIVERABLE, "high")
        refused = done.outcomes.filter(pl.col("outcome") != "sent")
        assert sorted(refused["identifier"]) == sorted(UNDELIVERABLE)
        assert set(refused["reason"]) == {outcomes.UNDELIVERABLE}
        second = Delivery(settings, "second", send=True, progress=False)
        assert export.run(table, PASSED, second).summary["n_requests_sent"] == 0
        assert sandbox.state.n_requests == 1
        with open_ledger(settings) as ledger:
            for identifier in DELIVERABLE:
                assert history.history(ledger, identifier).height == 1
    id_lists.write(table, settings)
    with (tmp_path / "lists" / "churn_high.csv").open(
        encoding="utf-8", newline=""
    ) as f:
        listed = [row[0] for row in csv.reader(f)]
    assert sorted(listed[1:]) == sorted(DELIVERABLE)
