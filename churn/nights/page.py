"""The page of a night, for the engineer on call: what happened, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from churn.nights import lines
from churn.nights.record import Night, Stage
from churn.report import rendering, runs
from churn.report.past_runs import Run
from churn.report.verdict import Tone, Verdict
from churn.settings import Settings
from churn.store import write_atomically

SHORTENED = 400
"""Most characters of an error in the verdict; the stage's row has all of it."""


@dataclass(frozen=True)
class Row:
    """A stage on the page. ``verdict``: that of its report; null without one."""

    stage: Stage
    counts: str
    verdict: Mapping[str, Any] | None


def write(
    settings: Settings,
    night: Night,
) -> None:
    """Write report.html and metrics.json into the night's run folder."""
    rows = [_row(settings, stage) for stage in night.stages.values()]
    verdict = of(night, rows)
    folder = settings.reports_path / night.night
    figures = {**lines.of_night(settings, night), "verdict": verdict.as_json()}
    write_atomically(folder / "metrics.json", runs.dump(runs.plain(figures)))
    warned = [text for stage in night.stages.values() for text in stage.warnings]
    page = rendering.page(
        "night.html.j2",
        night=night,
        rows=rows,
        verdict=verdict,
        warnings=list(dict.fromkeys(warned)),
        findings=[f for stage in night.stages.values() for f in stage.findings],
        minutes=night.seconds / 60,
    )
    write_atomically(folder / lines.PAGE, page.encode())


def _row(
    settings: Settings,
    stage: Stage,
) -> Row:
    run = Run(settings.reports_path / stage.run, None) if stage.run else None
    return Row(stage, lines.counts(stage), run.verdict if run else None)


def of(
    night: Night,
    rows: list[Row],
) -> Verdict:
    """The verdict of a night: what was sent, or why it stopped and what to do."""
    until = _until(rows)
    stopped = next((row.stage for row in rows if not row.stage.is_over), None)
    if stopped is None:
        return _complete(night, rows, until)
    before = [row.stage.name for row in rows if row.stage.is_over]
    done = f"Done before it: {', '.join(before)}." if before else "Nothing was done."
    word, tone, action = _what_to_do(night)
    sentences = (
        f"**The night stopped at {stopped.name}:** {_short(stopped.reason)}",
        f"{done} The next night goes on at {stopped.name}, unless new data has come.",
    )
    return Verdict(word, tone, sentences, action, until)


def _what_to_do(night: Night) -> tuple[str, Tone, str]:
    if night.status == "decide":
        return (
            "Decide",
            "bad",
            "Find out whether the data is wrong. If it is, have it delivered again and "
            "start the night again; if it is right, start it with `--accept` and the "
            "name of the gate or limit, and say `--why`.",
        )
    if night.status == "later":
        return (
            "Try again",
            "caution",
            "Start the same command again in a few minutes; nothing is done twice.",
        )
    return (
        "Failed",
        "bad",
        "Mend what the sentence names, and start the same command again; nothing is "
        "done twice.",
    )


def _complete(
    night: Night,
    rows: list[Row],
    until: date | None,
) -> Verdict:
    """The sentences of the last stages that have something to say to a reader."""
    verdicts = {row.stage.name: row.verdict for row in rows if row.verdict}
    sentences = [str(v["sentences"][0]) for v in verdicts.values() if v["sentences"]]
    kinds = {v["tone"] for v in verdicts.values()}
    accepted = [f["gate"] for row in rows for f in row.stage.findings]
    if accepted:
        sentences.append(f"Accepted although failed: {', '.join(accepted)}.")
    resumed = [row.stage.name for row in rows if row.stage.is_reused]
    if resumed:
        sentences.append(f"Not done again: {', '.join(resumed)}.")
    tone: Tone = "caution" if accepted or kinds - {"good"} else "good"
    action = "Nothing needs doing." if tone == "good" else "Read the reports marked !."
    if not night.send:
        action = f"{action} This night wrote nothing to Braze; `--send` does."
    return Verdict("Done", tone, tuple(sentences[-4:]), action, until)


def _until(rows: list[Row]) -> date | None:
    stated = [row.verdict["data_until"] for row in rows if row.verdict]
    known = [date.fromisoformat(text) for text in stated if text]
    return max(known, default=None)


def _short(reason: str) -> str:
    if len(reason) <= SHORTENED:
        return reason
    return f"{reason[:SHORTENED].rsplit(' ', 1)[0]} …"
