"""What came in, and which silence is churn, in sentences for readers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from churn.events.sources.find import Found, in_words
from churn.explore import definitions
from churn.explore.definitions import Rule
from churn.explore.retention import NOBODY_RETURNS, shortest_horizon
from churn.report import seen_sentences
from churn.settings import Settings

if TYPE_CHECKING:
    from churn.events.ingest import Ingest


def ingest(arrived: Ingest) -> list[str]:
    """What one ingest did, a line each: files, rows, faults, people, coverage."""
    n_known = arrived.files.height - arrived.n_new_files
    totals = "  ".join(f"{name} {n:,}" for name, n in arrived.totals.items())
    lines = [f"{arrived.n_new_files} new file(s), {n_known} already known"]
    if arrived.n_again:
        lines += [*_read_again(arrived), f"in all files read now: {totals}"]
    else:
        lines.append(totals)
    for reason, n in arrived.reasons.iter_rows():
        example = seen_sentences.such_as(reason, arrived.examples)
        lines.append(f"  quarantined {reason}: {n:,}{example}")
    for reason, n in Counter(arrived.waiting.values()).items():
        lines.append(f"{n} file(s) wait {reason}")
    if arrived.passed_over:
        lines.append(_passed_over(arrived.passed_over))
    if arrived.gone:
        n_gone = len(arrived.gone)
        lines.append(f"{n_gone} file(s) are gone from the extracts; their rows stay")
    n_users = arrived.people["users"]
    n_anonymous = arrived.people["anonymous"]
    lines.append(f"{n_users:,} users, {n_anonymous:,} people without a user id")
    if arrived.n_requests:
        lines.append(
            f"{arrived.n_requests} row(s) ask for a person's erasure: "
            "churn forget --requested"
        )
    lines += seen_sentences.names(arrived.seen)
    lines += seen_sentences.outsized(arrived.seen)
    lines += arrived.warnings
    lines.append(f"complete until {arrived.covered_until or '(no events yet)'}")
    return lines


def _passed_over(files: Sequence[Found]) -> str:
    """How many files were not read for their names, and what would read them."""
    return (
        f"{len(files)} file(s) passed over for their names: {in_words(files)}; a name "
        "says the format, and beside files of one format those of another are only "
        "read by an extract of their own"
    )


def _read_again(arrived: Ingest) -> list[str]:
    """Which known files were read again and why, and what the log then gained."""
    lines = []
    for extract, n in arrived.n_reread.items():
        names = ", ".join(arrived.changed[extract])
        lines.append(f"{n} file(s) of {extract} read again, because of: {names}")
    if arrived.n_changed:
        lines.append(f"{arrived.n_changed} file(s) read again, because they changed")
    n_others = arrived.n_again - arrived.n_changed - sum(arrived.n_reread.values())
    if n_others:
        lines.append(
            f"{n_others} file(s) read again, because they share rows with those"
        )
    lines.append(
        f"event log: {arrived.n_added:,} added, {arrived.n_replaced:,} replaced, "
        f"{arrived.n_removed:,} removed"
    )
    return lines


def nobody_returns(return_rate: float | None) -> str:
    """That (almost) nobody comes back, and what to ask then; empty if people do.

    ``return_rate``: that of ``retention.second_day_rate``.
    """
    if return_rate is None or return_rate >= NOBODY_RETURNS:
        return ""
    almost = "Almost nobody" if return_rate else "Nobody"
    return (
        f"{almost} comes back: of the users who could have, {return_rate:.1%} were "
        "active on a second day. So there is nobody to keep, and nothing can be "
        "learned about churn. Ask first whether the user id lasts: an id that is made "
        "anew at every visit, installation or log-in (a session's, a cookie's that is "
        "refused) looks just like this, and needs another column as user_id. If it "
        "lasts, people use this app once."
    )


def silence(
    curve: pl.DataFrame,
    settings: Settings,
    max_return_rate: float,
    return_rate: float | None = None,
) -> str:
    """The shortest horizon after which too few users return, beside the study's.

    ``curve`` is that of ``retention.return_curve``, ``return_rate`` that of
    ``retention.second_day_rate``.
    """
    if nobody := nobody_returns(return_rate):
        return nobody
    if curve.is_empty():
        return (
            "How many users return after a silence is not known: there are too few "
            "users, or the log is too short to follow them after it."
        )
    shortest = shortest_horizon(curve, max_return_rate)
    followed = curve["followed_days"][0]
    longest = curve["silence_days"][-1]
    horizon_days = settings.windows.horizon_days
    if shortest is not None:
        found = (
            f"After {shortest} days of silence fewer than {max_return_rate:.0%} still "
            f"return within {followed} days: {_rate(curve, shortest)}."
        )
    else:
        found = (
            f"After no silence of up to {longest} days is it known that fewer than "
            f"{max_return_rate:.0%} return within {followed} days. After {longest} days "
            f"it is {_rate(curve, longest)}; what follows a longer silence, this log is "
            "too short to say."
        )
    if horizon_days > longest:
        return f"{found} For the study's {horizon_days} days it is not known."
    return (
        f"{found} After the study's {horizon_days} days: {_rate(curve, horizon_days)}."
    )


def _rate(curve: pl.DataFrame, silence_days: int) -> str:
    """The share who return after a silence, with its interval."""
    row = curve.row(by_predicate=pl.col("silence_days") == silence_days, named=True)
    interval = f"95% interval {row['low']:.1%} to {row['high']:.1%}"
    return f"{row['return_rate']:.1%} ({interval})"


def definition(
    table: pl.DataFrame,
    settings: Settings,
    rule: Rule,
    return_rate: float | None = None,
    log_days: tuple[date, date] | None = None,
) -> str:
    """The chosen definition of churn with its lines for churn.toml.

    Where none keeps the rule, the nearest and what it misses. ``table``: that of
    ``definitions.compare``; ``return_rate``: that of ``retention.second_day_rate``;
    ``log_days``: first and last complete day of the log.
    """
    if nobody := nobody_returns(return_rate):
        return nobody
    if table.is_empty():
        return "\n\n".join(too_little(settings, log_days))
    chosen = definitions.choose(table)
    if chosen:
        return _chosen(chosen, table, settings)
    return _nearest(table, rule, settings)


def too_little(
    settings: Settings,
    log_days: tuple[date, date] | None,
) -> tuple[str, str]:
    """What a log needs that is too short to compare definitions, and what to do.

    ``log_days``: its first and its last complete day; null without any. The second text
    holds lines for churn.toml if shorter windows can be used already.
    """
    windows = settings.windows
    needed = windows.eligible_days + windows.lead_days + windows.horizon_days
    unjudged = "The log is too short, or has too few users, to judge any definition"
    if log_days is None:
        return f"{unjudged}.", "Ingest extracts, and run this again."
    first, until = log_days
    n_days = (until - first).days + 1
    if n_days >= needed:
        return (
            f"{unjudged}: {n_days} days so far. The study's own windows can be used "
            "already, without knowing how many of those called gone come back.",
            "Go on with `2_train`, or run this again with more history.",
        )
    ready = first + timedelta(days=needed)
    have = f"{n_days} days so far; the study's windows need {needed}"
    shorter = definitions.shorter_days(n_days)
    wait = f"Come back on {ready}"
    if shorter is None:
        return f"{unjudged}: {have}.", f"{wait}."
    return (
        f"{unjudged}: {have}.",
        f"{wait}, or use {shorter} and {shorter} days now, which says little of who "
        f"leaves for good:\n\n{_toml(shorter, shorter, settings)}",
    )


def _chosen(
    row: dict[str, Any],
    table: pl.DataFrame,
    settings: Settings,
) -> str:
    horizon = row["horizon_days"]
    eligible = row["eligible_days"]
    of_horizon = table.filter(pl.col("horizon_days") == horizon)
    share_of_horizon = of_horizon["chosen_rate"].sum()
    return (
        f"Look at users who were active in the last {eligible} days, and call it churn "
        f"if they are not active in the next {horizon}: {row['churn_rate']:.0%} churn "
        f"and {row['return_rate']:.0%} of them come back anyway. Even a simple score "
        f"has an AUC of {row['auc']:.2f} and knows {row['head_start_days']} days "
        "before the silence does. With the users drawn anew the rule chooses this "
        f"horizon in {share_of_horizon:.0%} of draws, and exactly this definition in "
        f"{row['chosen_rate']:.0%}.\n\n{_toml(eligible, horizon, settings)}"
    )


def _toml(
    eligible: int,
    horizon: int,
    settings: Settings,
) -> str:
    """The lines of churn.toml that make this the study's definition."""
    lines = ["```toml", "[windows]"]
    if eligible > settings.windows.observation_days:
        lines.append(f"observation_days = {eligible}")
    lines.append(f"eligible_days = {eligible}")
    lines.append(f"horizon_days = {horizon}")
    return "\n".join([*lines, "```"])


def _nearest(
    table: pl.DataFrame,
    rule: Rule,
    settings: Settings,
) -> str:
    nearest = definitions.nearest(table)
    missed = [_miss(limit, nearest, rule) for limit in nearest["misses"].split(", ")]
    longest = max(table["horizon_days"].to_list())
    longer = ""
    if longest < max(definitions.HORIZONS):
        longer = " (this log is too short for longer ones)"
    fitting_rate = table["chosen_rate"].sum()
    eligible, horizon = nearest["eligible_days"], nearest["horizon_days"]
    return (
        f"No definition with a horizon of up to {longest} days keeps all limits"
        f"{longer}. The best available one, active in the last {eligible} days and not "
        f"in the next {horizon}, has its price: {' and '.join(missed)}. With the users "
        f"drawn anew some definition keeps all limits in {fitting_rate:.0%} of draws."
        f"\n\n{_toml(eligible, horizon, settings)}"
    )


def _miss(
    limit: str,
    row: dict[str, Any],
    rule: Rule,
) -> str:
    """What a definition misses of one limit of the rule."""
    if limit == "return rate":
        return (
            f"{row['return_rate']:.1%} of the churned come back anyway "
            f"(limit {rule.max_return_rate:.0%})"
        )
    if limit == "churn rate":
        return (
            f"{row['churn_rate']:.1%} churn (not {rule.min_churn_rate:.0%} to "
            f"{rule.max_churn_rate:.0%})"
        )
    if limit == "AUC":
        return f"the AUC is {row['auc']:.2f} (limit {rule.min_auc})"
    return (
        f"a score is {row['head_start_days'] or 0} days ahead "
        f"(limit {rule.min_head_start_days})"
    )
