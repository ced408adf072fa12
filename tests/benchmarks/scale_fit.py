"""A cost model of nights: how seconds, memory and storage follow from an app's size.

Every step costs a constant and so much per unit of each quantity that it grows with. No
coefficient is negative. They are fitted so that the relative errors are small, because
a point of an hour would otherwise drown those of a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import nnls

from churn.events.sizing import buckets_for
from churn.store.tables import PASS_ROWS

CONSTANT = "constant"

FEATURES: Mapping[tuple[str, str], Sequence[str]] = {
    ("ingest", "seconds"): ("n_new", "n_events"),
    ("ingest", "megabytes"): ("n_new_group",),
    ("training rows", "seconds"): ("n_events", "n_active"),
    ("training rows", "megabytes"): ("n_event_group",),
    ("score", "seconds"): ("n_window", "n_active"),
    ("score", "megabytes"): ("n_window_group", "n_active_group", "n_active"),
    ("export plan", "seconds"): ("n_active",),
    ("export plan", "megabytes"): ("n_active",),
    ("storage", "megabytes"): ("n_events", "n_users"),
    ("ledger", "megabytes"): ("n_active",),
}
"""The quantities that each figure of each step grows with.

n_new: events that an ingest reads. n_events: events of the whole history. n_window:
those of the observation window before the newest cutoff. n_users: users ever seen.
n_active: users who are scored. Names with ``group``: the part of these that is held in
memory at a time, see ``grouped``.
"""

GROUPED = {
    "n_new_group": ("n_new", "n_new"),
    "n_event_group": ("n_events", "n_events"),
    "n_window_group": ("n_window", "n_window"),
    "n_active_group": ("n_active", "n_window"),
}
"""For each of these parts the whole, and the rows that are read by groups."""

Sizes = Mapping[str, float]


def grouped(n_rows: float, n_events: float) -> float:
    """The rows of a group of buckets: as many as fit, and at least a bucket's.

    The store has as many buckets as fit a first ingest of ``n_events``.
    """
    return max(min(n_rows, PASS_ROWS), n_rows / buckets_for(int(n_events)))


@dataclass(frozen=True)
class Line:
    """The fit of one figure of one step: a coefficient per quantity.

    ``errors``: relative errors at the points that it was fitted to.
    """

    coefficients: Mapping[str, float]
    errors: Sequence[float]

    def at(self, sizes: Sizes) -> float:
        """The figure of an app of these sizes."""
        return sum(
            coefficient * _quantity(name, sizes)
            for name, coefficient in self.coefficients.items()
        )


def _quantity(name: str, sizes: Sizes) -> float:
    if name == CONSTANT:
        return 1.0
    if name in GROUPED:
        whole, read = GROUPED[name]
        n_rows = sizes[read]
        of_all = max(sizes["n_events"], sizes["n_new"])
        return sizes[whole] * grouped(n_rows, of_all) / max(n_rows, 1)
    return sizes[name]


Model = Mapping[tuple[str, str], Line]


def fit(points: pl.DataFrame) -> Model:
    """The lines of all figures for which there are points.

    ``points``: a row per measured step with the columns step, seconds, megabytes and
    those of the quantities.
    """
    lines = {}
    for (step, figure), names in FEATURES.items():
        measured = points.filter(pl.col("step") == step).drop_nulls(figure)
        if not measured.is_empty():
            lines[step, figure] = _line(measured, figure, names)
    return lines


def _line(measured: pl.DataFrame, figure: str, names: Sequence[str]) -> Line:
    """Least squares of the relative errors, without negative coefficients."""
    terms = [CONSTANT, *names]
    rows = [[_quantity(name, sizes) for name in terms] for sizes in measured.to_dicts()]
    matrix = np.array(rows)
    values = measured[figure].to_numpy()
    relative = matrix / values[:, None]
    scale = np.maximum(relative.max(axis=0), np.finfo(float).tiny)
    found, _ = nnls(relative / scale, np.ones(values.size))
    coefficients = found / scale
    errors = matrix @ coefficients / values - 1
    return Line(
        dict(zip(terms, coefficients.tolist(), strict=True)),
        errors.tolist(),
    )


def compared(model: Model, points: pl.DataFrame) -> pl.DataFrame:
    """Every measured figure beside the model's: app, step, figure, both and error."""
    rows = []
    for point in points.iter_rows(named=True):
        for figure in ("seconds", "megabytes"):
            line = model.get((point["step"], figure))
            if line is None or point[figure] is None:
                continue
            forecast = line.at(point)
            rows.append(
                {
                    "app": point["app"],
                    "step": point["step"],
                    "figure": figure,
                    "is_fitted": point["is_fitted"],
                    "measured": point[figure],
                    "forecast": forecast,
                    "error": forecast / point[figure] - 1,
                }
            )
    return pl.DataFrame(rows)
