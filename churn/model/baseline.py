"""What a model has seen, kept beside it so that later nights can be compared with it.

Three small tables without users: the distribution of each feature among the training
rows, the forecasts at the validation cutoffs, and the churn rate at each training cutoff.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from churn.model import folds
from churn.store import Store

N_BINS = 10
"""Bins of a feature, of about equal size among the training rows, beside that of null."""

MAX_ROWS = 50_000
"""Most training rows whose distribution is kept; more would add no precision."""

SMALLEST = 1e-4
"""Least share of a bin, so that an empty one has a logarithm."""

SCORES = "probability"
"""Name under which the forecasts themselves are compared."""


@dataclass(frozen=True)
class Baseline:
    """What a model saw.

    - ``bins``: feature, edge (upper end of the bin; null for the last one), share, and
      n_rows. The bin of null has the edge NaN.
    - ``validation``: cutoff, churned, probability, a row per user of each fold.
    - ``churn_rates``: cutoff, churn_rate.
    """

    bins: pl.DataFrame
    validation: pl.DataFrame
    churn_rates: pl.DataFrame


def of_training(
    rows: pl.DataFrame,
    features: Sequence[str],
    validation: pl.DataFrame,
) -> Baseline:
    """The baseline of a model that learned from labelled ``rows``.

    The distributions are those of a sample of the users, where there are many rows.
    """
    rates = rows.group_by("cutoff").agg(churn_rate=pl.col("churned").mean())
    sampled = folds.sample(rows, MAX_ROWS)
    parts = [_bins(sampled[name].alias(name)) for name in features]
    if validation.height:
        parts.append(_bins(validation[SCORES]))
    return Baseline(pl.concat(parts), validation, rates.sort("cutoff"))


def _bins(values: pl.Series) -> pl.DataFrame:
    """The bins of one feature, and the share of the rows in each."""
    numbers = values.cast(pl.Float64).fill_nan(None)
    edges = _edges(numbers.drop_nulls().sort())
    counts = pl.DataFrame({values.name: numbers}).select(_counts(values.name, edges))
    n = max(len(values), 1)
    shares = [count / n for count in counts.row(0)]
    table = pl.DataFrame({"edge": [float("nan"), *edges, None], "share": shares})
    return table.select(
        pl.lit(values.name).alias("feature"),
        pl.col("edge").cast(pl.Float64),
        "share",
        pl.lit(len(values)).alias("n_rows"),
    )


def _edges(ordered: pl.Series) -> list[float]:
    """The values at the tenths of sorted numbers, each once."""
    if ordered.is_empty():
        return []
    # One sort for all: a quantile by itself sorts each time.
    last = len(ordered) - 1
    places = [round(last * k / N_BINS) for k in range(1, N_BINS)]
    return ordered.gather(places).unique().sort().to_list()


def _counts(
    name: str,
    edges: Sequence[float],
) -> list[pl.Expr]:
    """Rows in the bin of null, in each bin up to an edge, and in the last one."""
    value = pl.col(name)
    below = [(value <= edge).sum() for edge in edges]
    steps = [(b - a) for a, b in zip([pl.lit(0), *below], below, strict=False)]
    last = value.is_not_null().sum() - (below[-1] if below else 0)
    every = [value.is_null().sum(), *steps, last]
    return [count.alias(f"{name}|{k}") for k, count in enumerate(every)]


def counted(
    bins: pl.DataFrame,
    rows: pl.DataFrame,
) -> pl.DataFrame:
    """The bins of the features that ``rows`` has, with the number of rows in each, n."""
    parts = bins.partition_by("feature", maintain_order=True)
    known = [part for part in parts if part["feature"][0] in rows.columns]
    if not known:
        return bins.clear().with_columns(n=pl.lit(0, pl.Int64))
    names = [part["feature"][0] for part in known]
    edges = [part["edge"].to_list()[1:-1] for part in known]
    exprs = [
        e for name, cut in zip(names, edges, strict=True) for e in _counts(name, cut)
    ]
    floats = rows.lazy().select(pl.col(names).cast(pl.Float64).fill_nan(None))
    counts = floats.select(exprs).collect().row(0)
    return pl.concat(known).with_columns(n=pl.Series(counts, dtype=pl.Int64))


def summed(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The bins ``counted`` of several tables as if these were one."""
    n = pl.sum_horizontal(part["n"] for part in parts)
    return parts[0].with_columns(n.alias("n"))


def drift(counted: pl.DataFrame) -> pl.DataFrame:
    """How far each feature's distribution is from that at training: feature, psi.

    ``counted``: the bins with the rows in each. ``psi``: population stability index,
    the sum over bins of (share - training share) * log(share / training share), less
    what chance alone adds with so few rows; never below 0. About 0.1 is usual, 0.25 a
    lot.
    """
    n_rows = pl.col("n").sum().clip(1)
    now = (pl.col("n") / n_rows).clip(SMALLEST)
    then = pl.col("share").clip(SMALLEST)
    by_chance = (pl.len() - 1) * (1 / n_rows + 1 / pl.col("n_rows").first().clip(1))
    index = ((now - then) * (now / then).log()).sum() - by_chance
    return counted.group_by("feature", maintain_order=True).agg(psi=index.clip(0.0))


def write(
    store: Store,
    model_id: str,
    baseline: Baseline,
) -> None:
    """Keep a baseline beside its model."""
    for name, table in vars(baseline).items():
        buffer = io.BytesIO()
        table.write_parquet(buffer)
        store.place.write(_file(model_id, name), buffer.getvalue())


def read(
    store: Store,
    model_id: str,
) -> Baseline | None:
    """The baseline of a model; null for one that an earlier version stored."""
    tables = {}
    for name in Baseline.__dataclass_fields__:
        content = store.place.read(_file(model_id, name))
        if content is None:
            return None
        tables[name] = pl.read_parquet(io.BytesIO(content))
    return Baseline(**tables)


def _file(
    model_id: str,
    name: str,
) -> str:
    return f"models/{model_id}/{name}.parquet"
