"""Which objects the sandbox refuses, and which profiles a write creates or finds:
points 12 to 17 of the sandbox's README.
"""

from typing import Any

import pytest

from churn.sandbox import messages, reads, track
from churn.sandbox.options import Options
from churn.sandbox.profiles import Profile
from churn.sandbox.state import State

from .client import ALIAS, many, one


@pytest.fixture
def state() -> State:
    """A state that knows a and b."""
    known = State()
    known.add_users(["a", "b"])
    return known


def test_point_12_arrays_and_elements(state: State) -> None:
    """Point 12: a field that isn't an array refuses the request; an element that isn't
    an object is refused alone.
    """
    assert track.track(state, {"attributes": {"external_id": "a"}})[0] == 400
    assert track.track(state, {"attributes": [], "events": None})[0] == 400
    status, answer = track.track(state, {"attributes": ["a", *many(1)]})
    assert (status, answer["attributes_processed"], answer["errors"][0]["index"]) == (
        201,
        1,
        0,
    )


def test_point_13_partial_errors_name_array_and_index(state: State) -> None:
    """Point 13: processed and errors add up to what was sent; indices count inside
    their own array.
    """
    objects = [*many(1), {"x": 2}, {"external_id": "a", "braze_id": "z"}, *many(1, "b")]
    events = [
        {"external_id": "a", "name": "e", "time": "2026-01-01"},
        {"external_id": "a", "name": "e"},
    ]
    status, answer = track.track(state, {"attributes": objects, "events": events})
    assert (status, answer["attributes_processed"], answer["events_processed"]) == (
        201,
        2,
        1,
    )
    places = [(e["input_array"], e["index"]) for e in answer["errors"]]
    assert places == [("attributes", 1), ("attributes", 2), ("events", 1)]
    assert answer["errors"][0]["type"] == messages.NO_IDENTIFIER


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (
            "sentence",
            {
                "type": "'external_id' must be fewer than 988 bytes",
                "input_array": "attributes",
                "index": 1,
            },
        ),
        (
            "enum",
            {
                "type": "EXTERNAL_USER_ID_TOO_LARGE",
                "input_array": "attributes",
                "index": 1,
            },
        ),
        ("no_index", {"type": "'external_id' must be fewer than 988 bytes"}),
        ("strings", "'external_id' must be fewer than 988 bytes"),
    ],
)
def test_point_13_forms_of_errors(form: str, error: Any) -> None:
    """Point 13: an option chooses the form of an object's error."""
    body = {"attributes": [*many(1), {"external_id": "ü" * 494, "x": 1}]}
    assert track.track(State(options=Options(error_form=form)), body)[1]["errors"] == [
        error
    ]


@pytest.mark.parametrize(
    ("array", "item", "fault"),
    [
        ("attributes", {"external_id": "a" * 988}, "EXTERNAL_USER_ID_TOO_LARGE"),
        ("attributes", {"external_id": ""}, messages.NO_IDENTIFIER),
        ("attributes", {"external_id": None}, messages.NO_IDENTIFIER),
        ("attributes", {"external_id": 7}, "'external_id' must be a string"),
        (
            "attributes",
            {"external_id": "a", "user_alias": {"alias_name": "n", "alias_label": "l"}},
            messages.SEVERAL,
        ),
        (
            "attributes",
            {"user_alias": {"alias_name": "n" * 237, "alias_label": "l"}},
            messages.BAD_ALIAS,
        ),
        ("attributes", {"user_alias": {"alias_name": "n"}}, messages.BAD_ALIAS),
        ("attributes", {"user_alias": "n"}, messages.BAD_ALIAS),
        ("attributes", {"email": "nobody"}, "EMAIL_BAD_FORMAT"),
        ("attributes", {"external_id": "spam"}, "BLACKLISTED_EXTERNAL_USER_ID"),
        (
            "attributes",
            {"external_id": "a", "email_subscribe": "yes"},
            "BAD_EMAIL_SUBSCRIPTION_STATE",
        ),
        (
            "attributes",
            {"external_id": "a", "push_subscribe": "yes"},
            "BAD_PUSH_SUBSCRIPTION_STATE",
        ),
        (
            "attributes",
            {"external_id": "a", "current_location": {"latitude": 1}},
            "BAD_LOCATION_UPDATE",
        ),
        (
            "attributes",
            {"external_id": "a", "email_subscription_info": {}},
            "INVALID_ATTRIBUTE_EMAIL_SUBSCRIPTION_INFO",
        ),
        (
            "attributes",
            {"external_id": "a", "push_token_import": True},
            "BAD_PUSH_TOKEN_IMPORT",
        ),
        (
            "attributes",
            {"external_id": "a", "push_tokens": "t"},
            "BAD_PUSH_TOKEN_VALUE",
        ),
        (
            "attributes",
            {"external_id": "a", "push_tokens": [{"token": "t"}]},
            "BAD_PUSH_TOKEN_APP_ID",
        ),
        (
            "attributes",
            {"external_id": "a", "push_tokens": [{"app_id": "p"}]},
            "BAD_PUSH_TOKEN_STRING",
        ),
        (
            "attributes",
            {
                "external_id": "a",
                "push_tokens": [{"app_id": "p", "token": "t", "device_id": "d"}],
            },
            "BAD_DEVICE_ID",
        ),
        (
            "attributes",
            {"external_id": "a", "subscription_groups": {}},
            "BAD_SUBSCRIPTION_GROUP_ARRAY",
        ),
        (
            "attributes",
            {"external_id": "a", "subscription_groups": ["g"]},
            "BAD_SUBSCRIPTION_GROUP_HASH",
        ),
        (
            "attributes",
            {"external_id": "a", "subscription_groups": [{}]},
            "BAD_SUBSCRIPTION_GROUP_ID",
        ),
        (
            "attributes",
            {
                "external_id": "a",
                "subscription_groups": [
                    {"subscription_group_id": "g", "subscription_state": "maybe"}
                ],
            },
            "BAD_SUBSCRIPTION_GROUP_STATE",
        ),
        ("events", {"external_id": "a", "time": "2026-01-01"}, "'name' is required"),
        (
            "events",
            {"external_id": "a", "name": "e", "time": "soon"},
            "'time' is required, in ISO 8601",
        ),
        (
            "events",
            {"external_id": "a", "name": "e", "properties": {"time": 1}},
            "'time' is no valid property name",
        ),
        ("purchases", {"external_id": "a"}, "'product_id' is not valid"),
        (
            "purchases",
            {"external_id": "a", "product_id": "p", "currency": "euro"},
            "'currency' is not valid",
        ),
        (
            "purchases",
            {"external_id": "a", "product_id": "p", "currency": "EUR"},
            "'price' is not valid",
        ),
        (
            "purchases",
            {
                "external_id": "a",
                "product_id": "p",
                "currency": "EUR",
                "price": 1,
                "quantity": 101,
            },
            "'quantity' is not valid",
        ),
    ],
)
def test_points_13_14_and_16_why_an_object_is_refused(
    array: str, item: dict[str, Any], fault: str
) -> None:
    """Points 13, 14, 16: each fault has its name or sentence, and a request with a
    refused object alone is a 400 that creates nobody.
    """
    state = State(options=Options(error_form="enum", spam_blocked=frozenset({"spam"})))
    status, answer = track.track(state, {array: [item]})
    assert (status, answer["message"]) == (400, messages.NOTHING_VALID)
    assert answer["errors"] == [{"type": fault, "input_array": array, "index": 0}]
    assert (state.profiles, state.n_data_points) == ({}, 0)


def test_point_14_nothing_sent_is_400_and_creates_nobody(state: State) -> None:
    """Point 14: no arrays and empty arrays have the same answer as objects that are all
    invalid, without errors.
    """
    for body in (
        {},
        {"attributes": []},
        {"attributes": [], "events": [], "purchases": []},
    ):
        assert track.track(state, body) == (400, {"message": messages.NOTHING_VALID})
    assert len(state.profiles) == 2


@pytest.mark.parametrize(
    ("identifier", "by_default", "if_true", "if_false"),
    [
        ({"external_id": "new"}, 1, 0, 1),
        ({"user_alias": ALIAS}, 0, 0, 1),
        ({"braze_id": "new"}, 0, 0, 0),
        ({"email": "n@x.de"}, 1, 0, 1),
        ({"phone": "+49"}, 1, 0, 1),
    ],
)
def test_point_15_unknown_users(
    identifier: dict[str, Any], by_default: int, if_true: int, if_false: int
) -> None:
    """Point 15: the identifier decides whether a write creates an unknown user; a write
    that doesn't counts as processed, and is noted as silent.
    """
    for only, created in (
        ({}, by_default),
        ({"_update_existing_only": True}, if_true),
        ({"_update_existing_only": False}, if_false),
    ):
        state = State()
        answer = track.track(state, one(**identifier, **only, x=1))
        assert answer == (201, {"message": "success", "attributes_processed": 1})
        assert (state.n_created, len(state.profiles)) == (created, created)
        assert state.silent == ["unknown user, update only"] * (1 - created)
        if created:
            assert (
                track.track(state, one(**identifier, _update_existing_only=True, x=2))[
                    0
                ]
                == 201
            )
            assert state.attribute_values("x") == {"2": 1}


def test_point_16_a_refused_object_changes_nothing(state: State) -> None:
    """Point 16: a refused object beside a valid one neither creates nor writes."""
    bad = {"external_id": "a", "x": 9, "email_subscribe": "yes"}
    assert (
        track.track(state, {"attributes": [bad, *many(1, "b")]})[1][
            "attributes_processed"
        ]
        == 1
    )
    assert state.attribute_values("x") == {"0": 1}


def test_point_17_profiles_that_share_an_email() -> None:
    """Point 17: an e-mail finds, of the profiles that share it, the last updated one
    with an external_id; e-mail goes before phone.
    """
    state = State()
    track.track(state, one(email="s@x.de", y=0))
    numbers = {"old": "+491", "new": "+492"}
    for who in ("old", "new", "old"):
        track.track(state, one(external_id=who, email="s@x.de", phone=numbers[who]))
    track.track(state, one(email="s@x.de", phone="+492", x=1))
    assert state.profiles["external_id", "old"].attributes == {"x": 1}
    track.track(
        state, one(phone="+492", x=2)
    )  # "old" took this number too, and was updated later
    assert state.profiles["external_id", "old"].attributes == {"x": 2}
    track.track(state, one(external_id="old", email=None, phone="+493"))
    track.track(state, one(email="s@x.de", x=3))
    assert state.profiles["external_id", "new"].attributes == {"x": 3}
    assert len(state.profiles) == 3


def test_point_17_a_phone_number_has_one_form() -> None:
    """Point 17: spaces and brackets say nothing, ten digits are a US number, and what
    holds no digit is no number; an export finds and shows the one form.
    """
    state = State()
    for written in ("+1 (212) 555-0142", "+12125550142", "212.555.0142"):
        assert track.track(state, one(phone=written, x=1))[0] == 201
    track.track(state, one(external_id="a", phone="(212) 555 0142"))
    assert (len(state.profiles), state.n_created) == (2, 2)
    asked = {"phone": "2125550142"}
    (user,) = reads.export(state, asked)[1]["users"]
    assert (user["external_id"], user["phone"]) == ("a", "+12125550142")
    refused = {"message": messages.NOTHING_VALID}
    for item in ({"phone": "abc"}, {"phone": "+"}, {"external_id": "b", "phone": "-"}):
        status, answer = track.track(state, one(**item, x=1))
        assert (status, answer["message"]) == (400, refused["message"])
        assert answer["errors"][0]["type"] == messages.BAD_PHONE
    assert len(state.profiles) == 2


def test_point_17_a_new_id_with_a_known_email_makes_a_second_profile() -> None:
    """Point 17: the e-mail in a write with a primary id is a value, not a key; the
    second profile is a warning.
    """
    state = State()
    track.track(state, one(external_id="a", email="s@x.de"))
    track.track(state, one(external_id="b", email="s@x.de"))
    assert len(state.profiles) == 2
    assert list(state.warnings) == [
        "an unknown primary id with a known email or phone made a second profile"
    ]


def test_point_17_profiles_put_in_by_hand_are_found() -> None:
    """Point 17: profiles that a test put in are found by any identifier or e-mail."""
    state = State()
    state.profiles["braze_id", "z"] = Profile(
        {"braze_id": "z", "external_id": "e"}, {"email": "s@x.de"}
    )
    for key in ({"braze_id": "z"}, {"external_id": "e"}, {"email": "s@x.de"}):
        track.track(state, one(**key, x=str(key)))
        assert state.attribute_values("x") == {str(key): 1}
    braze_id = state.profiles["braze_id", "z"].braze_id
    state.add_users(["a"])
    assert (braze_id, len(state.profiles["external_id", "a"].braze_id)) == ("z", 24)
    track.track(state, one(braze_id=state.profiles["external_id", "a"].braze_id, x=1))
    assert state.silent == ["x: number where the attribute is string"]
