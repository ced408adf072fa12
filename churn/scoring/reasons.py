"""Why a user is at the risk they are at: up to three reasons, each a kind of feature
with a direction.

What a kind contributes is the log-odds of churn less those the model would give if all
features of that kind had the values typical in training. Above 0 it raises the risk,
and the reason is called risky; below, safe.
"""

import numpy as np
import polars as pl

from churn.features.catalogue import KINDS, catalogue
from churn.model import fitting
from churn.model.fitting import Model
from churn.stats import probability

FLOOR = 0.1  # log-odds; what contributes less is no reason
# by how much another must contribute more to take the first place from the reason that
# had it
KEPT = 1.5
CHUNK = 100_000  # users at a time
COLUMNS = ("reason_1", "reason_2", "reason_3")
CODES = tuple(
    f"{direction}_{kind}" for kind in KINDS for direction in ("safe", "risky")
)
"""Every reason there is, such as ``risky_silence``: what stands in the scores table and
goes to Braze.
"""

WORDS: dict[str, tuple[tuple[str, str], ...]] = {
    "silence": (
        ("silent for {} days", "recency_days"),
        (", usually returns within {}", "gap_mean_days"),
    ),
    "activity": (("active on {} of the last 28 days", "active_days_28d"),),
    "trend": (
        (
            "active days of the last 14 less those of the 14 before: {}",
            "active_days_change_14d",
        ),
    ),
    "rhythm": (
        ("{} days between active days on average", "gap_mean_days"),
        (", {} at most", "gap_max_days"),
    ),
    "depth": (("{} events on an active day", "events_per_active_day"),),
    "variety": (
        ("{} of the commonest events used in the last 28 days", "n_names_28d"),
    ),
    "purchases": (
        ("{} purchases in the last 28 days", "n_purchases_28d"),
        (", the last {} days ago", "days_since_purchase"),
    ),
    "messages": (
        ("{} messages in the last 28 days", "n_messages_28d"),
        (", the last response {} days ago", "days_since_response"),
    ),
    "tenure": (("first seen {} days ago", "tenure_days"),),
}
"""Clauses of each kind's sentence, with the feature that fills each; a clause without a
number is left out.
"""


def contributions(fitted: Model, snapshot: pl.DataFrame) -> pl.DataFrame:
    """What each kind the model uses adds to each user's log-odds of churn: user_id,
    cutoff, log_odds, the kinds.
    """
    return pl.concat(
        [_contributions(fitted, part) for part in snapshot.iter_slices(CHUNK)]
    )


def _contributions(fitted: Model, part: pl.DataFrame) -> pl.DataFrame:
    whole = _log_odds(fitted, part)
    without = {
        kind: _log_odds(fitted, part.with_columns(typical))
        for kind, typical in _typical(fitted).items()
    }
    return part.select(
        "user_id",
        "cutoff",
        pl.Series("log_odds", whole),
        *[pl.Series(kind, whole - rest) for kind, rest in without.items()],
    )


def _log_odds(fitted: Model, part: pl.DataFrame) -> np.ndarray:
    return probability.log_odds(fitting.predict(fitted, part))


def _typical(fitted: Model) -> dict[str, list[pl.Expr]]:
    """The typical values of each kind's features, of those kinds that the model
    uses.
    """
    known = catalogue(fitted.plan)
    found: dict[str, list[pl.Expr]] = {}
    for name, value in zip(fitted.features, fitted.typical, strict=True):
        found.setdefault(known[name].kind, []).append(
            pl.lit(value, pl.Float64).alias(name)
        )
    return found


def explain(
    fitted: Model, snapshot: pl.DataFrame, previous: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Reasons of each user, in the snapshot's order: user_id, cutoff, reason_1 …
    reason_3 (codes, null where none).

    First come those that explain on which side of the trained churn rate the user is,
    then the others; the larger first. The user's first reason in ``previous`` (user_id,
    reason_1) keeps its place unless another contributes more than ``KEPT`` times as
    much.
    """
    table = contributions(fitted, snapshot)
    kinds = table.drop("user_id", "cutoff", "log_odds")
    shift = kinds.to_numpy()
    code = 2 * np.array([list(KINDS).index(kind) for kind in kinds.columns]) + (
        shift > 0
    )
    strength = np.abs(shift) * np.where(
        code == _codes_before(table, previous)[:, None], KEPT, 1.0
    )
    side = np.sign(
        table["log_odds"].to_numpy()
        - probability.log_odds(np.array([fitted.churn_rate]))[0]
    )
    is_weak, is_against = np.abs(shift) < FLOOR, np.sign(shift) != side[:, None]
    order = np.lexsort((-strength, is_against, is_weak), axis=1)
    ranked = np.take_along_axis(np.where(is_weak, -1, code), order, axis=1)
    return table.select(
        "user_id",
        "cutoff",
        *[_named(ranked, place).alias(name) for place, name in enumerate(COLUMNS)],
    )


def _codes_before(table: pl.DataFrame, previous: pl.DataFrame | None) -> np.ndarray:
    """Position in ``CODES`` of each user's first reason before; -1 where there was
    none.
    """
    if previous is None:
        return np.full(table.height, -1)
    before = table.select("user_id").join(
        previous, on="user_id", how="left", maintain_order="left"
    )["reason_1"]
    numbers = {code: number for number, code in enumerate(CODES)}
    return (
        before.replace_strict(numbers, default=-1, return_dtype=pl.Int64)
        .fill_null(-1)
        .to_numpy()
    )


def _named(ranked: np.ndarray, place: int) -> pl.Series:
    """Codes of all users' reasons in one place."""
    found = ranked[:, place] if place < ranked.shape[1] else np.full(len(ranked), -1)
    return pl.Series(CODES, dtype=pl.String).gather(pl.Series(found).replace(-1, None))


def sentences(
    fitted: Model, snapshot: pl.DataFrame, explained: pl.DataFrame
) -> pl.DataFrame:
    """The reasons in words, with the user's numbers and what is typical: ``explained``
    with sentences for codes.
    """
    said = {kind: _sentence(fitted, kind, snapshot.columns) for kind in KINDS}
    both = explained.join(
        snapshot.drop("cutoff"), on="user_id", how="left", maintain_order="left"
    )
    return both.select(
        "user_id",
        "cutoff",
        *[_of_kind(pl.col(name), said).alias(name) for name in COLUMNS],
    )


def _of_kind(code: pl.Expr, said: dict[str, pl.Expr]) -> pl.Expr:
    return pl.coalesce(
        pl.when(code.str.ends_with(f"_{kind}")).then(text)
        for kind, text in said.items()
    )


def _sentence(fitted: Model, kind: str, there: list[str]) -> pl.Expr:
    clauses = [(text, name) for text, name in WORDS[kind] if name in there]
    if not clauses:
        return pl.lit(KINDS[kind])
    (first, name), *others = [
        (pl.format(text, _number(name)), name) for text, name in clauses
    ]
    rest = [clause.fill_null("") for clause, _ in others] or [_compared(fitted, name)]
    singular = pl.concat_str(first, *rest).str.replace_all(
        r"(^| )1 (day|event|purchase|message)s\b", "${1}1 $2"
    )
    return singular.fill_null(KINDS[kind])


def _number(name: str) -> pl.Expr:
    places = 0 if name.endswith("_days") else 1
    return (
        pl.col(name)
        .cast(pl.Float64)
        .round(places)
        .cast(pl.String)
        .str.strip_suffix(".0")
    )


def _compared(fitted: Model, name: str) -> pl.Expr:
    typical = dict(zip(fitted.features, fitted.typical, strict=True)).get(
        name, float("nan")
    )
    return pl.lit("" if np.isnan(typical) else f" (typical: {typical:.3g})")
