"""The set-up check: each thing that can be wrong is one line that says what to do."""

from collections.abc import Callable

import polars as pl
import pytest

from churn.braze import check, client
from churn.sandbox import server
from churn.sandbox.options import Options
from churn.sandbox.server import Sandbox
from churn.settings import Settings

KEY = "secret-key-5f2a"
Make = Callable[..., Settings]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right key is in the environment."""
    monkeypatch.setenv(client.KEY_VARIABLE, KEY)


def lines(
    settings: Settings, findings: pl.DataFrame | None = None
) -> dict[str, tuple[bool, str]]:
    """Whether each line is ok, and its message, by name."""
    return {
        line.name: (line.is_ok, line.message) for line in check.run(settings, findings)
    }


def at(sandbox: Sandbox, make_study: Make, **braze: object) -> Settings:
    """A study that delivers to the sandbox."""
    return make_study(braze={"endpoint": sandbox.url, **braze})


def test_a_good_set_up_is_ok_on_every_line_and_changes_nothing(
    make_study: Make,
) -> None:
    """The trial write is update-only, reaches no user and creates none."""
    with server.running(key=KEY, known_users=["a"]) as sandbox:
        found = lines(at(sandbox, make_study))
        assert all(fine for fine, _ in found.values()), found
        expected = "endpoint attributes ledger match_rate key connection permission"
        names = [name.replace(" ", "_") for name in found]
        assert names == [*expected.split(), "clock", "limits", "profiles"]
        assert sandbox.state.silent == ["unknown user, update only"]
        assert (len(sandbox.state.profiles), sandbox.state.n_created) == (1, 0)
    assert "limit 3000" in found["limits"][1]
    assert KEY not in str(found)


@pytest.mark.parametrize(
    "braze",
    [
        {"identifier": "user_alias", "alias_label": "idfv"},
        {"identifier": "braze_id"},
        {"identifier": "email"},
        {"identifier": "phone", "create_unknown_users": True},
    ],
)
def test_the_trial_write_reaches_no_user_by_any_identifier(
    make_study: Make, braze: dict[str, object]
) -> None:
    """Even if the study may create users, the check may not."""
    with server.running(key=KEY) as sandbox:
        found = lines(at(sandbox, make_study, **braze))
        assert found["permission"][0], found
        assert (len(sandbox.state.profiles), sandbox.state.n_created) == (0, 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Options(permissions=frozenset()), "the key needs the permission users.track"),
        (Options(permissions=frozenset()), "with bulk = true users.track.bulk"),
        (Options(permissions=frozenset()), "list of allowed IP addresses"),
        (Options(inactive=True), "denies access (403)"),
    ],
)
def test_a_key_that_may_not_write_is_explained(
    make_study: Make, options: Options, sentence: str
) -> None:
    """A known key without the permission, and one of an inactive account, get a
    sentence with the cure.
    """
    with server.running(key=KEY, options=options) as sandbox:
        fine, said = lines(at(sandbox, make_study))["permission"]
    assert not fine
    assert sentence in said


def test_a_wrong_key_is_not_shown(
    make_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server repeats it, and no line does."""
    monkeypatch.setenv(client.KEY_VARIABLE, "wrong-key-77")
    with server.running(key=KEY, options=Options(echo_key=True)) as sandbox:
        found = lines(at(sandbox, make_study))
    assert "does not accept the key" in found["permission"][1]
    assert "wrong-key-77" not in str(found)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ('"secret"', "holds quotes"),
        ("Bearer secret", "the word Bearer"),
        ("Bearersecret", "the word Bearer"),
        ("", "is not set"),
    ],
)
def test_a_key_that_was_copied_wrongly_is_noticed(
    make_study: Make, monkeypatch: pytest.MonkeyPatch, key: str, sentence: str
) -> None:
    """Quotes, the word Bearer, or nothing at all."""
    monkeypatch.setenv(client.KEY_VARIABLE, key)
    fine, said = lines(make_study(braze={"endpoint": "http://127.0.0.1:9"}))["key"]
    assert not fine
    assert sentence in said


@pytest.mark.parametrize(
    ("endpoint", "fine", "sentence"),
    [
        ("https://rest.fra-02.braze.eu", True, "a REST endpoint of Braze"),
        ("https://REST.kr-01.braze.com:443/", True, "a REST endpoint of Braze"),
        ("https://dashboard-02.braze.eu", False, "is https://rest.fra-02.braze.eu"),
        ("https://dashboard.braze.com", False, "is https://rest.iad-01.braze.com"),
        ("https://dashboard.us-10.braze.com", False, "is https://rest.us-10.braze.com"),
        ("https://sdk.fra-02.braze.eu", False, "is https://rest.fra-02.braze.eu"),
        ("https://sdk.example.com", False, "is https://rest.INSTANCE.braze.com"),
        ("https://rest.fra-02.braze.com", True, "you mean rest.fra-02.braze.eu?"),
        ("https://rest.iad-01.braze.eu", True, "you mean rest.iad-01.braze.com?"),
        (
            "https://rest.iad-09.braze.com",
            True,
            "not an instance that Braze lists; did",
        ),
        ("https://rest.fra02.braze.eu", True, "you mean rest.fra-02.braze.eu?"),
        ("https://churn.braze.com", True, "not an instance that Braze lists"),
        ("https://proxy.example.com", True, "not a host of Braze"),
        ("http://127.0.0.1:8600", True, "workspace default: on this machine, so not"),
    ],
)
def test_the_endpoint_must_be_that_for_rest(
    make_study: Make,
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str,
    fine: bool,
    sentence: str,
) -> None:
    """The hosts of dashboard and SDK are refused with the right one; a host that Braze
    doesn't list gets a note and, if it resembles one, a question.
    """
    monkeypatch.delenv(client.KEY_VARIABLE)
    found = lines(make_study(braze={"endpoint": endpoint}))["endpoint"]
    assert found[0] is fine
    assert sentence in found[1]


def test_without_an_answer_the_connection_is_the_last_line(make_study: Make) -> None:
    """Without an answer permission, clock and limits are unknown."""
    found = lines(make_study(braze={"endpoint": "http://127.0.0.1:9"}))
    assert list(found)[-1] == "connection"
    assert "nothing listens" in found["connection"][1]


def test_names_and_ledger_are_checked_too(
    make_study: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reserved name and an unreachable ledger fail, without a password in a line."""
    monkeypatch.setenv(
        "CHURN_LEDGER_URL", "postgresql+psycopg://me:pass-word-1@127.0.0.1:9/x"
    )
    found = lines(
        make_study(
            braze={"endpoint": "http://127.0.0.1:9", "segment_attribute": "email"}
        )
    )
    assert (found["attributes"][0], found["ledger"][0]) == (False, False)
    assert "pass-word-1" not in str(found)


@pytest.mark.parametrize("passed", [True, False])
def test_the_match_rate_is_that_of_the_newest_scores(
    make_study: Make, passed: bool
) -> None:
    """The line has the finding's own sentence; before the first scoring it
    is unknown.
    """
    rows = {
        "gate": ["missing_day", "match_rate"],
        "passed": [True, passed],
        "sentence": ["x", "12 of 20 have one"],
    }
    settings = make_study(braze={"endpoint": "http://127.0.0.1:9"})
    assert lines(settings, pl.DataFrame(rows))["match rate"] == (
        passed,
        "12 of 20 have one",
    )
    assert "not known before" in lines(settings)["match rate"][1]


@pytest.mark.parametrize(
    ("date", "fine"),
    [("Sat, 01 Jan 2000 00:00:00 GMT", False), ("nonsense", True), (None, True)],
)
def test_a_clock_that_is_off_is_noticed(date: str | None, fine: bool) -> None:
    """A clock years apart is stated in seconds; a server without a date is ok."""
    line = check._clock({} if date is None else {"date": date}, sent_at=1_700_000_000.0)
    assert line.is_ok is fine
    assert ("set this machine's clock" in line.message) is not fine
