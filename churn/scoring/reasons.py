"""Reasons of a score: up to three per user, each a kind of feature and a direction.

The contribution of a kind is a difference in log-odds of churn: the user's own, less
those if all features of that kind had their typical training values. A reason whose
contribution is above 0 raises the risk and is called risky; one below 0, safe.
"""

import numpy as np
import polars as pl

from churn.features.catalogue import KINDS, catalogue
from churn.model import fitting
from churn.model.fitting import Model
from churn.stats import probability

# Smallest contribution, in log-odds, that counts as a reason. It moves a probability of
# a half by two and a half points, which nobody would act upon.
FLOOR = 0.1
# Factor by which another contribution must exceed that of the first reason to
# displace it. A reason may be written to Braze, where every change is a write: nearly
# equal contributions must not take turns.
KEPT = 1.5
COLUMNS = ("reason_1", "reason_2", "reason_3")
CODES = tuple(
    f"{direction}_{kind}" for kind in KINDS for direction in ("safe", "risky")
)
"""The code of every reason, such as ``risky_silence``, in scores and in Braze."""

# The position in CODES that stands for no reason.
NONE = -1


def contributions(fitted: Model, snapshot: pl.DataFrame) -> pl.DataFrame:
    """Contribution of each kind of feature to each user's log-odds of churn.

    Columns: user_id, cutoff, probability (see ``fitting.predict``), log_odds, and one
    per kind that the model uses.
    """
    known = catalogue(fitted.plan)
    by_kind: dict[str, list[str]] = {}
    for name in fitted.features:
        by_kind.setdefault(known[name].kind, []).append(name)
    groups = list(by_kind.values())
    probabilities = fitting.without(fitted, snapshot, groups)
    log_odds = probability.log_odds(probabilities)
    shifts = dict(zip(by_kind, log_odds[0] - log_odds[1:], strict=True))
    columns = {
        "probability": probabilities[0],
        "log_odds": log_odds[0],
        **shifts,
    }
    keys = snapshot.select("user_id", "cutoff")
    return keys.with_columns(pl.Series(*column) for column in columns.items())


def explain(
    fitted: Model,
    snapshot: pl.DataFrame,
    previous: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Reasons of each user, in the snapshot's order.

    Columns: user_id, cutoff, probability (see ``fitting.predict``), reason_1, reason_2,
    reason_3; codes of ``CODES``, null where there is none. If a user's risk is above
    the churn rate in training, risky reasons come first, otherwise safe ones; among
    these, and among the others, the larger contribution comes first. The user's first
    reason in ``previous`` (user_id, reason_1) keeps its place unless another
    contributes more than ``KEPT`` times as much.
    """
    table = contributions(fitted, snapshot)
    kinds = table.drop("user_id", "cutoff", "probability", "log_odds")
    shift = kinds.to_numpy()
    position = np.array([list(KINDS).index(kind) for kind in kinds.columns])
    code = 2 * position + (shift > 0)
    was_first = code == _codes_before(table, previous)[:, None]
    strength = np.abs(shift) * np.where(was_first, KEPT, 1.0)
    base = probability.log_odds(np.array([fitted.churn_rate]))[0]
    side = np.sign(table["log_odds"].to_numpy() - base)
    is_weak = np.abs(shift) < FLOOR
    is_against = np.sign(shift) != side[:, None]
    # np.lexsort sorts by its last key first.
    order = np.lexsort((-strength, is_against, is_weak), axis=1)
    ranked = np.take_along_axis(np.where(is_weak, NONE, code), order, axis=1)
    names = [_named(ranked, place).alias(name) for place, name in enumerate(COLUMNS)]
    return table.select("user_id", "cutoff", "probability", *names)


def _codes_before(table: pl.DataFrame, previous: pl.DataFrame | None) -> np.ndarray:
    """Position in ``CODES`` of each user's previous first reason, shape (n,)."""
    if previous is None:
        return np.full(table.height, NONE)
    users = table.select("user_id")
    joined = users.join(
        previous,
        on="user_id",
        how="left",
        maintain_order="left",
    )
    positions = {code: position for position, code in enumerate(CODES)}
    before = joined["reason_1"].replace_strict(
        positions, default=NONE, return_dtype=pl.Int64
    )
    return before.fill_null(NONE).to_numpy()


def _named(ranked: np.ndarray, place: int) -> pl.Series:
    """Codes of all users' reasons in one place, null where there is none."""
    if place < ranked.shape[1]:
        positions = pl.Series(ranked[:, place])
    else:
        positions = pl.Series(np.full(len(ranked), NONE))
    return pl.Series(CODES, dtype=pl.String).gather(positions.replace(NONE, None))
