"""Scores against the ledger: changes, their cost, and limits; without a network."""

import json
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.braze import corrections, limits, matching, payload, plan
from churn.errors import GateError, TerminalBrazeError
from churn.settings import Braze

BRAZE = Braze()
DATED = Braze(changed_attribute="churn_since")
GROUPED = Braze(decile_attribute="churn_decile")
REASONED = Braze(reason_attribute="churn_reason")


def scored(*rows: tuple[str | None, str, int]) -> pl.DataFrame:
    """Scores of identifier, segment, score."""
    schema = {"identifier": pl.String, "segment": pl.String, "score": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        cutoff=pl.lit(date(2026, 3, 1))
    )


def synced(unconfirmed: bool = False, **users: dict[str, Any]) -> pl.DataFrame:
    """A ledger's content: attributes by identifier."""
    rows = [
        (
            who,
            json.dumps(values, ensure_ascii=False, separators=(",", ":")),
            unconfirmed,
        )
        for who, values in users.items()
    ]
    schema = {
        "identifier": pl.String,
        "attributes": pl.String,
        "unconfirmed": pl.Boolean,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def make(
    scores: pl.DataFrame,
    held: pl.DataFrame,
    braze: Braze,
    **others: Any,
) -> plan.Plan:
    """The plan of a ledger whose content is one frame."""
    return plan.make(scores, [held], braze, **others)


def writes(made: plan.Plan, column: str = "attributes") -> dict[str, Any]:
    """Parsed JSON by identifier."""
    return {
        who: json.loads(text)
        for who, text in made.changes.select("identifier", column).iter_rows()
    }


HIGH = {"churn_segment": "high", "churn_score": 80}
SILENT = {**HIGH, "churn_reason": "risky_silence"}


def test_a_new_user_is_sent_all_attributes() -> None:
    """Segment and score are sent, and count as two data points."""
    made = make(scored(("a", "high", 80)), synced(), BRAZE)
    assert writes(made) == writes(made, "after") == {"a": HIGH}
    assert writes(made, "before") == {"a": {}}
    assert made.changes.select(
        "why", "from_segment", "to_segment", "replaces_segment", "n_points"
    ).row(0) == (
        "scored",
        "none",
        "high",
        False,
        2,
    )


def in_deciles(
    scores: pl.DataFrame,
    *decile: int | None,
) -> pl.DataFrame:
    """The scores with these deciles."""
    return scores.with_columns(decile=pl.Series(decile, dtype=pl.Int64))


def test_a_decile_is_sent_only_once_it_changed() -> None:
    """It is an integer of its own: a user who stays in it is sent nothing, and one who
    moved is sent it alone, without counting as a change of segment.
    """
    held = {**HIGH, "churn_decile": 9}
    scores = scored(("new", "high", 80), ("stays", "high", 85), ("moves", "high", 80))
    made = make(in_deciles(scores, 9, 9, 10), synced(stays=held, moves=held), GROUPED)
    assert writes(made) == {"new": held, "moves": {"churn_decile": 10}}
    assert made.changes["n_points"].sum() == 4
    assert not made.changes["replaces_segment"].any()


def test_a_decile_is_removed_like_the_other_attributes() -> None:
    """Null goes to users who lapsed, are gone or have no decile any more, and to all
    once the study no longer names the attribute.
    """
    held = {**HIGH, "churn_decile": 9}
    scores = in_deciles(scored(("unrated", "high", 80)), None)
    before = synced(unrated=held, lapsed=held, gone=held)
    made = make(scores, before, GROUPED, gone=["gone"])
    every = dict.fromkeys(held)
    only = {"churn_decile": None}
    assert writes(made) == {"unrated": only, "lapsed": every, "gone": every}
    former = make(scores, synced(unrated=held), BRAZE, synced_names=["churn_decile"])
    assert writes(former) == {"unrated": only}


def test_scores_without_deciles_write_none() -> None:
    """Scores of an earlier version have none, and a new user is sent the rest."""
    made = make(scored(("a", "high", 80)), synced(), GROUPED)
    assert writes(made) == {"a": HIGH}


def test_a_plan_made_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users are matched a part at a time, and neither changes nor counts differ."""
    scores = scored(*[(f"u{i}", "low", 5) for i in range(30)], (None, "low", 5))
    before = synced(**{f"u{i}": HIGH for i in range(20, 50)})
    whole = make(scores, before, BRAZE, gone=["u20", "u49", "u99"])
    monkeypatch.setattr(matching, "USERS_IN_A_PART", 4)
    pages = before.iter_slices(3)
    parts = plan.make(scores, pages, BRAZE, gone=["u20", "u49", "u99"])
    assert whole.changes.height == 50
    assert (parts.n_synced, whole.n_synced) == (30, 30)
    assert parts.changes.equals(whole.changes)


def test_identifiers_of_the_same_hash_stay_apart() -> None:
    """Where hashes collide, users are matched by their identifiers."""
    held = pl.DataFrame({"identifier": ["a", "b"], "hash": [1, 1], "held": [1, 2]})
    scores = pl.DataFrame({"identifier": ["c", "b"], "score": [3, 4]})
    index = matching.indexed(pl.Series([1, 1]))
    users = matching.matched(held, scores, index)
    assert sorted(users.select("identifier", "held", "score", "row").rows()) == [
        ("a", 1, None, None),
        ("b", 2, 4, 1),
    ]


def test_a_synced_user_is_sent_nothing() -> None:
    """The same segment and a score within the step are no change."""
    made = make(
        scored(("a", "high", 80), ("b", "high", 89)), synced(a=HIGH, b=HIGH), BRAZE
    )
    assert made.changes.is_empty()
    assert made.n_synced == 2


def test_a_score_is_sent_alone_from_a_step_on_and_with_a_changed_segment() -> None:
    """Ten points up or down are a step; a changed segment takes along a score that
    moved by one point, and no score that stayed.
    """
    made = make(
        scored(
            ("up", "high", 90),
            ("down", "high", 70),
            ("flip", "low", 79),
            ("same", "low", 80),
        ),
        synced(up=HIGH, down=HIGH, flip=HIGH, same=HIGH),
        BRAZE,
    )
    assert writes(made) == {
        "up": {"churn_score": 90},
        "down": {"churn_score": 70},
        "flip": {"churn_segment": "low", "churn_score": 79},
        "same": {"churn_segment": "low"},
    }
    assert writes(made, "after")["up"] == {"churn_segment": "high", "churn_score": 90}
    flip = made.changes.filter(pl.col("identifier") == "flip")
    assert flip.select("from_segment", "to_segment", "replaces_segment").row(0) == (
        "high",
        "low",
        True,
    )
    up = made.changes.filter(pl.col("identifier") == "up")
    assert up.select("from_segment", "to_segment", "replaces_segment").row(0) == (
        None,
        None,
        False,
    )


def test_lapsed_users_get_the_lapsed_value_once_and_the_opted_out_get_null() -> None:
    """A silent user gets the lapsed value and no score, an opted-out user null for
    both; a second plan writes neither.
    """
    braze = Braze(lapsed_value="lapsed")
    before = synced(
        quiet=HIGH,
        out=HIGH,
        before={"churn_segment": "lapsed", "churn_score": None},
        gone={"churn_segment": None},
    )
    made = make(
        scored(("out", "high", 80)), before, braze, gone=["out", "never-told", "gone"]
    )
    assert writes(made) == {
        "quiet": {"churn_segment": "lapsed", "churn_score": None},
        "out": {"churn_segment": None, "churn_score": None},
    }
    assert dict(made.changes.select("identifier", "why").iter_rows()) == {
        "quiet": "lapsed",
        "out": "gone",
    }
    assert dict(made.changes.select("identifier", "to_segment").iter_rows()) == {
        "quiet": "lapsed",
        "out": "removed",
    }


def test_without_a_lapsed_value_attributes_are_removed() -> None:
    """A user who is no longer scored gets null for both attributes, once."""
    made = make(scored(("b", "low", 1)), synced(a=HIGH), BRAZE)
    assert writes(made)["a"] == {"churn_segment": None, "churn_score": None}
    again = make(
        scored(("b", "low", 1)),
        synced(a=writes(made, "after")["a"], b=writes(made, "after")["b"]),
        BRAZE,
    )
    assert again.changes.is_empty()
    assert again.n_synced == 1


def test_renamed_attributes_are_removed_once() -> None:
    """An attribute that the study no longer names becomes null, and counts as a change
    of segment.
    """
    made = make(
        scored(("a", "high", 80)),
        synced(a={"old": "high", **HIGH}),
        BRAZE,
        synced_names=["old", "churn_segment"],
    )
    assert writes(made) == {"a": {"old": None}}
    assert made.changes["replaces_segment"].to_list() == [True]
    assert made.names == ["churn_segment", "churn_score", "old"]
    after = synced(a=writes(made, "after")["a"])
    assert make(
        scored(("a", "high", 80)), after, BRAZE, synced_names=made.names
    ).changes.is_empty()


@pytest.mark.parametrize("gone", [[], ["a"]])
def test_after_an_unconfirmed_delivery_all_attributes_are_sent_again(
    gone: list[str],
) -> None:
    """Values are sent again although they equal the last ones, removals too."""
    was = {"churn_segment": "high", "churn_score": 80, "old": None}
    made = make(
        scored(("a", "high", 80)),
        synced(unconfirmed=True, a=was),
        BRAZE,
        synced_names=["old"],
        gone=gone,
    )
    segment, score = (None, None) if gone else ("high", 80)
    assert writes(made) == {
        "a": {"churn_segment": segment, "churn_score": score, "old": None}
    }


def test_the_date_of_the_last_change_is_sent_only_with_a_change() -> None:
    """New users and changed segments get the cutoff as date; a score alone leaves the
    date; a removed segment removes it.
    """
    kept = {**HIGH, "churn_since": "2026-01-05"}
    made = make(
        scored(
            ("new", "high", 80),
            ("flip", "low", 80),
            ("score", "high", 20),
            ("same", "high", 80),
        ),
        synced(flip=kept, score=kept, same=kept, quiet=kept),
        DATED,
    )
    assert writes(made) == {
        "new": {**HIGH, "churn_since": "2026-03-01"},
        "flip": {"churn_segment": "low", "churn_since": "2026-03-01"},
        "score": {"churn_score": 20},
        "quiet": {"churn_segment": None, "churn_score": None, "churn_since": None},
    }
    lapsing = DATED.model_copy(update={"lapsed_value": "lapsed"})
    assert writes(make(scored(("x", "low", 1)), synced(quiet=kept), lapsing))[
        "quiet"
    ] == {
        "churn_segment": "lapsed",
        "churn_score": None,
        "churn_since": "2026-03-01",
    }


def test_a_score_switched_on_later_is_sent_to_all_and_a_date_is_not() -> None:
    """A score that was never sent goes to all users; when their segment last changed is
    unknown.
    """
    made = make(scored(("a", "high", 80)), synced(a={"churn_segment": "high"}), DATED)
    assert writes(made) == {"a": {"churn_score": 80}}


def test_unconfirmed_dates_are_sent_as_they_were() -> None:
    """A date that may not have arrived is sent again and not moved to today."""
    made = make(
        scored(("a", "high", 80)),
        synced(unconfirmed=True, a={**HIGH, "churn_since": "2026-01-05"}),
        DATED,
    )
    assert writes(made) == {"a": {**HIGH, "churn_since": "2026-01-05"}}


def test_values_with_quotes_and_commas_are_read_back_as_they_are() -> None:
    """A lapsed value with anything that JSON escapes is read from the
    ledger unchanged.
    """
    braze = Braze(lapsed_value='gone, "for good" \\ ü}')
    made = make(scored(("b", "low", 1)), synced(a=HIGH), braze)
    after = writes(made, "after")["a"]
    assert after == {"churn_segment": 'gone, "for good" \\ ü}', "churn_score": None}
    again = make(
        scored(("b", "low", 1)),
        synced(a=after, b={"churn_segment": "low", "churn_score": 1}),
        braze,
    )
    assert again.changes.is_empty()


def test_identifiers_that_braze_cannot_take_are_kept_out() -> None:
    """Empty identifiers and those over 987 bytes (236 for an alias) are
    counted apart.
    """
    rows = [
        ("", "low", 1),
        ("x" * 987, "low", 1),
        ("ü" * 494, "low", 1),
        (None, "low", 1),
    ]
    made = make(scored(*rows), synced(), BRAZE)
    assert made.changes["identifier"].to_list() == ["x" * 987]
    assert sorted(made.undeliverable) == ["", "ü" * 494]
    alias = Braze(identifier="user_alias", alias_label="idfv")
    assert sorted(
        make(
            scored(("x" * 236, "low", 1), ("x" * 237, "low", 1)), synced(), alias
        ).undeliverable
    ) == ["x" * 237]


SEGMENTS = st.sampled_from(["high", "low"])
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "churn_segment": st.none() | SEGMENTS,
        "churn_score": st.none() | st.integers(0, 100),
        "old": st.none() | SEGMENTS,
    },
)


@given(
    st.dictionaries(st.sampled_from("abc"), VALUES),
    st.dictionaries(st.sampled_from("abcd"), st.tuples(SEGMENTS, st.integers(0, 100))),
    st.booleans(),
    st.lists(st.sampled_from("abcd"), max_size=2),
)
def test_after_its_writes_nothing_is_left_to_write(
    held: dict[str, dict[str, Any]],
    wanted: dict[str, tuple[str, int]],
    unconfirmed: bool,
    gone: list[str],
) -> None:
    """Whatever the ledger holds, the writes on top of it give ``after``, and a second
    plan is empty.
    """
    scores = scored(*[(who, *values) for who, values in wanted.items()])
    first = make(
        scores, synced(unconfirmed, **held), BRAZE, synced_names=["old"], gone=gone
    )
    after = {**held}
    for who, values in writes(first).items():
        after[who] = {**held.get(who, {}), **values}
        mine = {k: v for k, v in writes(first, "after")[who].items() if v is not None}
        assert mine == {k: v for k, v in after[who].items() if v is not None}
        assert (
            len(values)
            == first.changes.filter(pl.col("identifier") == who)["n_points"].item()
        )
    for who, (segment, _) in wanted.items():
        assert (after.get(who, {}).get("churn_segment") == segment) or who in gone
    assert make(
        scores, synced(False, **after), BRAZE, synced_names=["old"], gone=gone
    ).changes.is_empty()


def test_the_forecast_counts_users_points_requests_and_minutes() -> None:
    """Three users, one lapsed and one opted out; the minutes follow the pace per
    second, per hour, and the time to an answer.
    """
    made = make(scored(("a", "high", 80)), synced(b=HIGH, c=HIGH), BRAZE, gone=["c"])
    found = limits.forecast(
        made, 5, Braze(requests_per_second=10, concurrency=100), 0.1
    )
    assert found == {
        "n_changed": 3,
        "n_moved": 2,
        "n_lapsed": 1,
        "n_gone": 1,
        "n_undeliverable": 0,
        "n_requests": 5,
        "n_data_points": 6,
        "data_points_by_attribute": {"churn_segment": 3, "churn_score": 3},
        "minutes": round(5 / 10 / 60, 3),
    }
    assert limits.forecast(made, 5, Braze(requests_per_hour=2), 0.1)["minutes"] == 120
    assert (
        limits.forecast(made, 600, Braze(requests_per_second=1000, concurrency=1), 0.1)[
            "minutes"
        ]
        == 1.0
    )


def test_transitions_count_users_whose_segment_is_written() -> None:
    """They go from the synced segment to the new one; a score alone is no
    transition.
    """
    made = make(
        scored(("a", "high", 80), ("b", "low", 80), ("c", "high", 10)),
        synced(b=HIGH, c=HIGH, d=HIGH),
        BRAZE,
    )
    assert plan.transitions(made).rows() == [
        ("high", "low", 1),
        ("high", "removed", 1),
        ("none", "high", 1),
    ]


def test_a_run_that_changes_too_many_segments_needs_to_be_accepted() -> None:
    """More than half of the 102 synced users would change: both figures are named. New
    users do not count, and 50 users may always change.
    """
    before = synced(**{f"u{i}": HIGH for i in range(102)})
    flips = {
        n: scored(
            *[(f"u{i}", "low" if i < n else "high", 80) for i in range(102)],
            ("new", "low", 1),
        )
        for n in (51, 52)
    }
    assert limits.exceeded(make(flips[51], before, BRAZE), BRAZE) == {}
    beyond = limits.exceeded(make(flips[52], before, BRAZE), BRAZE)
    sentence = beyond["change_rate"]
    assert "52 of 102 synced users (51%) would change segment" in sentence
    assert "more than max_change_rate (50%)" in sentence
    with pytest.raises(GateError, match="nothing was sent: change_rate: 52 of 102"):
        limits.check(beyond, ["max_users"])
    limits.check(beyond, ["change_rate"])
    few = synced(**{f"u{i}": HIGH for i in range(50)})
    assert limits.exceeded(make(scored(("x", "low", 1)), few, BRAZE), BRAZE) == {}


def test_a_run_that_writes_too_many_users_needs_to_be_accepted() -> None:
    """Two users exceed a max_users of one; one user does not."""
    one = BRAZE.model_copy(update={"max_users": 1})
    assert limits.exceeded(make(scored(("a", "low", 1)), synced(), one), one) == {}
    beyond = limits.exceeded(
        make(scored(("a", "low", 1), ("b", "low", 1)), synced(), one), one
    )
    assert beyond == {"max_users": "2 users would be written, more than max_users (1)"}


def test_a_plan_is_cut_into_requests_by_count_and_by_bytes() -> None:
    """No request has more users or bytes than the study allows."""
    braze = Braze(max_body_bytes=10_000, batch_size=75)
    made = make(
        scored(*[(f'user"\n{i}' + "x" * (i % 300), "high", 80) for i in range(400)]),
        synced(),
        braze,
    )
    items = payload.items(made.changes, "external_id", False)
    ranges = payload.batches(
        items.str.len_bytes().to_list(), braze.batch_size, braze.max_body_bytes
    )
    assert [r[0] for r in ranges] == [0, *[r[1] + 1 for r in ranges[:-1]]]
    assert ranges[-1][1] == 399
    for first, last in ranges:
        body = payload.body(items[first : last + 1])
        assert len(body) <= 10_000
        assert len(json.loads(body)["attributes"]) <= 75


@given(st.text(min_size=1), st.text(max_size=5), st.booleans())
def test_an_object_is_json_whatever_the_identifier(
    who: str, label: str, create: bool
) -> None:
    """Quotes, control characters and any script are read back as they were, with the
    attributes as planned.
    """
    who, label = (text.encode("utf-8", "ignore").decode() for text in (who, label))
    writes = pl.DataFrame({"identifier": [who], "attributes": ['{"a":"x","b":null}']})
    kind = f"user_alias:{label}" if label else "external_id"
    (item,) = json.loads(payload.body(payload.items(writes, kind, create)))[
        "attributes"
    ]
    named = (
        {"user_alias": {"alias_name": who, "alias_label": label}}
        if label
        else {"external_id": who}
    )
    assert item == named | {"_update_existing_only": not create, "a": "x", "b": None}
    assert next(iter(item)) in {"user_alias", "external_id"}


def test_restoring_a_run_writes_the_values_from_before() -> None:
    """Old values of what the run wrote, null where there was none, and nothing that it
    left alone.
    """
    made = make(scored(("a", "low", 80), ("b", "low", 5)), synced(a=HIGH), BRAZE)
    after = synced(**writes(made, "after"))
    back = corrections.restoring(made.changes, after, BRAZE)
    assert writes(back) == {
        "a": {"churn_segment": "high"},
        "b": {"churn_segment": None, "churn_score": None},
    }
    assert writes(back, "after")["a"] == HIGH
    assert writes(back, "before") == writes(made, "after")
    assert plan.transitions(back).rows() == [("low", "high", 1), ("low", "removed", 1)]


def test_a_corrected_file_of_rejects_becomes_a_plan() -> None:
    """Its attributes are added to what the user has; the reason is ignored."""
    rows = pl.DataFrame(
        {
            "identifier": ["a"],
            "attributes": ['{"churn_segment": "low"}'],
            "reason": ["too large"],
        }
    )
    made = corrections.from_file(rows, synced(a=HIGH), BRAZE, ["high", "low"])
    assert writes(made) == {"a": {"churn_segment": "low"}}
    assert writes(made, "after") == {"a": {"churn_segment": "low", "churn_score": 80}}
    assert plan.transitions(made).rows() == [("high", "low", 1)]


@pytest.mark.parametrize(
    ("identifiers", "texts", "sentence"),
    [
        (
            ["a"],
            ["high"],
            "row 2: attributes must be a JSON object of churn_segment, churn_score",
        ),
        (["a"], ["{}"], "row 2: attributes must be"),
        (["a"], ['["x"]'], "row 2: attributes must be"),
        (["a"], [None], "row 2: attributes must be"),
        (["a"], ['{"email":"x@y.z"}'], "row 2: attributes must be"),
        (
            ["a"],
            ['{"churn_score":true}'],
            "row 2: the study writes no such value of churn_score",
        ),
        (["a"], ['{"churn_score":0.5}'], "row 2: the study writes no such value"),
        (["a"], ['{"churn_segment":{"x":1}}'], "row 2: the study writes no such value"),
        (
            ["a"],
            ['{"churn_score":"90"}'],
            "row 2: the study writes no such value of churn_score",
        ),
        (["a"], ['{"churn_score":101}'], "row 2: the study writes no such value"),
        (
            ["a"],
            ['{"churn_segment":"2024-01-01"}'],
            "row 2: the study writes no such value of churn_segment",
        ),
        (["a"], ['{"churn_segment":55}'], "row 2: the study writes no such value"),
        (["a", None], ['{"churn_score":1}'] * 2, "row 3 has no identifier"),
        (["a", "a"], ['{"churn_score":1}'] * 2, "row 3 repeats an identifier"),
    ],
)
def test_a_file_that_could_do_harm_is_refused(
    identifiers: list[str | None], texts: list[str | None], sentence: str
) -> None:
    """Other attributes, other types, a missing or repeated identifier: the error names
    row and fault, and no value.
    """
    rows = pl.DataFrame({"identifier": identifiers, "attributes": texts})
    with pytest.raises(TerminalBrazeError, match=sentence):
        corrections.from_file(rows, synced(), BRAZE, ["high", "low"])


def test_a_corrected_decile_is_a_whole_number_from_1_to_10() -> None:
    """Any other value is refused with its row."""
    rows = pl.DataFrame({"identifier": ["a"], "attributes": ['{"churn_decile":10}']})
    made = corrections.from_file(rows, synced(), GROUPED, ["high"])
    assert writes(made) == {"a": {"churn_decile": 10}}
    for value in ("0", "11", "true", '"10"', "9.5"):
        bad = rows.with_columns(attributes=pl.lit(f'{{"churn_decile":{value}}}'))
        with pytest.raises(TerminalBrazeError, match="no such value of churn_decile"):
            corrections.from_file(bad, synced(), GROUPED, ["high"])


def test_a_file_without_its_columns_is_refused() -> None:
    """The error names both missing columns."""
    with pytest.raises(
        TerminalBrazeError, match="lacks the column attributes and identifier"
    ):
        corrections.from_file(pl.DataFrame({"x": ["a"]}), synced(), BRAZE, [])


@pytest.mark.parametrize(
    ("braze", "sentence"),
    [
        (Braze(segment_attribute="email"), "email can't be a custom attribute"),
        (Braze(score_attribute="churn_segment"), "must differ"),
        (Braze(changed_attribute="churn_score"), "must differ"),
        (Braze(reason_attribute="churn_score"), "must differ"),
        (Braze(decile_attribute="churn_score"), "must differ"),
        (Braze(lapsed_value="2024-01-01"), "can't be a value"),
        (Braze(lapsed_value=""), "can't be a value"),
    ],
)
def test_names_and_values_that_would_do_harm_are_refused(
    braze: Braze, sentence: str
) -> None:
    """They are refused before anything is compared."""
    with pytest.raises(TerminalBrazeError, match=sentence):
        plan.names(braze)


@pytest.mark.parametrize("value", [None, "lapsed"])
def test_a_user_without_attributes_does_not_lapse(value: str | None) -> None:
    """Users whose attributes were removed get no lapsed value that the
    study has since.
    """
    before = synced(removed={"churn_segment": None, "churn_score": None}, nothing={})
    made = make(scored(("x", "low", 1)), before, Braze(lapsed_value=value))
    assert made.changes["identifier"].to_list() == ["x"]


def test_no_change_at_all_may_be_the_limit() -> None:
    """With max_change_rate 0 no run may change the segment of more than fifty users."""
    before = synced(**{f"u{i}": HIGH for i in range(60)})
    none = BRAZE.model_copy(update={"max_change_rate": 0.0})
    flips = {
        n: scored(*[(f"u{i}", "low" if i < n else "high", 80) for i in range(60)])
        for n in (50, 51)
    }
    assert limits.exceeded(make(flips[50], before, none), none) == {}
    assert "change_rate" in limits.exceeded(make(flips[51], before, none), none)


def test_restoring_leaves_out_the_opted_out_and_what_is_synced() -> None:
    """The opted-out get nothing back, a user with the old value is not written, and an
    unconfirmed one gets all attributes.
    """
    made = make(
        scored(
            ("a", "low", 80), ("b", "low", 80), ("c", "low", 80), ("out", "low", 80)
        ),
        synced(a=HIGH, b=HIGH, c=HIGH, out=HIGH),
        BRAZE,
    )
    now = pl.concat(
        [
            synced(a=HIGH, out={**HIGH, "churn_segment": "low"}),
            synced(True, b={**HIGH, "churn_segment": "low"}),
        ]
    )
    back = corrections.restoring(made.changes, now, BRAZE, gone=["out"])
    assert writes(back) == {"b": HIGH, "c": {"churn_segment": "high"}}


def test_rejected_changes_come_last_and_not_for_ever() -> None:
    """A change rejected once is sent last, one rejected five times is held back, and
    another change counts as new.
    """
    made = make(
        scored(("a", "low", 1), ("b", "low", 1), ("c", "low", 1), ("d", "low", 1)),
        synced(),
        BRAZE,
    )
    text = '{"churn_segment":"low","churn_score":1}'
    rows = [("a", text, 1), ("b", text, 5), ("c", '{"churn_score":2}', 9)]
    refusals = pl.DataFrame(
        rows, schema=["identifier", "attributes", "n"], orient="row"
    )
    kept = plan.with_rejected_last(made, refusals)
    assert (
        kept.changes["identifier"].to_list()[-1],
        kept.held_back.to_list(),
        kept.retried_from,
    ) == ("a", ["b"], 2)
    assert sorted(kept.changes["identifier"]) == ["a", "c", "d"]
    assert kept.changes.columns == made.changes.columns


def test_an_identifier_with_a_nul_is_left_out_alone() -> None:
    """No database takes it; all other users are planned."""
    made = make(scored(("a\x00", "low", 1), ("b", "low", 1)), synced(), BRAZE)
    assert (made.changes["identifier"].to_list(), made.undeliverable.to_list()) == (
        ["b"],
        ["a\x00"],
    )


def because(reason: str | None, *rows: tuple[str, str, int]) -> pl.DataFrame:
    """Scores with the same first reason for all users."""
    return scored(*rows).with_columns(reason_1=pl.lit(reason, pl.String))


def test_a_reason_is_sent_with_a_segment_or_score_and_never_alone() -> None:
    """New users, a new segment and a score a step away take the reason along; another
    reason alone is no change.
    """
    rows = [
        ("new", "high", 80),
        ("flip", "low", 80),
        ("step", "high", 90),
        ("alone", "high", 80),
        ("none", "high", 80),
    ]
    before = synced(flip=SILENT, step=SILENT, alone=SILENT, none=HIGH)
    made = make(because("risky_trend", *rows), before, REASONED)
    trend = {"churn_reason": "risky_trend"}
    assert writes(made) == {
        "new": HIGH | trend,
        "flip": {"churn_segment": "low"} | trend,
        "step": {"churn_score": 90} | trend,
    }
    assert writes(made, "after")["flip"] == {**HIGH, "churn_segment": "low"} | trend
    assert dict(made.changes.select("identifier", "n_points").iter_rows()) == {
        "new": 3,
        "flip": 2,
        "step": 2,
    }
    assert (
        dict(made.changes.select("identifier", "replaces_segment").iter_rows())["step"]
        is False
    )


def test_a_reason_is_sent_with_a_new_segment_only_if_it_changed() -> None:
    """The same reason is not written again; a reason that there is no longer is
    removed.
    """
    rows = [("a", "low", 80)]
    same = make(because("risky_silence", *rows), synced(a=SILENT), REASONED)
    assert writes(same) == {"a": {"churn_segment": "low"}}
    none = make(because(None, *rows), synced(a=SILENT), REASONED)
    assert writes(none) == {"a": {"churn_segment": "low", "churn_reason": None}}


@pytest.mark.parametrize("value", [None, "lapsed"])
def test_lapsed_and_opted_out_users_lose_the_reason(value: str | None) -> None:
    """It becomes null with or without a lapsed value, and also if the study no longer
    sends reasons.
    """
    braze = REASONED.model_copy(update={"lapsed_value": value})
    made = make(
        because("risky_trend", ("out", "high", 80)),
        synced(quiet=SILENT, out=SILENT),
        braze,
        gone=["out"],
    )
    assert {attributes["churn_reason"] for attributes in writes(made).values()} == {
        None
    }
    assert set(writes(made)) == {"quiet", "out"}
    dropped = make(
        scored(("a", "high", 80)),
        synced(a=SILENT),
        BRAZE,
        synced_names=["churn_reason"],
    )
    assert writes(dropped) == {"a": {"churn_reason": None}}


def test_scores_without_reasons_are_delivered() -> None:
    """They write no reason; after an unconfirmed delivery the reason is sent again with
    all attributes.
    """
    assert writes(make(scored(("a", "high", 80)), synced(), REASONED)) == {"a": HIGH}
    made = make(
        because("risky_silence", ("a", "high", 80)),
        synced(unconfirmed=True, a=SILENT),
        REASONED,
    )
    assert writes(made) == {"a": SILENT}


def test_a_corrected_file_may_hold_reasons_and_nothing_like_them() -> None:
    """A reason as the study writes it is accepted; other text is not."""
    rows = pl.DataFrame(
        {"identifier": ["a"], "attributes": ['{"churn_reason":"safe_rhythm"}']}
    )
    assert writes(corrections.from_file(rows, synced(), REASONED, ["high"])) == {
        "a": {"churn_reason": "safe_rhythm"}
    }
    with pytest.raises(TerminalBrazeError, match="no such value of churn_reason"):
        corrections.from_file(
            rows.with_columns(attributes=pl.lit('{"churn_reason":"rhythm"}')),
            synced(),
            REASONED,
            ["high"],
        )
