"""Run ids and recorded figures."""

import re
from datetime import UTC, date, datetime

import numpy as np

from churn.report import runs


def test_run_ids_sort_by_time_and_name_their_notebook() -> None:
    """A run id is the time, the name and four random digits."""
    made = runs.new_run_id("score", datetime(2026, 3, 1, 1, 2, 3, tzinfo=UTC))
    assert re.fullmatch(r"20260301T010203Z-score-[0-9a-f]{4}", made)


def test_figures_become_plain_json() -> None:
    """Numpy's numbers, dates, NaN and nested values become what JSON can hold."""
    value = {
        "a": np.float64(0.5),
        "b": [date(2026, 1, 1), np.int64(3)],
        "c": float("inf"),
        "d": {"e": True},
    }
    assert runs.plain(value) == {
        "a": 0.5,
        "b": ["2026-01-01", 3],
        "c": None,
        "d": {"e": True},
    }


def test_recording_outside_a_notebook_does_nothing() -> None:
    """In a script the same call has no effect."""
    runs.record(a=1)


def test_later_records_win() -> None:
    """Figures of all outputs are merged in their order."""
    outputs = [
        {"data": {runs.METRICS_MIME: {"a": 1, "b": 1}}},
        {"name": "stdout"},
        {"data": {runs.METRICS_MIME: {"a": 2}}},
    ]
    assert runs.metrics_of(outputs) == {"a": 2, "b": 1}
