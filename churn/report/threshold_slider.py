"""A slider over the threshold: whom it would select, and what that would bring in.

One piece of HTML with its own style and script, which loads nothing. Without the
script, as in a notebook that isn't trusted, it is a table.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from churn.report.runs import plain
from churn.settings import Segment

TEMPLATES = Path(__file__).with_name("templates") / "threshold"

START = 0.5
"""Threshold at which the slider stands where the study states none."""

FALLBACK = [k / 10 for k in range(1, 10)]
"""Thresholds of the table that is shown without the script."""


@dataclass(frozen=True)
class ThresholdSlider:
    """Shown in a notebook, users and churners at each threshold, with a slider.

    ``table``: that of ``evaluation.thresholds``. ``at``: the date of its counts;
    ``n_dates``: test cutoffs over which its rates are means, 0 where no outcome is
    known. ``segments`` are the study's. Without a ``value_per_saved`` no profit is
    shown until the reader states one.
    """

    table: pl.DataFrame = field(repr=False)
    segments: Sequence[Segment] = field(repr=False)
    at: date
    n_dates: int
    currency: str
    value_per_saved: float = 0.0
    cost_per_contact: float = 0.0
    save_rate: float = 0.05

    @property
    def start(self) -> float:
        """The threshold that the study has now, in hundredths."""
        begins = self.segments[0].from_probability
        return START if begins is None else round(begins, 2)

    def toml(self, threshold: float) -> str:
        """The lines of churn.toml that let the highest segment begin there.

        Segments that begin lower stay as they are, others but the last are left out.
        """
        top, last = self.segments[0], self.segments[-1]
        if threshold == 0:
            return _lines([(top.name, 0.0)])
        between = [
            (segment.name, segment.from_probability)
            for segment in self.segments[1:-1]
            if segment.from_probability and segment.from_probability < threshold
        ]
        rest = last.name if last is not top else "rest"
        return _lines([(top.name, threshold), *between, (rest, 0.0)])

    def rows(self) -> list[dict[str, Any]]:
        """The table's rows with the lines of churn.toml, as JSON can hold them."""
        rows = self.table.to_dicts()
        return [plain({**row, "toml": self.toml(row["threshold"])}) for row in rows]

    def _repr_html_(self) -> str:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        is_shown = pl.col("threshold").is_in(FALLBACK)
        return environment.get_template("slider.html.j2").render(
            slider=self,
            rows=json.dumps(self.rows()),
            fallback=self.table.filter(is_shown).to_dicts(),
            start=round(100 * self.start),
        )


def _lines(starts: Sequence[tuple[str, float | None]]) -> str:
    return "\n\n".join(
        f'[[segments]]\nname = "{name}"\nfrom_probability = {start}'
        for name, start in starts
    )
