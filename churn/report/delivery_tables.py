"""Tables about an export as readers see them."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from churn.settings.endpoints import is_on_this_machine

DESTINATION = ("endpoint", "workspace")
EXPORT_COUNTS = {
    "n_scored": "users scored",
    "n_changed": "users with a change",
    "n_moved": "of the changed: had another segment",
    "n_lapsed": "of the changed: no longer scored",
    "n_gone": "of the changed: forgotten or opted out",
    "n_unchanged": "users unchanged",
    "n_unmatched": "users without an identifier of their own",
    "n_undeliverable": "users whose identifier Braze can't take",
    "n_requests": "requests needed",
    "n_data_points": "data points",
    "minutes": "minutes at the pace set",
    "n_requests_sent": "requests answered",
    "n_retries": "requests tried again",
    "n_sent": "users delivered",
    "n_rejected": "users rejected",
    "n_unknown": "users with unknown outcome",
    "n_users_per_request": "users that a request may hold: set braze.batch_size to it",
    "minutes_taken": "minutes taken",
}


def export_summary(summary: dict[str, Any]) -> pl.DataFrame:
    """Where an export went and its counts; the heading says whether it was a dry run."""
    heading = "dry run: nothing was sent" if summary["dry_run"] else "sent"
    rows = list(
        zip(DESTINATION, (_endpoint(summary), summary["workspace"]), strict=True)
    )
    for name, label in EXPORT_COUNTS.items():
        if name in summary:
            rows.append((label, f"{summary[name]:,}"))
        if name == "n_data_points":
            rows += _by_attribute(summary)
    return pl.DataFrame(rows, schema=[heading, "n"], orient="row")


def _by_attribute(summary: dict[str, Any]) -> list[tuple[str, str]]:
    by_attribute: dict[str, int] = summary.get("data_points_by_attribute", {})
    return [
        (f"of the data points: {name}", f"{n:,}") for name, n in by_attribute.items()
    ]


AUDIENCE_COLUMNS = {
    "name": "audience",
    "format": "format",
    "n_users": "users",
    "n_listed": "with an id",
    "n_ids": "ids",
    "n_added": "added",
    "n_removed": "removed",
    "state": "state",
}


def audiences(lists: Sequence[Mapping[str, Any]], is_dry: bool) -> pl.DataFrame:
    """The audiences of an export, a row each, as ``audiences.export.counts`` has them.

    ``state`` says whether files were written, and what to mind.
    """
    rows = [{**counts, "state": _audience_state(counts, is_dry)} for counts in lists]
    text = ("name", "format", "state")
    schema = {
        name: pl.String if name in text else pl.Int64 for name in AUDIENCE_COLUMNS
    }
    return pl.DataFrame(rows, schema=schema).rename(AUDIENCE_COLUMNS)


def _audience_state(counts: Mapping[str, Any], is_dry: bool) -> str:
    n_files = len(counts["files"])
    done = "dry run" if is_dry else f"{n_files} file{'s' if n_files != 1 else ''}"
    return f"{done}; {counts['warning']}" if counts["warning"] else done


def destination(summary: dict[str, Any]) -> str:
    """Where an export went, or would go: endpoint, workspace, and if it isn't Braze."""
    place = f"{_endpoint(summary)}, workspace {summary['workspace']}"
    if summary["dry_run"]:
        return f"Dry run, nothing was sent. It would go to {place}."
    return f"Sent to {place}."


def _endpoint(summary: dict[str, Any]) -> str:
    address: str = summary["endpoint"]
    if is_on_this_machine(address):
        return f"{address} (sandbox, not Braze)"
    return address
