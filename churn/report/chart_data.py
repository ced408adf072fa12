"""What a chart shows, read from its Vega-Lite specification.

A chart compares values by a key, for one series or several. The fields that a pointer
would show say which, and how they are written.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """A column of a chart's rows, with its title and the format of its values."""

    name: str
    title: str
    format: str
    is_number: bool

    def text(self, value: Any) -> str:
        """A value as people write it; null is a dash.

        >>> Field("x", "x", ".0%", True).text(0.25), Field("x", "x", "", True).text(None)
        ('25%', '–')
        """
        if value is None:
            return "–"
        if isinstance(value, int | float) and self.is_number:
            return format(value, self.format or ",.4g")
        try:
            moment = datetime.fromisoformat(str(value)) if self.format else None
        except ValueError:
            moment = None
        return moment.strftime(self.format) if moment else str(value)


@dataclass(frozen=True)
class ChartData:
    """The rows of a chart, and which of their columns are key, value and series.

    ``values`` are the columns of numbers that a pointer would show, that of the chart
    first. A series is a value of ``series``, or of several columns together.
    """

    title: str
    key: Field
    values: tuple[Field, ...]
    series: tuple[Field, ...]
    rows: tuple[Mapping[str, Any], ...]

    def by_series(self) -> dict[str, list[Mapping[str, Any]]]:
        """The rows of each series, in their order; one without a name if there is none."""
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for row in self.rows:
            groups.setdefault(self.series_of(row), []).append(row)
        return groups

    def series_of(self, row: Mapping[str, Any]) -> str:
        """The name of a row's series; empty if there is but one."""
        return ", ".join(field.text(row.get(field.name)) for field in self.series)


def read(spec: Spec) -> ChartData | None:
    """What a chart shows; null where no layer has a number over a key.

    Of several layers it is the one that says most under a pointer, then the one with
    most rows.
    """
    layers = [layer for layer in _layers(spec) if _value(layer["encoding"])]
    if not layers:
        return None
    main = max(
        layers,
        key=lambda layer: ("tooltip" in layer["encoding"], len(layer["rows"])),
    )
    encoding = main["encoding"]
    across = _value(encoding)
    key, series = _key_and_series(encoding, across)
    value = _field(encoding, across)
    shown = [_field({"": c}, "") for c in encoding.get("tooltip", [])]
    others = [f for f in shown if f.is_number and f.name not in {key.name, value.name}]
    return ChartData(
        title_of(spec) or "Chart",
        key,
        (value, *others),
        series,
        tuple(main["rows"]),
    )


def title_of(spec: Spec) -> str:
    """Title of a chart, or of its first layer that has one; empty without one."""
    for part in (spec, *spec.get("layer", [])):
        title = part.get("title")
        if title:
            return title if isinstance(title, str) else str(title.get("text", ""))
    return ""


def _layers(
    spec: Spec,
    above: Spec | None = None,
) -> Iterator[dict[str, Any]]:
    """The innermost layers, with the encoding and rows that they inherit."""
    above = above or {"encoding": {}, "data": {}, "datasets": {}}
    here = {
        "encoding": {**above["encoding"], **spec.get("encoding", {})},
        "data": spec.get("data", above["data"]),
        "datasets": spec.get("datasets", above["datasets"]),
    }
    if isinstance(spec.get("facet"), Mapping):
        here["encoding"]["facet"] = spec["facet"]
    inner = [*spec.get("layer", []), *([spec["spec"]] if "spec" in spec else [])]
    for part in inner:
        yield from _layers(part, here)
    if not inner:
        data = here["data"] or {}
        rows = data.get("values") or here["datasets"].get(data.get("name"), [])
        yield {"encoding": here["encoding"], "rows": rows}


def _value(encoding: Spec) -> str:
    """The channel of the number that a chart compares; empty if there is none.

    Cells of two scales hold it in their strength, colour or text.
    """
    channels = ["y", "x"] if {"x", "y"} <= encoding.keys() else []
    for channel in (*channels, "fillOpacity", "color", "text"):
        meant = encoding.get(channel, {})
        if meant.get("type") == "quantitative" and "field" in meant:
            return channel
    return ""


def _key_and_series(
    encoding: Spec,
    across: str,
) -> tuple[Field, tuple[Field, ...]]:
    """What the values are by, and by which further columns they are apart.

    Of the two scales of cells the key is the one of time, else the vertical one.
    """
    if across not in {"x", "y"}:
        is_time = encoding["x"].get("type") == "temporal"
        key, other = ("x", "y") if is_time else ("y", "x")
        return _field(encoding, key), (_field(encoding, other),)
    key = "x" if across == "y" else "y"
    apart = [c for c in ("facet", "color") if "field" in encoding.get(c, {})]
    return _field(encoding, key), tuple(_field(encoding, c) for c in apart)


def _field(
    encoding: Spec,
    channel: str,
) -> Field:
    """The field of a channel; its title and format are those under a pointer, if any."""
    meant = encoding[channel]
    name = str(meant.get("field", ""))
    pointer = encoding.get("tooltip", [])
    shown = [c for c in pointer if isinstance(c, Mapping) and c.get("field") == name]
    best: Mapping[str, Any] = {**meant, **(shown[0] if shown else {})}
    axis = meant.get("axis") or {}
    form = best.get("format") or axis.get("format") or ""
    is_time = best.get("type") == "temporal" or "timeUnit" in meant
    return Field(
        name,
        _title(meant, best, name),
        "%d %b %Y" if is_time and not form else form,
        best.get("type") == "quantitative",
    )


def _title(
    meant: Spec,
    best: Spec,
    name: str,
) -> str:
    """The title of an axis, else that under a pointer, else the column's name."""
    title = meant.get("title") or best.get("title") or name.replace("_", " ")
    return title if isinstance(title, str) else " ".join(title)
