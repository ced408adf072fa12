"""Segments: sizes, capacity, unknown users, and hysteresis in probability and rank."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.hashing import stable_hash
from churn.scoring import deciles, ranks, segments
from churn.settings import Settings, parse

BY_PROBABILITY = [
    {"name": "high", "from_probability": 0.6},
    {"name": "medium", "from_probability": 0.3},
    {"name": "low", "from_probability": 0.0},
]
BY_RANK = [
    {"name": "high", "share": 0.2},
    {"name": "medium", "share": 0.3},
    {"name": "low"},
]


def study(cut: list[dict[str, Any]], **policy: Any) -> Settings:
    """Settings with these segments, without hysteresis unless ``policy`` gives it."""
    extracts = [{"source": "table", "path": "x"}]
    plain = {"band": 0.0, "margin": 0.0}
    return parse(
        {"extracts": extracts, "segments": cut, "policy": plain | policy}, Path()
    )


def people(*probability: float, prefix: str = "u") -> pl.DataFrame:
    """Users u0, u1, … with these probabilities."""
    return pl.DataFrame(
        {
            "user_id": [f"{prefix}{i}" for i in range(len(probability))],
            "probability": probability,
        }
    )


def were(*segment: str) -> pl.DataFrame:
    """The previous segments of u0, u1 and so on."""
    return pl.DataFrame(
        {"user_id": [f"u{i}" for i in range(len(segment))], "segment": segment}
    )


def test_a_threshold_belongs_to_the_segment_it_starts() -> None:
    """0.6 is high, just below it is medium, and 0 is in the last segment; scores are
    whole hundredths.
    """
    users = people(0.6, 0.5999, 0.3, 0.0, 1.0)
    assert segments.assign(users, study(BY_PROBABILITY)).to_list() == [
        "high",
        "medium",
        "medium",
        "low",
        "high",
    ]
    assert users.select(
        segments.score(pl.col("probability"))
    ).to_series().to_list() == [60, 60, 30, 0, 100]


def test_a_share_is_of_the_users_by_rank() -> None:
    """Of five users a fifth is the riskiest one, three tenths more are rounded to the
    next two, and the rest is in the last segment.
    """
    users = people(0.1, 0.5, 0.3, 0.2, 0.4)
    assert segments.assign(users, study(BY_RANK)).to_list() == [
        "low",
        "high",
        "low",
        "low",
        "medium",
    ]


def test_what_does_not_fit_goes_to_the_next_segment() -> None:
    """Three reach high but two fit, and one of the three then in medium; the
    riskiest stay.
    """
    cut = [
        BY_PROBABILITY[0] | {"capacity": 2},
        BY_PROBABILITY[1] | {"capacity": 1},
        BY_PROBABILITY[2],
    ]
    users = people(0.9, 0.8, 0.7, 0.5, 0.1)
    assert segments.assign(users, study(cut)).to_list() == [
        "high",
        "high",
        "medium",
        "low",
        "low",
    ]


def test_users_too_new_are_unknown_and_take_no_place() -> None:
    """A tenure below min_tenure_days, or a null one, is unknown at any risk; shares are
    those of the other users.
    """
    users = people(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3).with_columns(
        tenure_days=pl.Series([6, None, 7, 8, 9, 10, 11])
    )
    got = segments.assign(
        users, study(BY_RANK, min_tenure_days=7, unknown_segment="new")
    ).to_list()
    assert got == ["new", "new", "high", "medium", "low", "low", "low"]
    assert segments.assign(users, study(BY_RANK)).to_list()[:2] == ["high", "medium"]


def test_equal_probabilities_are_told_apart_by_the_stable_hash() -> None:
    """Users who differ only past the ninth digit rank by their hash, in any order of
    rows; that of b is lower.
    """
    cut = study([{"name": "high", "share": 0.5}, {"name": "low"}])
    users = pl.DataFrame({"user_id": ["a", "b"], "probability": [0.5 + 1e-12, 0.5]})
    assert segments.assign(users, cut).to_list() == ["low", "high"]
    assert segments.assign(users.reverse(), cut).to_list() == ["high", "low"]
    one_place = [{"name": "high", "from_probability": 0.5, "capacity": 1}]
    full = study([*one_place, {"name": "low", "from_probability": 0.0}])
    assert segments.assign(users, full).to_list() == ["low", "high"]


def test_inside_the_band_the_previous_segment_counts() -> None:
    """Of ten users a half is high; with a band of two ranks u5, just below the
    boundary, stays high before u4, just above it.

    Beyond the band, at rank 8, or without a band it doesn't. A band of 0.4 of five
    users is two ranks wide.
    """
    halves = [{"name": "high", "share": 0.5}, {"name": "low"}]
    users = people(*(1 - i / 10 for i in range(10)))
    before = were(*["high"] * 4, "low", "high", *["low"] * 4)
    kept = segments.assign(users, study(halves, band=0.4), before).to_list()
    assert kept == before["segment"].to_list()
    far = were(*["high"] * 4, "low", "low", "low", "high", "low", "low")
    plain = ["high"] * 5 + ["low"] * 5
    assert segments.assign(users, study(halves, band=0.4), far).to_list() == plain
    assert segments.assign(users, study(halves), before).to_list() == plain


def test_a_threshold_holds_within_the_margin() -> None:
    """With a margin of 0.05 high keeps u0 at 0.55 and takes u3, who was medium, at
    0.65; u1 leaves, u2 does not get in yet, and u4, who is new, does at 0.6.
    """
    users = people(0.55, 0.549, 0.649, 0.65, 0.6, 0.599)
    before = were("high", "high", "medium", "medium")
    got = segments.assign(users, study(BY_PROBABILITY, margin=0.05), before)
    assert got.to_list() == ["high", "medium", "medium", "high", "high", "medium"]
    plain = segments.assign(users, study(BY_PROBABILITY), before)
    assert plain.to_list() == ["medium", "medium", "high", "high", "high", "medium"]


def test_a_full_segment_keeps_those_who_were_in_it() -> None:
    """High takes one user: u1 was in it and stays before u0, who is riskier by less
    than twice the margin.
    """
    cut = [BY_PROBABILITY[0] | {"capacity": 1}, *BY_PROBABILITY[1:]]
    users, before = people(0.74, 0.65), were("medium", "high")
    kept = segments.assign(users, study(cut, margin=0.05), before)
    assert kept.to_list() == ["medium", "high"]
    assert segments.assign(users, study(cut), before).to_list() == ["high", "medium"]


@pytest.mark.parametrize("before", ["unknown", "gone", None])
def test_without_a_usable_previous_segment_one_stands_between(
    before: str | None,
) -> None:
    """For a user who is new, was unknown, or was in a removed segment: u3 passes u2,
    who was low, and u5, who was high, passes u4.
    """
    halves = study([{"name": "high", "share": 0.5}, {"name": "low"}], band=1.0)
    previous = were("low", "low", "low", "?", "?", "high", "low", "low")
    previous = previous.with_columns(
        pl.col("segment").replace("?", before)
    ).drop_nulls()
    got = segments.assign(
        people(*(1 - i / 10 for i in range(8))), halves, previous
    ).to_list()
    assert got == ["high", "high", "low", "high", "low", "high", "low", "low"]


RANK_CUTS = st.sampled_from(
    [BY_RANK, [BY_RANK[0], BY_RANK[1] | {"capacity": 2}, BY_RANK[2]]]
)
# Few distinct probabilities, so that ties are common; some users are new, some were in
# a segment that is no more.
CUTS = st.sampled_from(
    [
        BY_PROBABILITY,
        BY_RANK,
        [BY_PROBABILITY[0] | {"capacity": 3}, *BY_PROBABILITY[1:]],
        [BY_RANK[0], BY_RANK[1] | {"capacity": 2}, BY_RANK[2]],
    ]
)
BEFORE = st.sampled_from(["high", "medium", "low", "gone", None])
USERS = st.lists(st.tuples(st.integers(0, 20), BEFORE, st.booleans()), max_size=40)
BAND = st.floats(0, 1)
MARGIN = st.floats(0, 0.5)


def drawn(
    users: list[tuple[int, str | None, bool]],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scored users, a few of them with too short a tenure, and previous segments."""
    scored = pl.DataFrame(
        {
            "user_id": [f"u{i}" for i in range(len(users))],
            "probability": [p / 20 for p, _, _ in users],
            "tenure_days": [30 if is_old else 1 for _, _, is_old in users],
        },
        schema={
            "user_id": pl.String,
            "probability": pl.Float64,
            "tenure_days": pl.Int32,
        },
    )
    segment = pl.Series("segment", [before for _, before, _ in users], dtype=pl.String)
    return scored, scored.select("user_id", segment).drop_nulls()


def ranked(scored: pl.DataFrame, segment: pl.Series) -> pl.DataFrame:
    """Users with a segment other than unknown: rank from 0, and place of the
    segment.
    """
    place = segment.replace_strict(
        {"high": 0, "medium": 1, "low": 2}, default=None, return_dtype=pl.Int64
    )
    order = ["probability", stable_hash("user_id")]
    rated = (
        scored.with_columns(place=place)
        .drop_nulls("place")
        .sort(order, descending=[True, False])
    )
    return rated.with_row_index("rank").with_columns(pl.col("rank").cast(pl.Int64))


@given(USERS, RANK_CUTS, BAND)
def test_sizes_are_those_of_the_plain_cut(users: list, cut: list, band: float) -> None:
    """Previous segments and bands don't change how many users a share holds."""
    scored, before = drawn(users)
    kept = segments.assign(scored, study(cut, band=band, min_tenure_days=7), before)
    plain = segments.assign(scored, study(cut, min_tenure_days=7))
    assert (
        kept.value_counts().sort("segment").equals(plain.value_counts().sort("segment"))
    )


@given(USERS, MARGIN, st.integers(1, 40))
def test_no_probability_is_farther_beyond_a_threshold_than_the_margin(
    users: list, margin: float, capacity: int
) -> None:
    """Nobody is in a segment that begins more than the margin above their probability;
    where a segment is not full, nobody is below it who exceeds it by the margin.
    """
    scored, before = drawn(users)
    cut = [BY_PROBABILITY[0] | {"capacity": capacity}, *BY_PROBABILITY[1:]]
    cut_study = study(cut, margin=margin, min_tenure_days=7)
    rated = ranked(scored, segments.assign(scored, cut_study, before))
    n_high = rated.filter(place=0).height
    for i, threshold in enumerate((0.6, 0.3)):
        inside = rated.filter(pl.col("place") <= i)["probability"]
        outside = rated.filter(pl.col("place") > i)["probability"]
        assert (inside >= threshold - margin - 1e-8).all()
        if i or n_high < capacity:
            assert (outside < threshold + margin + 1e-8).all()


@given(USERS, CUTS)
def test_without_hysteresis_or_a_past_it_is_the_plain_cut(
    users: list, cut: list
) -> None:
    """Band and margin of 0 equal any others without previous segments: ranks alone
    decide.
    """
    scored, before = drawn(users)
    plain = segments.assign(scored, study(cut, min_tenure_days=7), before)
    wide = study(cut, band=0.5, margin=0.2, min_tenure_days=7)
    assert plain.equals(segments.assign(scored, wide))
    assert ranked(scored, plain)["place"].is_sorted()


@given(USERS, CUTS, BAND, st.randoms())
def test_the_order_of_rows_does_not_matter(
    users: list, cut: list, band: float, random: Any
) -> None:
    """With the rows of both tables shuffled every user gets the same segment."""
    scored, before = drawn(users)
    cut_study = study(cut, band=band, margin=band / 4, min_tenure_days=7)
    shuffled = scored[random.sample(range(scored.height), scored.height)]
    mixed = before[random.sample(range(before.height), before.height)]
    one = scored.with_columns(segments.assign(scored, cut_study, before))
    other = shuffled.with_columns(segments.assign(shuffled, cut_study, mixed))
    assert one.sort("user_id").equals(other.sort("user_id"))


@given(USERS, CUTS, BAND, st.randoms())
def test_groups_of_users_give_the_segments_and_deciles_of_all_together(
    users: list, cut: list, band: float, random: Any
) -> None:
    """However users are divided, each group's numbers suffice to rank all of them."""
    scored, before = drawn(users)
    cut_study = study(cut, band=band, margin=band / 4, min_tenure_days=7)
    tenths = before.with_columns(decile=1 + pl.int_range(pl.len()) % 10)
    numbers = pl.Series([random.randrange(3) for _ in users], dtype=pl.Int64)
    groups = [scored.filter(numbers == number) for number in range(3)]
    keys = [
        group.select("user_id").with_columns(
            *ranks.keys(group, cut_study.policy),
            segment_place=segments.places_before(group, cut_study, before),
            decile_place=deciles.places_before(group, tenths),
        )
        for group in groups
    ]
    together = pl.concat(keys).sort("user_id")
    rated = ranks.ranked(together)
    in_order = scored.sort("user_id")
    assert segments.cut(rated, cut_study, len(users)).equals(
        segments.assign(in_order, cut_study, before)
    )
    assert deciles.cut(rated, band, len(users)).equals(
        deciles.assign(in_order, cut_study, tenths)
    )


@given(USERS, RANK_CUTS, BAND)
def test_beyond_the_band_the_plain_cut_holds(
    users: list, cut: list, band: float
) -> None:
    """No user passes another by more than the band of the boundary between them, or of
    one above it.

    A user farther inside than that never leaves, and one farther outside never enters.
    """
    scored, before = drawn(users)
    rated = ranked(
        scored,
        segments.assign(scored, study(cut, band=band, min_tenure_days=7), before),
    )
    ends = [rated.filter(pl.col("place") <= i).height for i in (0, 1)]
    widths = [segments.band_width(end, rated.height, band) for end in ends]
    for i, end in enumerate(ends):
        width = max(widths[: i + 1])
        inside, outside = (
            rated.filter(pl.col("place") <= i),
            rated.filter(pl.col("place") > i),
        )
        pairs = inside.join(outside, how="cross", suffix="_out")
        assert (pairs["rank"] - pairs["rank_out"] <= width).all()
        assert (rated.filter(pl.col("rank") < end - width)["place"] <= i).all()
        assert (rated.filter(pl.col("rank") >= end + width)["place"] > i).all()


@given(USERS, BAND)
def test_the_riskiest_user_is_always_in_the_highest_segment(
    users: list, band: float
) -> None:
    """At any band and size the first user by rank is in it, unless it is empty."""
    scored, before = drawn(users)
    rated = ranked(
        scored,
        segments.assign(scored, study(BY_RANK, band=band, min_tenure_days=7), before),
    )
    assert (
        rated["place"].head(1).to_list() in ([], [0]) or not (rated["place"] == 0).any()
    )


@given(USERS, CUTS, BAND)
def test_unchanged_probabilities_change_nobody(
    users: list, cut: list, band: float
) -> None:
    """Cut again with its own result as the previous segments, every user stays."""
    scored, before = drawn(users)
    cut_study = study(cut, band=band, margin=band / 4, min_tenure_days=7)
    once = scored.with_columns(segments.assign(scored, cut_study, before))
    assert segments.assign(scored, cut_study, once).equals(once["segment"])
