"""Verdicts of the night: whether scores may be used, and what an export did."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from churn.report import delivery_tables
from churn.report.numbers import counted, percent, within
from churn.report.verdict import Tone, Verdict
from churn.scoring.gate import stopping
from churn.settings import Braze, Settings
from churn.stats import expected as counts
from churn.stats.expected import Expected

Calibration = tuple[float, float] | None


def scores(
    table: pl.DataFrame,
    findings: pl.DataFrame,
    settings: Settings,
    accept: Sequence[str],
    calibration: Calibration,
    judged_at: date | None,
) -> Verdict:
    """Whom to message, how many of them would leave, and whether gates allow it.

    ``table`` and ``findings``: those of a scoring; ``accept``: names of accepted gates.
    ``calibration`` and ``judged_at``: the interval of the model's level and the date
    at which it was seen, null where not known.
    """
    until = table["cutoff"][0] - timedelta(days=1)
    stopped = stopping(findings, accept)
    if stopped:
        return _held_back(stopped, table, until)
    failed = findings.filter(~pl.col("passed"))
    top = settings.segments[0].name
    chosen = table.filter(pl.col("segment") == top)
    expected = counts.count(chosen["probability"].to_numpy(), calibration)
    sentences = (
        _at_risk(chosen, expected, table, settings),
        _how_sure(expected, judged_at),
        _checked(findings.height, failed),
    )
    return Verdict(
        "Ready",
        "caution" if failed.height else "good",
        sentences,
        _filter(chosen, top, settings.braze),
        until,
    )


def _held_back(
    stopped: Sequence[dict[str, Any]], table: pl.DataFrame, until: date
) -> Verdict:
    names = ",".join(finding["gate"] for finding in stopped)
    sentences = (
        f"The scores of {counted(table.height, 'user')} are not stored and nothing is "
        f"sent, because {counted(len(stopped), 'check')} failed.",
        *(f"`{finding['gate']}`: {finding['sentence']}." for finding in stopped),
    )
    action = (
        "Find out whether the data is wrong. If it is, repair it, ingest and score "
        f"again; if it is right, `churn run score -p accept={names}` goes on."
    )
    return Verdict("Held back", "bad", sentences, action, until)


def _at_risk(
    chosen: pl.DataFrame,
    expected: Expected,
    table: pl.DataFrame,
    settings: Settings,
) -> str:
    top = settings.segments[0].name
    n_users = counted(table.height, "active user")
    if chosen.is_empty():
        all_users = percent(_mean(table["probability"]))
        return (
            f"Nobody of {n_users} is in segment {top}; of all users {all_users} are "
            f"expected not to come back {within(settings.windows)}."
        )
    share = percent(_mean(chosen["probability"]))
    return (
        f"**{chosen.height:,} of {n_users} are in segment {top}; some "
        f"{expected.n:,.0f} of them ({share}) will not come back "
        f"{within(settings.windows)} if nothing is done.**"
    )


def _mean(probability: pl.Series) -> float:
    return float(np.mean(probability.to_numpy()))


def _how_sure(expected: Expected, judged_at: date | None) -> str:
    if expected.low is None or expected.high is None:
        return (
            "How far off such a count may be stands in the newest report of "
            "`3_evaluate`."
        )
    tested = f" at {judged_at}" if judged_at else ""
    return (
        f"In 19 of 20 cases that count lies between {expected.low:,.0f} and "
        f"{expected.high:,.0f}, if forecasts are no further off than they were when "
        f"last tested{tested}; what nobody could foresee then is not in it."
    )


def _checked(n_checks: int, failed: pl.DataFrame) -> str:
    if failed.is_empty():
        return f"All {counted(n_checks, 'check')} of data and scores passed."
    names = ", ".join(f"`{name}`" for name in failed["gate"])
    return (
        f"{failed.height} of {counted(n_checks, 'check')} of data and scores failed and "
        f"were accepted: {names}."
    )


def _filter(
    chosen: pl.DataFrame,
    top: str,
    braze: Braze,
) -> str:
    """What to filter by in Braze, and how many users that will find."""
    n_known = chosen.height - chosen["identifier"].null_count()
    if not n_known:
        return "Run `5_export`; there is nobody to message in the highest segment."
    return (
        f"Run `5_export`; in Braze the filter `{braze.segment_attribute}` is `{top}` "
        f"then finds {counted(n_known, 'user')}."
    )


def export(summary: dict[str, Any], until: date, braze: Braze, top: str) -> Verdict:
    """What an export wrote or, in a dry run, would write.

    ``summary``: the counts of an export; ``top``: name of the highest segment.
    """
    limits = tuple(f"Beyond a limit: {text}." for text in summary["beyond_limits"])
    if not summary["n_changed"]:
        return Verdict(
            "Nothing to send",
            "good",
            (_unchanged(summary), *_place(summary)),
            "Nothing; the next export compares again.",
            until,
        )
    if summary["dry_run"]:
        action = "Send it with `churn run export -p send=true`."
        if limits:
            action = "Find out why so many change; sending needs the limit accepted."
        sentences = (_would_write(summary, braze), *_place(summary), *limits)
        tone: Tone = "caution" if limits else "good"
        return Verdict("Dry run", tone, sentences, action, until)
    return _sent(summary, until, braze, top)


def _unchanged(summary: dict[str, Any]) -> str:
    n = summary.get("n_scored", 0) - summary.get("n_unmatched", 0)
    return f"Braze already has what the scores say of {counted(n, 'user')}."


def _would_write(summary: dict[str, Any], braze: Braze) -> str:
    by_attribute = summary.get("data_points_by_attribute", {})
    n_deciles = by_attribute.get(braze.decile_attribute)
    of_them = f", {n_deciles:,} of them deciles" if n_deciles else ""
    return (
        f"**{counted(summary['n_changed'], 'user')} would be written** in "
        f"{counted(summary['n_requests'], 'request')}, for "
        f"{counted(summary['n_data_points'], 'data point')} (attributes written"
        f"{of_them})."
    )


def _place(summary: dict[str, Any]) -> tuple[str, ...]:
    """Where it goes and who can't be reached there."""
    lost = summary.get("n_unmatched", 0) + summary["n_undeliverable"]
    place = delivery_tables.destination(summary)
    if not lost:
        return (place,)
    return (
        place,
        f"{counted(lost, 'user')} can't be sent: no identifier of their own.",
    )


def _sent(
    summary: dict[str, Any],
    until: date,
    braze: Braze,
    top: str,
) -> Verdict:
    n_failed = summary["n_rejected"] + summary["n_unknown"]
    written = (
        f"**{counted(summary['n_sent'], 'user')} of {summary['n_changed']:,} with a "
        f"change were written** in {counted(summary['n_requests_sent'], 'request')}, "
        f"for up to {counted(summary['n_data_points'], 'data point')}."
    )
    if n_failed:
        refused = (
            f"Braze refused {summary['n_rejected']:,} and of {summary['n_unknown']:,} "
            "it is not known; the next export tries them again."
        )
        sentences = (written, refused, *_place(summary))
        action = "See below why; `churn braze ledger --rejects RUN` lists them."
        return Verdict("Sent in part", "caution", sentences, action, until)
    action = f"In Braze, filter by `{braze.segment_attribute}` is `{top}`."
    return Verdict("Sent", "good", (written, *_place(summary)), action, until)
