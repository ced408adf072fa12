"""What an ingest saw, line by line: names with their kinds, and outsized users."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from churn.events.seen import Seen

MAX_NAME = 48
"""Number of letters of an event name that are shown."""

MAX_VALUE = 30
"""Number of letters of a refused cell that are shown in a line."""

HEADER = ("event", "kind", "events", "people", "days")


def names(seen: Seen) -> list[str]:
    """The events that most people have, each with its kind, as lines of a table."""
    if seen.names.is_empty():
        return []
    of = "of the log" if seen.is_whole else "read now"
    rows = [HEADER]
    for event, kind, n_events, n_people, n_days in seen.names.iter_rows():
        counts = [f"{n:,}" for n in (n_events, n_people, n_days)]
        rows.append((event[:MAX_NAME], kind, *counts))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    title = f"the events {of} that most people have; give one another kind under kinds in churn.toml"
    return [title, *[_line(row, widths) for row in rows]]


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    """A line of the table: names to the left, numbers to the right."""
    event, kind, *counts = row
    numbers = [
        text.rjust(width) for text, width in zip(counts, widths[2:], strict=True)
    ]
    cells = [event.ljust(widths[0]), kind.ljust(widths[1]), *numbers]
    return "  " + "  ".join(cells)


def outsized(seen: Seen) -> list[str]:
    """A line about users with an outsized share of the events; none without any."""
    users = seen.outsized
    if users.is_empty():
        return []
    share = users["share"].sum()
    n_events = users["n_events"].sum()
    of = "the log" if seen.is_whole else "the new events"
    who = (
        f"1 user has {share:.1%} of {of} ({n_events:,})"
        if users.height == 1
        else f"{users.height} users have {share:.1%} of {of} ({n_events:,})"
    )
    least = min(users["times"].to_list())
    return [
        f"{who}, at least {least:,.0f} times as many as the others on average: a "
        "crawler, a test account or an id that many share? "
        "study.inventory().outsized_users(with_ids=True) names them, and "
        "identity.not_a_user takes those who are nobody"
    ]


def such_as(reason: str, examples: pl.DataFrame) -> str:
    """Where the first row of a reason of quarantine stands, and its cell if known."""
    for example in examples.iter_rows(named=True):
        if example["reason"] == reason:
            where = f"row {example['source_row']:,} of {example['source_file']}"
            return f", such as {where}{_cell(example['value'])}"
    return ""


def _cell(value: str | None) -> str:
    return "" if value is None else f': "{value[:MAX_VALUE]}"'
