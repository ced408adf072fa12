"""Drift: how far the users of today are from those a model learned from."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from churn.model import baseline

NOTHING = pl.DataFrame(
    schema={"cutoff": pl.Date, "churned": pl.Boolean, "probability": pl.Float64}
)


def rows(shift: float, n: int = 5000, seed: int = 0) -> pl.DataFrame:
    """Three features: a normal one, a count with few values, one that is half null."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=n)
    half[: n // 2] = np.nan
    return pl.DataFrame(
        {
            "cutoff": pl.repeat(date(2026, 1, 1), n, eager=True),
            "churned": rng.random(n) < 0.3,
            "normal": rng.normal(size=n) + shift,
            "count": rng.poisson(1.0 + shift, n),
            "gaps": half,
        }
    )


FEATURES = ("normal", "count", "gaps")


def index_of(later: pl.DataFrame) -> dict[str, float]:
    """The index of each feature of ``later`` against ``rows(0)``."""
    seen = baseline.of_training(rows(0.0), FEATURES, NOTHING)
    return dict(baseline.drift(baseline.counted(seen.bins, later)).iter_rows())


def test_other_users_of_the_same_kind_have_not_drifted() -> None:
    """What chance adds is taken off, also where a feature has few values or gaps."""
    for n in (200, 5000):
        found = index_of(rows(0.0, n, seed=1))
        assert max(found.values()) < 0.06, (n, found)


def test_the_index_is_the_textbook_sum() -> None:
    """Of ten bins with a tenth each, all users in one: (1 - 0.1) ln 10, and the empty
    ones, less what chance adds.
    """
    values = pl.DataFrame({"x": [float(k) for k in range(1000)]})
    seen = baseline.of_training(
        values.with_columns(cutoff=date(2026, 1, 1), churned=True), ("x",), NOTHING
    )
    later = pl.DataFrame({"x": [5000.0] * 100_000})
    found = baseline.drift(baseline.counted(seen.bins, later))["psi"].item()
    empty = 9 * (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    expected = (1 - 0.1) * np.log(10) + empty
    assert found == pytest.approx(expected, rel=0.02)


def test_a_moved_feature_and_new_gaps_are_seen() -> None:
    """A shift by a standard deviation is a lot; so is a feature that lost its values."""
    moved = index_of(rows(1.0))
    assert moved["normal"] > 0.5
    assert moved["count"] > 0.25
    lost = rows(0.0).with_columns(gaps=pl.lit(None, pl.Float64))
    assert index_of(lost)["gaps"] > 1


def test_a_feature_that_is_gone_is_left_out() -> None:
    """The others are compared all the same."""
    assert set(index_of(rows(0.0).drop("normal"))) == {"count", "gaps"}
