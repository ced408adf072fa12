"""Deciles: which users are in which, how large they are, and who stays in one."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.hashing import stable_hash
from churn.scoring import deciles
from churn.settings import Settings, parse


def study(band: float = 0.0, min_tenure_days: int = 0) -> Settings:
    """Settings with this policy."""
    policy = {"band": band, "min_tenure_days": min_tenure_days}
    return parse(
        {"extracts": [{"source": "table", "path": "x"}], "policy": policy}, Path()
    )


def people(*probability: float) -> pl.DataFrame:
    """Users u0, u1, … with these probabilities."""
    names = [f"u{i}" for i in range(len(probability))]
    schema = {"user_id": pl.String, "probability": pl.Float64}
    return pl.DataFrame({"user_id": names, "probability": probability}, schema)


def were(*decile: int | None) -> pl.DataFrame:
    """The previous deciles of u0, u1 and so on."""
    names = [f"u{i}" for i in range(len(decile))]
    schema = {"user_id": pl.String, "decile": pl.Int64}
    return pl.DataFrame({"user_id": names, "decile": decile}, schema=schema)


def test_ten_is_the_riskiest_and_one_the_most_likely_to_return() -> None:
    """Of ten users each is a group, from the smallest probability up."""
    users = people(0.9, 0.05, 0.8, 0.1, 0.7, 0.2, 0.6, 0.3, 0.5, 0.4)
    expected = [10, 1, 9, 2, 8, 3, 7, 4, 6, 5]
    assert deciles.assign(users, study()).to_list() == expected


def test_ties_are_broken_by_the_stable_hash() -> None:
    """Of twenty users with one probability those of the smallest hashes come first,
    whatever order the rows are in.
    """
    users = people(*[0.5] * 20)
    assigned = users.with_columns(deciles.assign(users, study()))
    by_hash = assigned.sort(stable_hash("user_id"))
    assert by_hash["decile"].to_list() == [10 - i // 2 for i in range(20)]
    turned = users.reverse()
    again = turned.with_columns(deciles.assign(turned, study()))
    assert again.reverse().equals(assigned)


def test_a_user_who_is_too_new_is_in_no_decile() -> None:
    """Users of the unknown segment get null, and the others share the ten groups."""
    tenure = pl.Series("tenure_days", [3, 30, None, 30])
    users = people(0.9, 0.8, 0.7, 0.1).with_columns(tenure)
    found = deciles.assign(users, study(min_tenure_days=7)).to_list()
    assert found == [None, 8, None, 3]


def test_nobody_scored_is_no_fault() -> None:
    """An empty table has an empty column."""
    assert deciles.assign(people(), study()).to_list() == []


@pytest.mark.parametrize(("band", "expected"), [(0.0, 9), (0.8, 10), (0.2, 9)])
def test_a_user_within_the_band_stays(band: float, expected: int) -> None:
    """Of a hundred users one falls from rank 8 to rank 12, three behind the first who
    was in the next group: farther than a band of two ranks, but not than one of eight.
    """
    before = were(*[10 - i // 10 for i in range(100)])
    probability = [1 - i / 100 for i in range(100)]
    probability[8] = 0.875
    found = deciles.assign(people(*probability), study(band), before)
    assert found[8] == expected
    assert found.value_counts()["count"].to_list() == [10] * 10


def test_a_user_who_was_in_no_decile_is_taken_as_it_is() -> None:
    """Null before, or not scored before: the group follows from the rank alone."""
    users = people(*[1 - i / 20 for i in range(20)])
    plain = deciles.assign(users, study())
    assert deciles.assign(users, study(1.0), were(*[None] * 9)).equals(plain)


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.9]), max_size=60),
    st.lists(st.none() | st.integers(1, 10), max_size=60),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_groups_are_of_equal_size_whatever_was_before(
    probability: list[float],
    before: list[int | None],
    band: float,
) -> None:
    """The sizes differ by at most one, and every user is in a group from 1 to 10."""
    found = deciles.assign(people(*probability), study(band), were(*before))
    sizes = [int((found == decile).sum()) for decile in range(1, 11)]
    assert sum(sizes) == len(probability)
    assert max(sizes) - min(sizes) <= 1
