"""A chart in words and as a table, for who can't see it or wants its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from churn.report.chart_data import ChartData

MAX_NAMED = 8
"""Number of series, or of bars, that the words go through one by one."""

MAX_ROWS = 25
"""Number of rows of a chart's table."""

Row = Mapping[str, Any]
Texts = tuple[str, ...]


@dataclass(frozen=True)
class Numbers:
    """A table of texts; ``note`` says which rows were left out, or is empty."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def sentence(chart: ChartData) -> str:
    """What is compared, and the main reading of it: ends, peaks, or every bar."""
    value = chart.values[0]
    series = "".join(f" and {field.title}" for field in chart.series)
    colon = "" if chart.title.endswith("?") else ":"
    subject = f"{chart.title}{colon} {value.title} by {chart.key.title}{series}."
    groups = chart.by_series()
    if not chart.rows:
        return f"{subject} There are no values."
    if chart.key.is_number or chart.key.format:
        lines = [_line(chart, name, rows) for name, rows in groups.items()]
        return " ".join([subject, *lines[:MAX_NAMED], *_left_out(lines)])
    if chart.series or len(chart.rows) > MAX_NAMED:
        return f"{subject} {_extremes(chart)}"
    bars = [
        f"{chart.key.text(r[chart.key.name])} {_text(chart, r)}" for r in chart.rows
    ]
    return f"{subject} {', '.join(bars)}."


def _left_out(lines: Sequence[str]) -> list[str]:
    n = len(lines) - MAX_NAMED
    return [f"{n} more series."] if n > 0 else []


def _line(
    chart: ChartData,
    name: str,
    rows: Sequence[Row],
) -> str:
    """Where a line begins and ends, and its peak and low if they lie between."""
    value, key = chart.values[0].name, chart.key.name
    known = [r for r in rows if r.get(value) is not None and r.get(key) is not None]
    known.sort(key=lambda r: r[key])
    who = f"{name}: " if name else "It goes "
    if not known:
        return f"{who}no values."
    first, last = known[0], known[-1]
    if first is last:
        return f"{who}{_at(chart, first)}."
    text = f"{who}from {_at(chart, first)} to {_at(chart, last)}"
    most = max(known, key=lambda r: r[value])
    least = min(known, key=lambda r: r[value])
    between = [("highest", most), ("lowest", least)]
    ends = {first[value], last[value]}
    peaks = [f"{w} {_at(chart, r)}" for w, r in between if r[value] not in ends]
    return ", ".join([text, *peaks]) + "."


def _extremes(chart: ChartData) -> str:
    """The highest and the lowest of many cells or bars."""
    value = chart.values[0].name
    known = [r for r in chart.rows if r.get(value) is not None]
    if not known:
        return "There are no values."
    most = max(known, key=lambda r: r[value])
    least = min(known, key=lambda r: r[value])
    return f"Highest {_at(chart, most, True)}; lowest {_at(chart, least, True)}."


def _at(
    chart: ChartData,
    row: Row,
    with_series: bool = False,
) -> str:
    """A value with where it stands: 76% at 20%."""
    place = chart.key.text(row.get(chart.key.name))
    if with_series:
        place = f"{chart.key.title} {place}"
        for field in chart.series:
            place += f", {field.title} {field.text(row.get(field.name))}"
    return f"{_text(chart, row)} at {place}"


def _text(
    chart: ChartData,
    row: Row,
) -> str:
    return chart.values[0].text(row.get(chart.values[0].name))


def numbers(chart: ChartData) -> Numbers:
    """The chart's rows as a table, by key.

    Up to eight series that share most of their keys stand side by side. Of more than 25 rows the
    table has 25, evenly spaced, and the note says so.
    """
    ordered = _by_key(chart)
    n_keys = len({row.get(chart.key.name) for row in ordered})
    n_series = len(chart.by_series())
    is_dense = n_keys * n_series <= 2 * len(ordered)
    if chart.series and is_dense and n_series <= MAX_NAMED:
        titles, rows = _crossed(chart, ordered)
    else:
        fields = [*chart.series, chart.key, *chart.values]
        titles = [field.title for field in fields]
        rows = [tuple(f.text(row.get(f.name)) for f in fields) for row in ordered]
    kept = _spaced(len(rows))
    is_cut = len(kept) < len(rows)
    note = f"{len(kept)} of {len(rows):,} rows, evenly spaced" if is_cut else ""
    return Numbers(tuple(titles), tuple(rows[i] for i in kept), note)


def _by_key(chart: ChartData) -> list[Row]:
    """Rows in the order of a number or time; of names, in the order of the chart."""
    if not chart.key.is_number and not chart.key.format:
        return list(chart.rows)
    name = chart.key.name
    known = [row for row in chart.rows if row.get(name) is not None]
    return sorted(known, key=lambda row: row[name])


def _crossed(
    chart: ChartData,
    rows: Sequence[Row],
) -> tuple[list[str], list[Texts]]:
    """Keys down and series across."""
    names = list(chart.by_series())
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        key = chart.key.text(row.get(chart.key.name))
        cells.setdefault(key, {})[chart.series_of(row)] = _text(chart, row)
    lines = [(k, *(found.get(n, "–") for n in names)) for k, found in cells.items()]
    return [chart.key.title, *names], lines


def _spaced(n: int) -> list[int]:
    """Positions of at most 25 of n rows, with the first and the last.

    >>> _spaced(3), _spaced(1000)[:2], _spaced(1000)[-1]
    ([0, 1, 2], [0, 42], 999)
    """
    if n <= MAX_ROWS:
        return list(range(n))
    return [round(i * (n - 1) / (MAX_ROWS - 1)) for i in range(MAX_ROWS)]
