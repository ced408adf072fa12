"""Whether to go on sending: what holds, what warns, and what the gate makes of it."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn.model import due
from churn.monitoring import judgement, outcomes
from churn.monitoring.judgement import Judgement
from churn.scoring import monitor_gate
from churn.settings import Gates
from churn.store import Place

DAY = date(2026, 3, 1)


def closed(**changed: Any) -> pl.DataFrame:
    """Twenty closed cutoffs that came true, the newest fifteen with changed figures."""
    usual: dict[str, Any] = dict.fromkeys(outcomes.SCHEMA)
    usual |= {"n": 1000, "churn_rate": 0.3, "mean_probability": 0.3, "auc": 0.8}
    usual |= {"auc_error": 0.015, "log_loss": 0.5, "gain": 0.1, "gain_error": 0.01}
    usual |= {"shift": 0.0, "shift_error": 0.07, "segments": []}
    usual |= {
        "auc_low": 0.76,
        "auc_high": 0.84,
        "log_loss_low": 0.4,
        "log_loss_high": 0.6,
    }
    rows = [usual | {"cutoff": DAY + timedelta(days=k)} for k in range(20)]
    rows[5:] = [row | changed for row in rows[5:]]
    return pl.DataFrame(rows, schema=outcomes.SCHEMA)


def judged(
    table: pl.DataFrame,
    learned_until: date = DAY,
    **drift: float,
) -> Judgement:
    """The judgement with the default gates."""
    return judgement.judge(table, drift, Gates(), "model", learned_until, 28)


def test_forecasts_that_came_true_are_sent() -> None:
    """Without a reason."""
    assert judged(closed()).decision == "send"
    assert judged(closed()).reasons == ()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"auc": 0.5, "auc_error": 0.02}, "no better than by chance"),
        ({"gain": -0.05, "gain_error": 0.01}, "worse than the same probability"),
        ({"shift": 1.2, "churn_rate": 0.55}, "more by 1.20 in log-odds"),
        ({"shift": -1.2, "churn_rate": 0.12}, "fewer by 1.20 in log-odds"),
    ],
)
def test_forecasts_that_chance_can_not_explain_hold(
    changed: dict[str, float], reason: str
) -> None:
    """And a training is asked for, since the model has not learned from them."""
    found = judged(closed(**changed))
    assert found.decision == "hold"
    assert found.train
    assert reason in found.reasons[0]


def test_a_small_app_is_not_held_for_what_chance_explains() -> None:
    """The same figures with the standard errors of thirty users."""
    few = {"auc": 0.5, "auc_error": 0.11, "shift": 0.9, "shift_error": 0.4}
    assert judged(closed(**few)).decision != "hold"


def test_a_champion_that_has_learned_from_it_is_not_held() -> None:
    """The outcome of day 19 was known 28 days later; one day short of that, its own
    newest scores still speak against it.
    """
    known = DAY + timedelta(days=19 + 28)
    assert judged(closed(shift=1.2), known).decision == "send"
    held = judged(closed(shift=1.2), known - timedelta(days=1))
    assert (held.decision, held.since) == ("hold", "2026-03-20")


def test_one_bad_day_does_not_hold() -> None:
    """Its neighbours, which share most of its days, were right."""
    day = closed()
    last = day.tail(1).with_columns(shift=pl.lit(1.2))
    assert judged(pl.concat([day.head(19), last])).decision == "send"


def test_a_level_half_as_far_off_as_allowed_is_a_warning() -> None:
    """No training is asked for; a level within chance is no warning."""
    found = judged(closed(shift=0.6, shift_error=0.02))
    assert (found.decision, found.train) == ("warn", False)
    assert judged(closed(shift=0.3, shift_error=0.07)).decision == "send"


def test_drift_and_broken_promises_warn() -> None:
    """Tenure grows with every young app, and is no warning."""
    assert judged(closed(), silence=0.4).decision == "warn"
    assert judged(closed(), tenure=0.9).decision == "send"
    broken = closed().with_columns(auc_low=pl.lit(0.85), auc_high=pl.lit(0.9))
    found = judged(broken)
    assert found.decision == "warn"
    assert "AUC was worse than what was promised at all 15" in found.reasons[0]
    better = closed().with_columns(auc_low=pl.lit(0.6), auc_high=pl.lit(0.7))
    assert judged(better).decision == "send"


def test_without_any_outcome_nothing_is_held() -> None:
    """Day one."""
    found = judged(closed().clear())
    assert (found.decision, found.cutoff) == ("send", "")


def test_the_gate_reads_what_the_monitor_left(tmp_path: Path) -> None:
    """A hold stops the model it is about; a newer one may score."""
    place = Place(str(tmp_path))
    unknown = monitor_gate.came_true(place, DAY, "model")
    assert unknown["passed"]
    assert "not known yet" in unknown["sentence"]
    judgement.write(place, judged(closed(shift=1.2)))
    held = monitor_gate.came_true(place, DAY, "model")
    assert not held["passed"]
    assert "said hold, by the scores since 2026-03-06" in held["sentence"]
    assert monitor_gate.came_true(place, DAY, "newer")["passed"]
    place.write(due.VERDICT, b"{damaged")
    assert monitor_gate.came_true(place, DAY, "model")["passed"]
    assert json.dumps(held["seen"]) == '"hold"'


def test_clean_weeks_are_hardly_ever_held() -> None:
    """Of 200 weeks in which only users and periods vary, at most 5 % and two standard
    errors.
    """
    rng = np.random.default_rng(0)
    n_held = 0
    for _ in range(200):
        shift_error = rng.uniform(0.05, 0.4)
        auc_error = shift_error / 5
        row = {
            "shift": rng.normal() * np.hypot(shift_error, 0.2),
            "shift_error": shift_error,
            "auc": min(0.99, 0.75 + rng.normal() * auc_error),
            "auc_error": auc_error,
            "gain": 0.08 + rng.normal() * 0.02,
            "gain_error": 0.02,
        }
        n_held += judged(closed(**row)).decision == "hold"
    assert n_held / 200 <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5
