"""Delivery while everything goes wrong: kills, faults by script and by chance, and a
key that must not leak.
"""

import logging
import os
import random
import subprocess
import traceback
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from churn.braze import client, export, pace
from churn.braze.delivery import Delivery, open_ledger
from churn.braze.ledger import closing
from churn.errors import BrazeError, NotebookError
from churn.events import ingest
from churn.features.cutoffs import Calendar
from churn.report import runner
from churn.sandbox import faults as injected
from churn.sandbox import server
from churn.sandbox.faults import Faults
from churn.sandbox.options import Options
from churn.sandbox.server import Sandbox
from churn.scoring import scores as scoring
from churn.settings import Settings, load, parse
from churn.simulate import extracts, markov
from churn.store import open_filled
from churn.store.score_schemas import Findings, Scores

from ..benchmarks import crash
from .test_export import KEY, PASSED, scores

VARIABLE = "CHURN_TEST_FAULT_SCRIPTS"
N_SCRIPTS = int(os.environ.get(VARIABLE, "20"))
FAST = {
    "timeout_seconds": 0.2,
    "quiet_seconds": 0.5,
    "requests_per_second": 1000,
    "max_change_rate": 1.0,
}
HANG_SECONDS = 0.3  # longer than the timeout, over before another run sends
MAX_RUNS = 60  # more than any script needs


def study_of(folder: Path, sandbox: Sandbox, **braze: Any) -> Settings:
    """A study that sends to the sandbox and whose ledger is in ``folder``."""
    table = {"endpoint": sandbox.url, "ledger": "sqlite:///ledger.db", **FAST, **braze}
    return parse(
        {"extracts": [{"source": "table", "path": "x"}], "braze": table}, folder
    )


def held(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """Attributes by user, of users who have any."""
    return {
        key[1]: p.attributes
        for key, p in sandbox.state.profiles.items()
        if p.attributes
    }


def wanted(table: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The same, as the scores want it."""
    rows = table.select("identifier", "segment", "score").iter_rows()
    return {
        who: {"churn_segment": segment, "churn_score": score}
        for who, segment, score in rows
    }


def check_outcomes(settings: Settings) -> None:
    """Every user of every run has exactly one outcome."""
    with open_ledger(settings) as ledger:
        closing.close_interrupted(ledger)
        crash.check_outcomes(ledger)


def one_run(table: pl.DataFrame, settings: Settings, run_id: str) -> int | None:
    """How many users an export wrote or tried to; null if it stopped."""
    try:
        delivery = Delivery(settings, run_id, send=True, progress=False)
        done = export.run(table, PASSED, delivery)
    except BrazeError:
        return None
    return int(done.summary["n_changed"])


def until_delivered(table: pl.DataFrame, settings: Settings, name: str) -> None:
    """Export as an operator would, until nothing is left to send."""
    if all(one_run(table, settings, f"{name}-{n}") != 0 for n in range(MAX_RUNS)):
        pytest.fail(f"after {MAX_RUNS} runs there is still something to tell")


def script() -> st.SearchStrategy[Faults]:
    """Faults by number of the request, and by chance."""
    names = st.sampled_from(injected.NAMES)
    rates = st.dictionaries(names, st.sampled_from([0.02, 0.05]), max_size=5)
    return st.builds(
        Faults,
        script=st.dictionaries(st.integers(1, 30), names, max_size=10),
        rates=rates,
        seed=st.integers(0, 2**16),
        hang_seconds=st.just(HANG_SECONDS),
        retry_seconds=st.just(0),
    )


USERS = [f"u{i}" for i in range(40)]
FIRST, SECOND = (
    scores(dict.fromkeys(USERS, "low"), 20),
    scores(dict.fromkeys(USERS[10:], "high"), 80),
)


@settings(
    max_examples=N_SCRIPTS,
    derandomize=VARIABLE not in os.environ,
    phases=[Phase.explicit, Phase.generate],
    database=None,
)
@given(faults=script(), answer_429=st.sampled_from(["mau", "legacy", "bare"]))
def test_whatever_goes_wrong_all_users_are_delivered_in_the_end(
    tmp_path_factory: pytest.TempPathFactory, faults: Faults, answer_429: str
) -> None:
    """Under any faults repeated runs leave every profile as planned, lapsed ones
    without attributes, no user created, and an outcome for each. This holds even if the
    scores return to what they were before a run that went wrong.
    """
    options = Options(answer_429=answer_429, reset_mode="delta")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(client.KEY_VARIABLE, KEY)
        patch.setattr(pace, "BACKOFF_SECONDS", 0.001)
        with server.running(
            key=KEY, known_users=USERS, options=options, faults=faults
        ) as sandbox:
            settings = study_of(
                tmp_path_factory.mktemp("faults"), sandbox, batch_size=5
            )
            for number, table in enumerate((FIRST, SECOND)):
                until_delivered(table, settings, f"night-{number}")
                assert held(sandbox) == wanted(table)
            one_run(FIRST, settings, "mistaken")
            until_delivered(SECOND, settings, "as before")
            assert held(sandbox) == wanted(SECOND)
    check_outcomes(settings)
    assert (len(sandbox.state.profiles), sandbox.state.n_created) == (len(USERS), 0)


def test_an_export_killed_at_any_moment_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of three SIGKILLs the next exports leave all 2,000 profiles as
    planned, and an outcome for each user. The third time the plan is the one from
    before the killed export.
    """
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)
    monkeypatch.setattr(pace, "BACKOFF_SECONDS", 0.01)
    users, draw = [f"u{i}" for i in range(2000)], random.Random(5)
    rates = dict.fromkeys(
        (
            "429_mau",
            "429_bare",
            "500",
            "close_before",
            "close_after",
            "truncated",
            "partial",
        ),
        0.01,
    )
    faults = Faults(rates=rates, retry_seconds=0)
    with server.running(
        key=KEY, known_users=users, options=Options(burst_limit=None), faults=faults
    ) as sandbox:
        study, slow = (
            study_of(tmp_path, sandbox),
            {"batch_size": 10, "requests_per_second": 200},
        )
        low, high, medium = (
            scores(dict.fromkeys(users, s), n)
            for s, n in (("low", 10), ("high", 90), ("medium", 50))
        )
        for number, (killed, table) in enumerate(
            ((low, low), (high, high), (medium, high))
        ):
            killed.write_parquet(tmp_path / "scores.parquet")
            given = {**study.braze.model_dump(exclude_unset=True), **slow}
            with crash.start(
                tmp_path / "scores.parquet", f"killed-{number}", given
            ) as running:
                with pytest.raises(subprocess.TimeoutExpired):
                    running.wait(draw.uniform(0.1, 0.9))
                running.kill()
            until_delivered(table, study, f"night-{number}")
            assert held(sandbox) == wanted(table)
            check_outcomes(study)
    assert (len(sandbox.state.profiles), sandbox.state.n_created) == (len(users), 0)


WRONG_KEY = "wrong-key-93c1-e7"


def exportable(folder: Path, sandbox: Sandbox) -> Path:
    """A study file with a store and scores, ready to be exported to the sandbox."""
    extracts.write(markov.markov(60, 60, seed=3), folder, "table")
    file = folder / "churn.toml"
    file.write_text(
        file.read_text().replace("[braze]", f'[braze]\nendpoint = "{sandbox.url}"')
    )
    assert load(file).braze.endpoint == sandbox.url
    ingest.ingest(load(file), progress=False)
    store = open_filled(load(file))
    made = scores({f"u{i}": "high" for i in range(20)}).with_columns(
        probability=pl.lit(0.7),
        model_id=pl.lit("m"),
        cutoff=pl.lit(Calendar.of(store).end),
    )
    made = made.with_columns(
        decile=10,
        reason_1=pl.lit("risky_silence"),
        reason_2=None,
        reason_3=None,
    )
    others = {name: pl.lit("") for name in ("days", "expected", "seen", "cases")}
    said = PASSED.with_columns(cutoff=made["cutoff"][:1], **others)
    scoring.write(
        store, Scores.validate(made, cast=True), Findings.validate(said, cast=True)
    )
    return file


def test_a_refused_key_is_in_no_file_log_or_traceback(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Though Braze repeats a wrong key, a failed export leaves it in nothing that is
    written, shown or raised.
    """
    monkeypatch.setenv(client.KEY_VARIABLE, WRONG_KEY)
    caplog.set_level(logging.DEBUG)
    with server.running(key=KEY, options=Options(echo_key=True)) as sandbox:
        file = exportable(tmp_path, sandbox)
        with pytest.raises(NotebookError, match="does not accept the key") as caught:
            runner.run("export", file, {"send": True}, progress=False, run_id="refused")
    assert sandbox.state.n_refused == 1
    written = [f for f in tmp_path.rglob("*") if f.is_file()]
    names = {f.name for f in written}
    assert {
        "notebook.ipynb",
        "report.html",
        "metrics.json",
        "manifest.json",
        "ledger.db",
    } <= names
    assert [f for f in written if WRONG_KEY.encode() in f.read_bytes()] == []
    shown = "".join(
        [*traceback.format_exception(caught.value), caplog.text, *capfd.readouterr()]
    )
    assert WRONG_KEY not in shown
