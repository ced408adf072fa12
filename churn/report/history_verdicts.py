"""Verdicts about the past: whether all data came in, and whether a definition fits."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from churn.explore import definitions
from churn.features.cutoffs import missing_in_words
from churn.report import history_sentences
from churn.report.numbers import counted, percent
from churn.report.verdict import Verdict
from churn.settings import Settings, Windows

if TYPE_CHECKING:
    from churn.events.ingest import Ingest

MAX_QUARANTINED = 0.1
"""Share of rows set aside from which the settings of an extract look wrong."""

RECENT_DAYS = 90
"""Days before the last complete one in which a missing day still matters."""


def ingest(
    done: Ingest,
    missing: Collection[date],
    age: dict[str, Any],
) -> Verdict:
    """Whether the log is complete, and until when.

    ``missing``: days whose events the log lacks. ``age``: what the gate on the age of
    the data finds (passed and sentence).
    """
    until = done.covered_until
    if until is None:
        return _without_events(done)
    totals = done.totals
    share = totals["quarantined"] / totals["rows"] if totals["rows"] else 0.0
    recent = [day for day in missing if day > until - timedelta(days=RECENT_DAYS)]
    came = _came(done, share)
    held = _held(recent, until)
    if recent or share > MAX_QUARANTINED or not age["passed"]:
        how = age["sentence"] if not age["passed"] else ""
        action = (
            "Correct the export or the extract's settings in churn.toml, and run this "
            "again; a figure that rests on missing days is wrong."
        )
        sentences = tuple(filter(None, (came, held, how and f"Too old: {how}.")))
        return Verdict("Incomplete", "caution", sentences, action, until)
    fresh = f"This is as fresh as expected: {age['sentence']}."
    go_on = "Go on with `1_explore`, or with `4_score` once a model is trained."
    if not done.n_new_files + done.n_again:
        word = "Nothing new"
        return Verdict(word, "caution", (came, held, fresh), go_on, until)
    word = f"Complete until {until}"
    return Verdict(word, "good", (came, held, fresh), go_on, until)


def _without_events(done: Ingest) -> Verdict:
    rows = counted(done.totals["rows"], "row")
    return Verdict(
        "No events",
        "bad",
        (f"The log holds no complete day: {rows} were read and none can be used yet.",),
        "Look at the reasons below, and at the extracts that churn.toml names.",
        None,
    )


def _came(done: Ingest, quarantined: float) -> str:
    """How many files and rows came, and how many of them could not be used."""
    n_read = done.n_new_files + done.n_again
    if not n_read:
        return f"No new or changed file was found beside {done.files.height:,} known."
    totals = done.totals
    refused = "No row was refused."
    if totals["quarantined"]:
        refused = (
            f"{counted(totals['quarantined'], 'row')} ({percent(quarantined)}) were "
            "refused and wait in quarantine, with their reasons below."
        )
    return (
        f"{counted(n_read, 'new or changed file')} with {totals['rows']:,} rows added "
        f"{done.n_added:,} events to the log; {totals['duplicate']:,} rows were known "
        f"already. {refused}"
    )


def _held(recent: Collection[date], until: date) -> str:
    """Whether days are missing from the newest part of the log."""
    if recent:
        return f"Days without data: {missing_in_words(recent)}"
    return f"No day is missing from the {RECENT_DAYS} days up to {until}."


def definition(
    table: pl.DataFrame,
    settings: Settings,
    rule: definitions.Rule,
    return_rate: float | None,
    log_days: tuple[date, date] | None,
) -> Verdict:
    """Whether a definition of churn fits this log, and whether it is the study's.

    ``table``: that of ``definitions.compare``; ``return_rate``: that of
    ``retention.second_day_rate``; ``log_days``: first and last complete day.
    """
    until = log_days[1] if log_days else None
    windows = settings.windows
    if nobody := history_sentences.nobody_returns(return_rate):
        action = "Look at which column is the user id, and ingest again."
        return Verdict("No definition fits", "bad", (nobody,), action, until)
    if table.is_empty():
        lacks, action = history_sentences.too_little(settings, log_days)
        return Verdict("Too little history", "caution", (lacks,), action, until)
    own = _own(table, windows)
    chosen = definitions.choose(table)
    if not chosen:
        nearest = definitions.nearest(table)
        return Verdict(
            "Best available",
            "caution",
            (_fits(nearest), _tried(table, rule), own),
            "If that price suits what your messages are to do, copy the lines below "
            "into churn.toml and run `2_train`; otherwise collect more history.",
            until,
        )
    is_own = _windows(chosen) == (windows.eligible_days, windows.horizon_days)
    action = "Copy its lines, which stand below, into churn.toml; then run `2_train`."
    if is_own:
        action = "The study uses it already: run `2_train`."
    sentences = (_fits(chosen), _how_sure(chosen, table), "" if is_own else own)
    said = tuple(filter(None, sentences))
    return Verdict("Definition found", "good", said, action, until)


def _windows(row: dict[str, Any]) -> tuple[int, int]:
    return row["eligible_days"], row["horizon_days"]


def _fits(row: dict[str, Any]) -> str:
    eligible, horizon = _windows(row)
    return (
        f"Call a user gone who was active in the last {eligible} days and then stays "
        f"away for {horizon}: **{percent(row['churn_rate'])} of users are, and "
        f"{percent(row['return_rate'])} of those come back within "
        f"{counted(row['followed_days'], 'day')} more.**"
    )


def _how_sure(row: dict[str, Any], table: pl.DataFrame) -> str:
    same = table.filter(pl.col("horizon_days") == row["horizon_days"])
    share = percent(float(same["chosen_rate"].sum()))
    return (
        f"{table.height} definitions were compared at four past dates; with other users "
        f"of the same kind, these {row['horizon_days']} days would be chosen in {share} "
        "of cases."
    )


def _tried(table: pl.DataFrame, rule: definitions.Rule) -> str:
    longest = max(table["horizon_days"].to_list())
    return (
        f"It is the best available: each of the {table.height} definitions compared, "
        f"with up to {longest} days of silence, misses a limit, such as that fewer than "
        f"{percent(rule.max_return_rate)} of those called gone come back."
    )


def _own(table: pl.DataFrame, windows: Windows) -> str:
    """What the study's own definition gives; empty if the log can't judge it."""
    is_own = (pl.col("eligible_days") == windows.eligible_days) & (
        pl.col("horizon_days") == windows.horizon_days
    )
    for row in table.filter(is_own).iter_rows(named=True):
        return (
            f"Under the study's own definition (active in the last "
            f"{windows.eligible_days} days, then away for {windows.horizon_days}) "
            f"{percent(row['churn_rate'])} are gone, and {percent(row['return_rate'])} "
            "of those come back anyway."
        )
    return ""
