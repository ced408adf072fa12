"""Deciles: the rated users in ten groups of equal size by risk, numbered 1 to 10.

Group 1 is the most likely to return and group 10 the least, as in Adikteev's scorecard.
All else that names a decile, in Braze or in a file, takes its number from here.

Ranks are noisy and there are nine boundaries, so a decile would change far more often
than a segment. Users near a boundary therefore keep their decile: at each boundary
lies a band of ranks, ``policy.band`` of a group wide, half of it on either side.
"""

import numpy as np
import polars as pl

from churn.scoring import ranks, segments
from churn.settings import Settings
from churn.store.score_schemas import N_DECILES


def assign(
    scored: pl.DataFrame,
    settings: Settings,
    previous: pl.DataFrame | None = None,
) -> pl.Series:
    """Decile of each row of ``scored``, in its order; null for users not rated.

    ``scored``: as in ``segments.assign``. ``previous``: user_id, decile; null for none.
    The groups differ by at most one user in size, and ties are broken by the stable
    hash. Of fewer than ten users each is alone in a group.
    """
    users = ranks.in_order(scored)
    rows = ranks.keys(users, settings.policy).with_columns(
        decile_place=places_before(users, previous)
    )
    decile = cut(ranks.ranked(rows), settings.policy.band, rows.height)
    return users.select("position", decile).sort("position")["decile"]


def places_before(
    users: pl.DataFrame,
    previous: pl.DataFrame | None,
) -> pl.Series:
    """0 for users who were in the riskiest group, 9 for the least, -1 for others."""
    return ranks.places_before(users, previous, N_DECILES - pl.col("decile"))


def cut(
    rated: pl.DataFrame,
    band: float,
    n_users: int,
) -> pl.Series:
    """Decile of each of ``n_users`` rows, of which ``rated`` are the ``ranked``.

    ``rated`` has the column decile_place, see ``places_before``.
    """
    decile = np.zeros(n_users, dtype=np.int64)
    filled = _fill(rated["decile_place"].to_numpy(), band)
    decile[rated["row"].to_numpy()] = N_DECILES - filled
    return pl.Series("decile", decile).replace(0, None)


def _fill(place: np.ndarray, band: float) -> np.ndarray:
    """Position of each user's new group; ``place`` is the previous one.

    Users are in order of rank.
    """
    n_users = len(place)
    width = round(band * n_users / N_DECILES)
    filled = np.full(n_users, N_DECILES - 1)
    free = np.arange(n_users)
    for i in range(N_DECILES - 1):
        n_above = round((i + 1) * n_users / N_DECILES)
        size = n_above - (n_users - len(free))
        side = segments.sides(place[free], i)
        order = segments.first_ranks(free, side, size, width)
        filled[free[order]] = i
        free = np.delete(free, order)
    return filled
