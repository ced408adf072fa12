"""What is stored of a value, what it costs and when it takes effect: points 19 to 28 of
the sandbox's README. No HTTP.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from churn.sandbox import audience, data_points, notes, reads, track
from churn.sandbox.audience import Filter
from churn.sandbox.dates import as_datetime
from churn.sandbox.options import SYNC, Options
from churn.sandbox.profiles import Profile
from churn.sandbox.state import State


def wrote(*objects: dict[str, Any], together: bool = False, **options: Any) -> State:
    """A state that knows u and took these objects for u, each in a request of its own
    or all together in one.
    """
    state = State(options=Options(**options))
    state.add_users(["u"])
    items = [{"external_id": "u", **o} for o in objects]
    for body in [items] if together else [[item] for item in items]:
        assert track.track(state, {"attributes": body})[0] == 201
    return state


def held(state: State) -> Any:
    """What u holds in x."""
    return user(state).attributes.get("x")


def user(state: State) -> Profile:
    """The profile of u."""
    return state.profiles["external_id", "u"]


def test_point_19_names() -> None:
    """Point 19: names are case-sensitive, reserved ones are fields, and bio, $-names
    and overlong ones are dropped and noted.
    """
    sent = {
        "X": 1,
        "x": 2,
        "country": "DE",
        "bio": "b",
        "$x": 3,
        "n" * 256: 4,
        "dob": None,
    }
    state = wrote(sent, {"country": None, "first_name": "F"})
    assert user(state).attributes == {"X": 1, "x": 2}
    assert user(state).fields == {"first_name": "F"}
    assert state.silent[:2] == [
        "bio: a name that is dropped",
        "$x: a name that is dropped",
    ]
    assert state.n_data_points == 2


@pytest.mark.parametrize(
    ("first", "then"),
    [(1, "a"), ("a", 1), (True, 1), (1, True), ("a", ["a"]), ([1], {"a": 1})],
)
def test_point_20_the_first_value_fixes_the_type(first: Any, then: Any) -> None:
    """Point 20: a later value of another type is acknowledged and not taken, even after
    a removal.
    """
    state = wrote({"x": first}, {"x": None}, {"x": then})
    assert held(state) is None
    assert "where the attribute is" in state.silent[0]
    assert held(wrote({"x": first}, {"x": first})) == first


def test_point_20_numbers_are_one_type_and_empty_arrays_fit_both() -> None:
    """Point 20: whole numbers and decimals are one type; an empty array fits both
    kinds.
    """
    assert held(wrote({"x": 1}, {"x": 1.5})) == 1.5
    assert held(wrote({"x": [{"a": 1}]}, {"x": []})) == []


@pytest.mark.parametrize(
    ("forced", "sent", "expected"),
    [
        ("boolean", "T", True),
        ("boolean", 0, False),
        ("boolean", "yes", None),
        ("number", "12", 12),
        ("number", "1.5", 1.5),
        ("number", "twelve", None),
        ("string", 12, "12"),
        ("string", "2024-01-01", "2024-01-01"),
        ("datetime", "2024-01-01", datetime(2024, 1, 1, tzinfo=UTC)),
        ("datetime", "high", None),
        ("number", [1], None),
    ],
)
def test_point_20_forced_types(forced: str, sent: Any, expected: Any) -> None:
    """Point 20: a forced type converts what it can and silently drops the rest."""
    state = wrote({"x": sent}, forced_types={"x": forced})
    assert held(state) == expected
    assert len(state.silent) == (expected is None)
    with pytest.raises(ValueError, match="datetime"):
        Options(forced_types={"x": "text"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-01", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-01-01T10:20:30", datetime(2024, 1, 1, 10, 20, 30, tzinfo=UTC)),
        ("2024-01-01 10:20:30", datetime(2024, 1, 1, 10, 20, 30, tzinfo=UTC)),
        (
            "2024-01-01T10:20:30:123Z",
            datetime(2024, 1, 1, 10, 20, 30, 123000, tzinfo=UTC),
        ),
        (
            "2024-01-01T10:20:30.5+02:00",
            datetime(2024, 1, 1, 8, 20, 30, 500000, tzinfo=UTC),
        ),
        ("12/31/2021", datetime(2021, 12, 31, tzinfo=UTC)),
        ("12-1-2021", datetime(2021, 12, 1, tzinfo=UTC)),
        ("Mon 01 02 10:20:30.Z 2024", datetime(2024, 1, 2, 10, 20, 30, tzinfo=UTC)),
        ("3001-01-01", None),
        ("2024-13-01", None),
        ("31/12/2021", None),
        ("0001-01-01T00:00:00+02:00", None),
        ("2024", None),
        ("at risk", None),
        ("high", None),
        ("", None),
    ],
)
def test_point_21_text_that_looks_like_a_date(
    text: str, expected: datetime | None
) -> None:
    """Point 21: text in a listed form becomes a datetime, other text stays."""
    assert as_datetime(text) == expected
    assert held(wrote({"x": text})) == (expected or text)


def test_point_21_a_date_for_a_label_breaks_the_segment() -> None:
    """Point 21: an audience filter on the label that was written matches nobody, and a
    note says why.
    """
    state = wrote({"x": "2024-01-01"})
    label = Filter("x", "is", "2024-01-01")
    assert audience.matching(state, [label]) == []
    assert "holds datetimes" in notes.notes_on(state, label)[0]
    assert (
        len(
            audience.matching(
                wrote({"x": "wave 2024-01-01"}), [Filter("x", "is", "wave 2024-01-01")]
            )
        )
        == 1
    )


def test_point_22_long_text() -> None:
    """Point 22: a text of 256 characters is not stored, or cut by option, and each
    write costs a data point; 255 characters are stored.
    """
    dropped, cut = wrote({"x": "y" * 256}), wrote({"x": "y" * 256}, long_text="cut")
    assert (held(dropped), dropped.silent) == (None, ["x: text over 255 characters"])
    assert (held(cut), cut.silent) == ("y" * 255, ["x: text cut to 255 characters"])
    assert held(wrote({"x": "ü" * 255})) == "ü" * 255
    assert dropped.n_data_points == cut.n_data_points == 1


def test_point_23_null_removes_and_ids_stay() -> None:
    """Point 23: null removes an attribute and is accepted for one that isn't there; a
    null id counts as not given.
    """
    state = wrote({"x": 1}, {"x": None}, {"x": None, "user_alias": None})
    assert (held(state), user(state).identifiers, state.silent) == (
        None,
        {"external_id": "u"},
        [],
    )


ARRAYS = [
    ([["a", "b", "a"]], ["b", "a"]),
    ([[1, True, 1]], [True, 1]),
    ([["a"], {"add": ["b", "a"]}], ["b", "a"]),
    ([{"add": ["a"]}], ["a"]),
    ([["a", "b"], {"remove": ["a", "z"]}], ["b"]),
    ([["a", "b"], {"add": ["c"], "remove": ["a"]}], ["b", "c"]),
    ([["a"], {"add": "b"}], ["a"]),
    ([["a"], ["b", None]], ["a"]),
    ([["a"], [["b"]]], ["a"]),
    ([["a"], [{"b": 1}, "c"]], ["a"]),
    ([list(range(501))], list(range(1, 501))),
    ([5, {"inc": 3}, {"inc": -1}], 7),
    ([{"inc": 2}], 2),
    ([5, {"inc": 1.5}], 5),
    ([1.5, {"inc": 1}], 1.5),
    (["a", {"inc": 1}], "a"),
    ([1, 10**30], 1),
    ([2**63 - 1, {"inc": 1}], 2**63 - 1),
]


@pytest.mark.parametrize(("sent", "expected"), ARRAYS)
def test_point_23_arrays_and_increments(sent: list[Any], expected: Any) -> None:
    """Point 23: an array keeps the last place of a repeated item and loses the oldest
    ones; an invalid update changes nothing.
    """
    assert held(wrote(*({"x": value} for value in sent))) == expected


def test_point_23_array_limit_by_option() -> None:
    """Point 23: the older limit of 25 drops the oldest too."""
    assert held(
        wrote({"x": list(range(25))}, {"x": {"add": [99]}}, array_limit=25)
    ) == [*range(1, 25), 99]


PET = {"id": 1, "name": "Rex"}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([{"x": {"a": 1}}, {"x": {"b": 2}}], {"b": 2}),
        (
            [{"x": {"a": {"b": 1}}}, {"x": {"a": {"c": 2}}, "_merge_objects": True}],
            {"a": {"b": 1, "c": 2}},
        ),
        (
            [{"x": {"at": {"$time": "2024-01-01"}}}],
            {"at": datetime(2024, 1, 1, tzinfo=UTC)},
        ),
        ([{"x": {"a": 1}}, {"x": {"a": 2, "b": None}}], {"a": 1}),
        ([{"x": {"a": 1}}, {"x": {"a": {"b c": 2}}}], {"a": 1}),
        ([{"x": {"a": 1}}, {"x": {"a": {"$time": "soon"}}}], {"a": 1}),
        ([{"x": {"a": 1}}, {"x": {"a": "y" * 103_000}}], {"a": 1}),
        ([{"x": [PET]}, {"x": {"$add": [{"id": 2}]}}], [PET, {"id": 2}]),
        (
            [
                {"x": [PET]},
                {"x": {"$remove": [{"$identifier_key": "id", "$identifier_value": 1}]}},
            ],
            [],
        ),
        ([{"x": [PET]}, {"x": {"$add": "y"}}], [PET]),
    ],
)
def test_point_23_nested_objects(sent: list[dict[str, Any]], expected: Any) -> None:
    """Point 23: an object replaces or is merged; null, bad keys, bad dates and more
    than 100 KB leave the value as it was.
    """
    assert held(wrote(*sent)) == expected


@pytest.mark.parametrize(
    ("merge", "expected"),
    [(True, {"id": 2, "name": "Max", "age": 3}), (False, {"age": 3})],
)
def test_point_23_objects_are_added_then_removed_then_updated(
    merge: bool, expected: Any
) -> None:
    """Point 23: that order holds however the update is written; _merge_objects decides
    about merging.
    """
    chosen = {"$identifier_key": "id", "$identifier_value": 2}
    update = {
        "$update": [{**chosen, "$new_object": {"age": 3}}],
        "$remove": [{"$identifier_key": "id", "$identifier_value": 1}],
        "$add": [{"id": 2, "name": "Max"}],
    }
    assert held(wrote({"x": [PET]}, {"x": update, "_merge_objects": merge})) == [
        expected
    ]


def test_point_23_one_bad_nested_value_loses_the_attributes_updates() -> None:
    """Point 23: all nested updates of that attribute in the request are lost; other
    attributes and other requests are not.
    """
    state = wrote(
        {"x": {"a": 1}, "y": {"a": 1}},
        {"x": {"a": None}},
        {"x": {"b": 2}},
        together=True,
    )
    assert user(state).attributes == {"y": {"a": 1}}
    assert state.silent == ["x: null inside a nested value"] * 3


def test_point_24_blocklist() -> None:
    """Point 24: a blocklisted name is dropped silently and costs nothing."""
    state = wrote({"x": 1, "y": 2}, blocklist=frozenset({"x"}))
    assert (user(state).attributes, state.n_data_points) == ({"y": 2}, 1)
    assert state.silent == ["x: on the blocklist"]


@pytest.mark.parametrize(
    ("value", "cost"),
    [
        (1, 1),
        (None, 1),
        (["a", "b"], 1),
        ([], 1),
        ({"remove": ["a", "b"]}, 1),
        ({"add": ["a", "b"]}, 2),
        ({"add": ["a"], "remove": ["b"]}, 2),
        ({"inc": 1}, 0),
        ({"a": 1, "b": {"c": 2, "d": {"$time": "2024-01-01"}}}, 3),
        ([{"a": 1}, {"a": 2, "b": [1, 2]}], 3),
        ({"$add": [{"a": 1, "b": 2}]}, 2),
        (
            {
                "$update": [
                    {
                        "$identifier_key": "id",
                        "$identifier_value": 1,
                        "$new_object": {"a": 1},
                    }
                ]
            },
            1,
        ),
        ({"$remove": [{"$identifier_key": "id", "$identifier_value": 1}]}, 1),
    ],
)
def test_point_25_cost_of_a_write(value: Any, cost: int) -> None:
    """Point 25: the kind of a write decides its cost; an increment is free."""
    assert data_points.cost(value) == cost


def test_point_25_data_points_by_attribute_and_run() -> None:
    """Point 25: unchanged, null and lost writes count, ids and fields don't, and a run
    that sends nothing costs nothing.
    """
    state = wrote({"x": 1, "country": "DE"}, {"x": 1}, {"x": None, "y": "z" * 300})
    track.track(
        state,
        {
            "attributes": [
                {"external_id": "nobody", "_update_existing_only": True, "x": 1}
            ]
        },
    )
    state.start_run("second")
    assert (state.n_data_points, state.points_by_attribute()) == (5, {"x": 4, "y": 1})
    assert state.points.get("second") is None
    track.track(state, {"attributes": [{"external_id": "u", "x": 2}]})
    assert state.points == {"1": {"x": 4, "y": 1}, "second": {"x": 1}}


def test_point_26_which_changes_fire_a_trigger() -> None:
    """Point 26: a new value fires, for new users too; the same value, null, arrays,
    objects and decimals don't.
    """
    sent = [
        {"x": 1},
        {"x": 1},
        {"x": 2},
        {"x": None},
        {"y": [1]},
        {"z": {"a": 1}},
        {"w": 1.5},
        {"d": "2024-01-01"},
    ]
    state = wrote(*sent)
    assert [c.fired for c in state.changes] == [
        True,
        False,
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert [(c.old, c.new) for c in state.changes][1:4] == [(1, 1), (1, 2), (2, None)]
    assert state.fired["x"] == {"": 2, "same value": 1, "removed": 1}
    track.track(state, {"attributes": [{"external_id": "new", "x": 1}]})
    assert state.changes[-1].fired


def test_point_26_the_log_is_bounded_and_the_totals_are_not() -> None:
    """Point 26: the newest changes are kept, and all are counted."""
    state = wrote(*({"x": i} for i in range(10)), change_log=3)
    assert [c.new for c in state.changes] == [7, 8, 9]
    assert state.fired["x"][""] == 10


def exported(state: State) -> Any:
    """The custom attributes of u in an export."""
    return reads.export(state, {"external_ids": ["u"]})[1]["users"][0].get(
        "custom_attributes"
    )


def test_point_27_acknowledged_first_applied_later() -> None:
    """Point 27: an export shows the old value until the drawn delay is over; data
    points are counted at once.
    """
    now = [0.0]
    state = wrote({"x": 1}, apply_delay=5.0, clock=lambda: now[0])
    assert (exported(state), state.n_data_points) == (None, 1)
    now[0] = 5.0
    state.settle()
    assert exported(state) == {"x": 1}
    assert exported(wrote({"x": 1})) == {"x": 1}
    late = State(options=Options(apply_delay=5.0, clock=lambda: now[0]))
    assert (
        track.track(late, {"attributes": [{"external_id": "u", "x": 1}]}, SYNC)[1][
            "users"
        ]
        != []
    )
    with pytest.raises(ValueError, match="negative"):
        Options(apply_delay=-1)


@pytest.mark.parametrize("reorder", [False, True])
def test_point_28_order_between_requests(reorder: bool) -> None:
    """Point 28: requests take effect in the order sent, or by option in any order; the
    objects of one request in theirs.
    """
    now = [0.0]
    sent = ({"x": i} for i in range(10))
    state = wrote(*sent, apply_delay=5.0, reorder=reorder, clock=lambda: now[0])
    now[0] = 5.0
    state.settle()
    assert ([c.new for c in state.changes] == list(range(10))) is not reorder
    assert held(wrote({"x": 1}, {"x": 2}, together=True)) == 2


def test_one_user_twice_in_a_request_is_a_warning() -> None:
    """Braze doesn't say which object wins; here the later one does, with a warning."""
    assert sum(wrote({"x": 1}, {"y": 2}, together=True).warnings.values()) == 1
    assert not wrote({"x": 1}, {"y": 2}).warnings


def test_events_are_counted_each_time_and_never_in_the_future() -> None:
    """Repeated events add up, a future time becomes now, and a purchase counts its
    quantity.
    """
    state = State(options=Options(clock=lambda: 0.0))
    event = {"external_id": "u", "name": "e", "time": "2999-01-01"}
    bought = {
        "external_id": "u",
        "product_id": "p",
        "currency": "EUR",
        "price": 1.5,
        "quantity": 3,
        "time": "1969-01-01",
    }
    for _ in range(2):
        assert (
            track.track(state, {"events": [event], "purchases": [bought]})[1][
                "purchases_processed"
            ]
            == 1
        )
    user_export = reads.export(state, {"external_ids": ["u"]})[1]["users"][0]
    assert user_export["custom_events"] == [
        {
            "name": "e",
            **dict.fromkeys(("first", "last"), datetime(1970, 1, 1, tzinfo=UTC)),
            "count": 2,
        }
    ]
    assert (user_export["purchases"][0]["count"], state.n_data_points) == (6, 0)
