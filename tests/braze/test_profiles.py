"""What Braze holds beside what the ledger says, and a trial write to one profile."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from churn.braze import check, export, profiles, trial
from churn.braze.delivery import Delivery, open_ledger
from churn.braze.key import KEY_VARIABLE
from churn.braze.ledger import history
from churn.sandbox import server
from churn.sandbox.options import EXPORT, Options
from churn.sandbox.profiles import Profile
from churn.sandbox.server import Sandbox
from churn.settings import Settings

KEY = "key-of-this-workspace"
DAY = date(2026, 3, 1)
PASSED = pl.DataFrame({"gate": ["x"], "passed": [True], "sentence": [""]})
USERS = ["a", "b", "c"]
Make = Callable[..., Settings]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right key is in the environment."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)


def at(sandbox: Sandbox, make_study: Make, **braze: Any) -> Settings:
    """A study that writes every attribute to the sandbox."""
    names = {
        "decile_attribute": "churn_decile",
        "changed_attribute": "churn_since",
        "reason_attribute": "churn_reason",
    }
    return make_study(braze={"endpoint": sandbox.url, **names, **braze})


def send(settings: Settings, run_id: str, users: list[str], segment: str) -> None:
    """Export the same segment for all these users."""
    table = pl.DataFrame({"identifier": users}).with_columns(
        segment=pl.lit(segment),
        score=pl.lit(50),
        decile=pl.lit(7),
        cutoff=pl.lit(DAY),
        reason_1=pl.lit("risky_silence"),
    )
    export.run(table, PASSED, Delivery(settings, run_id, send=True, progress=False))


def profile_line(settings: Settings, n: int = 50) -> tuple[bool, str]:
    """What the check says of profiles."""
    lines = {line.name: line for line in check.run(settings, n_sample=n)}
    return lines["profiles"].is_ok, lines["profiles"].message


def test_profiles_that_hold_what_the_ledger_says_are_ok(make_study: Make) -> None:
    """Text, number and date are compared; of 120 users a request reads fifty."""
    users = [f"u{i}" for i in range(120)]
    with server.running(key=KEY, known_users=users) as sandbox:
        settings = at(sandbox, make_study)
        assert "before the first export" in profile_line(settings)[1]
        send(settings, "r1", users, "high")
        assert profile_line(settings) == (
            True,
            "50 of 120 synced users read back in 1 request: "
            "50 hold what the ledger says",
        )
        assert "in 3 requests: 120 hold" in profile_line(settings, 120)[1]


def test_a_second_study_with_the_same_attributes_is_noticed(make_study: Make) -> None:
    """Its ledger is another one, so the first goes on to find nothing changed; the
    profiles tell.
    """
    with server.running(key=KEY, known_users=USERS) as sandbox:
        first = at(sandbox, make_study)
        second = at(sandbox, make_study, ledger="sqlite:///data/other.db")
        send(first, "r1", USERS, "high")
        send(second, "r1", USERS, "low")
        send(first, "r2", USERS, "high")
        fine, said = profile_line(first)
        assert not fine
        assert (
            "0 hold what the ledger says. churn_segment has another value in 3" in said
        )
        assert profile_line(second)[0]


def test_missing_profiles_are_counted(make_study: Make) -> None:
    """Some may be unknown to Braze; if all are, the identifier is the wrong one."""
    with server.running(key=KEY, known_users=USERS) as sandbox:
        settings = at(sandbox, make_study)
        send(settings, "r1", USERS, "high")
        del sandbox.state.profiles["external_id", "b"]
        fine, said = profile_line(settings)
        assert fine
        assert "2 hold what the ledger says. 1 have no profile: deleted or" in said
        sandbox.state.profiles.clear()
        fine, said = profile_line(settings)
        assert not fine
        assert "is braze.identifier right?" in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            Options(blocklist=frozenset(["churn_segment"])),
            "churn_segment is absent in 3",
        ),
        (Options(forced_types={"churn_segment": "number"}), "churn_segment is absent"),
        (
            Options(forced_types={"churn_score": "string"}),
            "churn_score is of another type in 3: its type was changed",
        ),
    ],
)
def test_what_braze_takes_and_does_not_keep_is_noticed(
    make_study: Make, options: Options, sentence: str
) -> None:
    """Braze acknowledges a write to a blocklisted attribute and one of a wrong type."""
    with server.running(key=KEY, known_users=USERS, options=options) as sandbox:
        settings = at(sandbox, make_study)
        send(settings, "r1", USERS, "high")
        fine, said = profile_line(settings)
    assert not fine
    assert sentence in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            Options(permissions=frozenset(["users.track"])),
            "from the ledger alone: the key lacks the permission users.export.ids",
        ),
        (Options(other_limits={EXPORT: (0, 60.0)}), "limits reads (429)"),
    ],
)
def test_a_key_that_may_not_read_is_fine(
    make_study: Make, options: Options, sentence: str
) -> None:
    """An export needs no such permission; the line says what is not known then."""
    with server.running(key=KEY, known_users=USERS, options=options) as sandbox:
        settings = at(sandbox, make_study)
        send(settings, "r1", USERS, "high")
        fine, said = profile_line(settings)
    assert fine
    assert sentence in said


@pytest.mark.parametrize(
    ("braze", "found_by"),
    [
        ({"identifier": "user_alias", "alias_label": "idfv"}, "user_alias"),
        ({"identifier": "braze_id"}, "braze_id"),
        ({"identifier": "email"}, "email"),
    ],
)
def test_profiles_are_found_by_any_identifier(
    make_study: Make, braze: dict[str, Any], found_by: str
) -> None:
    """Aliases come fifty a request; other kinds one, and of those ten at most."""
    users = [f"user{i}@example.com" for i in range(12)]
    with server.running(key=KEY) as sandbox:
        for user in users:
            value = f"idfv:{user}" if found_by == "user_alias" else user
            profile = Profile({found_by: value})
            if found_by == "email":
                profile = Profile({"external_id": user}, fields={"email": user})
            sandbox.state.profiles[found_by, value] = profile
        settings = at(sandbox, make_study, **braze)
        send(settings, "r1", users, "high")
        fine, said = profile_line(settings)
    n_read, n_requests = (10, "10 requests")
    if found_by == "user_alias":
        n_read, n_requests = (12, "1 request")
    assert (fine, said) == (
        True,
        f"{n_read} of 12 synced users read back in {n_requests}: "
        f"{n_read} hold what the ledger says",
    )


@pytest.mark.parametrize(
    ("expected", "held", "difference"),
    [
        ("high", "high", None),
        (87, 87.0, None),
        (1, True, profiles.OTHER_TYPE),
        (87, "87", profiles.OTHER_TYPE),
        ("high", "low", profiles.OTHER_VALUE),
        ("high", None, profiles.ABSENT),
        (None, None, None),
        (None, "high", profiles.OTHER_VALUE),
        ("2026-03-01", "2026-03-01T00:00:00.000Z", None),
        ("2026-03-01", "2026-03-02T00:00:00.000Z", profiles.OTHER_VALUE),
    ],
)
def test_values_are_compared_as_braze_shows_them(
    expected: Any, held: Any, difference: str | None
) -> None:
    """Braze shows a date as a time, and a removed attribute not at all."""
    assert profiles._difference(expected, held) == difference


def test_an_address_of_several_profiles_is_held_by_the_best() -> None:
    """Braze updates one of them."""
    compared = profiles.Compared()
    compared.add({"x": 1}, [{"x": 2}, {"x": 1}])
    assert (compared.n_same, compared.is_ok) == (1, True)


def test_a_trial_write_says_what_to_look_for(make_study: Make) -> None:
    """Every attribute gets a test value of its type. The run can be taken back."""
    with server.running(key=KEY, known_users=USERS) as sandbox:
        settings = at(sandbox, make_study)
        send(settings, "r1", USERS, "high")
        now = datetime(2026, 5, 1, 12, tzinfo=UTC)
        lines = {
            line.name: line for line in trial.run(settings, "a", "test-1", now=now)
        }
        held = sandbox.state.profiles["external_id", "a"].attributes
        assert (held["churn_segment"], held["churn_score"]) == ("churn_test", 1)
        assert held["churn_decile"] == 1
        assert held["churn_since"] == datetime(2026, 5, 1, tzinfo=UTC)
        assert all(line.is_ok for line in lines.values())
        assert (
            'churn_segment = "churn_test", churn_score = 1' in lines["profile"].message
        )
        assert "churn_segment, equals, churn_test" in lines["filter"].message
        assert "holds these values now" in lines["read back"].message
        assert "churn braze restore test-1 --send" in lines["take back"].message
        export.restore("test-1", Delivery(settings, "back", send=True, progress=False))
        assert held["churn_segment"] == "high"


def test_the_next_export_writes_over_a_trial(make_study: Make) -> None:
    """Of a scored user and of one who isn't; the trial itself can be repeated."""
    with server.running(key=KEY, known_users=USERS) as sandbox:
        settings = at(sandbox, make_study)
        send(settings, "r1", ["a"], "high")
        for number, user in enumerate(["a", "a", "b"]):
            first = next(trial.run(settings, user, f"test-{number}"))
            assert first.is_ok, first.message
        send(settings, "r2", ["a"], "high")
        held = {
            user: sandbox.state.profiles["external_id", user].attributes
            for user in ("a", "b")
        }
        assert held["a"]["churn_segment"] == "high"
        assert held["b"] == {}
        with open_ledger(settings) as ledger:
            whats = history.runs(ledger)["what"].to_list()
        assert whats == ["export", "check", "check", "check", "export"]


def test_a_trial_creates_no_profile(make_study: Make) -> None:
    """Even if the study may create users: an id may be mistyped."""
    with server.running(key=KEY, known_users=USERS) as sandbox:
        settings = at(sandbox, make_study, create_unknown_users=True)
        lines = {line.name: line for line in trial.run(settings, "x", "test-1")}
        assert len(sandbox.state.profiles) == len(USERS)
    assert (lines["profile"].is_ok, lines["read back"].is_ok) == (True, False)
    assert "no such profile" in lines["read back"].message


def test_a_trial_needs_no_permission_to_read(make_study: Make) -> None:
    """Then a person looks."""
    options = Options(permissions=frozenset(["users.track"]))
    with server.running(key=KEY, known_users=USERS, options=options) as sandbox:
        settings = at(sandbox, make_study)
        lines = {line.name: line for line in trial.run(settings, "a", "test-1")}
        assert sandbox.state.profiles["external_id", "a"].attributes
    assert all(line.is_ok for line in lines.values())
    assert "not possible: the key lacks" in lines["read back"].message


def test_a_trial_that_braze_refuses_is_one_line(make_study: Make) -> None:
    """A key without the permission to write, and an identifier that is refused."""
    for options, user, sentence in (
        (Options(permissions=frozenset()), "a", "denies access (403)"),
        (Options(spam_blocked=frozenset("a")), "a", "rejected: "),
        (Options(), "", "rejected: the identifier is empty"),
    ):
        with server.running(key=KEY, known_users=USERS, options=options) as sandbox:
            settings = at(sandbox, make_study)
            (line,) = trial.run(settings, user, f"test-{sandbox.url}")
        assert not line.is_ok
        assert sentence in line.message
