"""One page for all runs: what each step found last, how it went over time."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from churn.report import past_runs, rendering
from churn.report.numbers import percent
from churn.report.past_runs import Run
from churn.store import write_atomically

FILE = "index.html"

STEPS = (
    "nightly",
    "monitor",
    "export",
    "score",
    "evaluate",
    "train",
    "explore",
    "ingest",
)
"""Steps in the order of the page: what is sent first, where it came from last."""

MOST_RUNS = 200
"""Most runs that the page lists; others are counted."""

MOST_POINTS = 60
"""Most runs of a line over time."""

MOST_ROWS = 10
"""Most runs in a table over time."""

WIDTH, HEIGHT = 220, 44
"""Size of a line over time."""


@dataclass(frozen=True)
class Card:
    """The newest run of a step. ``sentence``: the first of its verdict, in Markdown."""

    run: Run
    word: str
    tone: str
    sentence: str
    data_until: str


@dataclass(frozen=True)
class History:
    """Figures of a step's runs. ``line``: points of an SVG line, oldest first."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    line: str
    drawn: str


def write(reports: Path) -> Path:
    """Write the page of all runs in a folder; returns its path.

    Runs with a damaged manifest are named. Raises OSError if it can't be written.
    """
    shown = list(islice(past_runs.every(reports), MOST_RUNS))
    n_more = max(0, len(past_runs.folders(reports)) - MOST_RUNS)
    page = rendering.page("runs.html.j2", **_content(shown, n_more))
    file = reports / FILE
    write_atomically(file, page.encode())
    return file


def refresh(reports: Path) -> None:
    """Write the page at the end of a run, which a full disk must not turn into a fault."""
    with contextlib.suppress(OSError):
        write(reports)


def _content(
    shown: Sequence[Run],
    n_more: int,
) -> dict[str, Any]:
    """What the template shows; ``n_more``: number of older runs."""
    steps = [*STEPS, *sorted({run.step for run in shown} - set(STEPS))]
    newest = [next((r for r in shown if r.step == step), None) for step in steps]
    return {
        "cards": [_card(run) for run in newest if run],
        "histories": [h for h in (_segments(shown), _quality(shown)) if h],
        "pairs": _pairs(shown, steps),
        "runs": shown,
        "n_more": n_more,
        "damaged": [run.run_id for run in shown if run.is_damaged],
    }


def _card(run: Run) -> Card:
    verdict = run.verdict
    if run.status != "done" or verdict is None:
        tone = {"done": "good", "failed": "bad"}.get(run.status, "caution")
        return Card(run, run.status.capitalize(), tone, run.reason or "", "")
    sentences = verdict.get("sentences") or [""]
    until = verdict.get("data_until") or ""
    tone = str(verdict.get("tone"))
    tone = tone if tone in ("good", "caution", "bad") else "caution"
    return Card(run, str(verdict["word"]), tone, str(sentences[0]), str(until))


def _done(
    runs: Sequence[Run],
    step: str,
) -> list[Run]:
    """The runs of a step that are done and recorded figures, the newest first."""
    return [run for run in runs if (run.step, run.status) == (step, "done")][
        :MOST_POINTS
    ]


def _segments(runs: Sequence[Run]) -> History | None:
    """How many users were in each segment, by run of score."""
    scored = [run for run in _done(runs, "score") if run.metrics.get("segments")]
    if not scored:
        return None
    stated = (scored[0].facts or {}).get("study", {}).get("segments", [])
    names = [str(segment["name"]) for segment in stated]
    rows = []
    for run in scored[:MOST_ROWS]:
        sizes = run.metrics["segments"]
        n_users = f"{run.metrics['n_scored']:,}"
        counts = [f"{sizes.get(name, 0):,}" for name in names]
        rows.append((str(run.metrics["cutoff"]), n_users, *counts))
    shares = [_share(run, names[0]) for run in scored]
    return History(
        "Segments",
        ("scored on", "users", *names),
        rows,
        _line(shares),
        f"share of users in segment {names[0]}: {_first_and_last(shares)}",
    )


def _share(
    run: Run,
    segment: str,
) -> float:
    return float(run.metrics["segments"].get(segment, 0) / run.metrics["n_scored"])


def _quality(runs: Sequence[Run]) -> History | None:
    """How good the forecasts were, by run of evaluate."""
    judged = [
        run for run in _done(runs, "evaluate") if run.metrics.get("auc") is not None
    ]
    if not judged:
        return None
    rows = [
        (
            f"{run.began:%Y-%m-%d}" if run.began else "–",
            _three(run.metrics["auc"]),
            _three(run.metrics.get("recency_auc")),
            _three(run.metrics.get("log_loss")),
        )
        for run in judged[:MOST_ROWS]
    ]
    areas = [float(run.metrics["auc"]) for run in judged]
    return History(
        "Quality of the forecast",
        ("evaluated on", "AUC", "AUC of recency", "log loss"),
        rows,
        _line(areas),
        f"AUC: {areas[-1]:.3f} to {areas[0]:.3f}",
    )


def _three(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _first_and_last(shares: Sequence[float]) -> str:
    return f"{percent(shares[-1])} to {percent(shares[0])}"


def _line(newest_first: Sequence[float]) -> str:
    """The points of an SVG line, oldest first; empty for fewer than two values."""
    values = newest_first[::-1]
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    spread = (high - low) or 1.0
    step = WIDTH / (len(values) - 1)
    points = [
        (position * step, HEIGHT - 4 - (value - low) / spread * (HEIGHT - 8))
        for position, value in enumerate(values)
    ]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _pairs(
    runs: Sequence[Run],
    steps: Sequence[str],
) -> list[dict[str, Any]]:
    """For each step the figures that differ between its newest two runs."""
    pairs = []
    for step in steps:
        newest = _done(runs, step)[:2]
        if len(newest) < 2:
            continue
        changed = past_runs.differences(newest[1], newest[0])
        figures = changed.filter(
            changed["what"].str.starts_with("figures.")
            & changed["change"].is_not_null()
        )
        rows = [
            (row[0].removeprefix("figures.").replace("_", " "), *row[1:3])
            for row in figures.rows()
        ]
        if rows:
            pairs.append({"step": step, "runs": newest[::-1], "rows": rows})
    return pairs
