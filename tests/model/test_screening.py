"""Which features a model learns from at all."""

import numpy as np
import polars as pl
import pytest

from churn.model import screening

NAMES = ("recency_days", "first_active_days", "active_days_28d", "a", "b", "c")


def rows(n: int, telling: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Features of noise, of which one tells who leaves."""
    x = np.random.default_rng(seed).random((n, len(NAMES)))
    return x, (x[:, NAMES.index(telling)] > 0.5).astype(int)


@pytest.mark.parametrize("telling", ["a", "b", "c"])
def test_what_tells_who_leaves_is_kept(
    telling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the features that nothing needs only the one that decides stays, in order."""
    monkeypatch.setattr(screening, "MAX_FEATURES", 1)
    kept = screening.strongest(NAMES, *rows(2000, telling), 0)
    assert [NAMES[position] for position in kept] == [*NAMES[:3], telling]


def test_of_many_rows_an_even_sample_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come by cutoff, so the first ones alone would be those of a season."""
    monkeypatch.setattr(screening, "MAX_ROWS", 2000)
    snapshot = pl.DataFrame({"season": [1] * 2000 + [2] * 7999})
    seasons = screening.deciding(snapshot)["season"].to_list()
    assert seasons == [1] * 400 + [2] * 1600
    few = snapshot.head(2000)
    assert screening.deciding(few).equals(few)


def test_few_features_are_left_alone() -> None:
    """Where they are few enough, none is dropped."""
    kept = screening.strongest(NAMES, *rows(50, "a"), 0)
    assert kept.tolist() == list(range(len(NAMES)))


def test_without_a_parametric_forecast_recency_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rule that every model is compared with needs it."""
    monkeypatch.setattr(screening, "MAX_FEATURES", 1)
    names = ("recency_days", *NAMES[3:])
    x, y = rows(2000, "c")
    kept = screening.strongest(names, x[:, [0, 3, 4, 5]], y, 0)
    assert [names[position] for position in kept] == ["recency_days", "c"]
