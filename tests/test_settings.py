"""churn.toml → Study."""

from pathlib import Path

import pytest

from churn.errors import StudyError
from churn.settings import load, parse

MINIMAL = {"extracts": [{"source": "appsflyer", "path": "raw"}]}


def test_everything_but_the_extracts_has_a_default(tmp_path: Path) -> None:
    """A study that holds only extracts works, and its paths start at the study file's
    folder.
    """
    settings = parse(MINIMAL, tmp_path)
    assert (settings.windows.horizon_days, settings.braze.create_unknown_users) == (
        28,
        False,
    )
    assert settings.store_path == tmp_path.resolve() / "data" / "store"
    assert settings.store_address == str(settings.store_path)


def test_the_store_may_be_in_an_object_store(tmp_path: Path) -> None:
    """Its address is kept without a slash at its end, and is no folder."""
    for url in ("s3://bucket/churn/store/", "gs://bucket", "az://box/a_b-c.d=1"):
        settings = parse({**MINIMAL, "store": url}, tmp_path)
        assert settings.store_address == url.rstrip("/")
        with pytest.raises(StudyError, match="isn't a folder on this machine"):
            _ = settings.store_path


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("s3://key:secret@bucket/store", "holds credentials"),
        ("s3://bucket/store?X-Amz-Signature=secret", "must be a folder or an address"),
        ("s3://bucket/my store", "must be a folder or an address"),
        ("s3://bucket//store", "must be a folder or an address"),
        ("s3://", "must be a folder or an address"),
        ("https://bucket/store", "must be a folder or an address"),
        ("", "at least 1 character"),
    ],
)
def test_addresses_that_no_store_can_have(
    tmp_path: Path, address: str, word: str
) -> None:
    """They are refused without quoting them, since they may hold a secret."""
    with pytest.raises(StudyError, match=f"store: .*{word}") as caught:
        parse({**MINIMAL, "store": address}, tmp_path)
    assert "secret" not in str(caught.value)


def test_every_fault_is_named_at_once_with_its_path(tmp_path: Path) -> None:
    """Several faults in one file are all listed, each where it stands, misspelt keys
    with a suggestion.
    """
    data = {
        "extracts": [{"source": "appsflyer", "path": "x", "timezone": "Mars"}],
        "windows": {"horizon_day": 3},
        "braze": {"endpoint": "http://rest.example.com"},
    }
    with pytest.raises(StudyError) as caught:
        parse(data, tmp_path)
    message = str(caught.value)
    assert "3 fault(s)" in message
    assert "extracts.0.timezone" in message
    assert "windows.horizon_day: unknown key; did you mean horizon_days?" in message
    assert "braze.endpoint" in message


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ({"segments": [{"name": "high", "from_probability": 0.5}]}, "the last at 0.0"),
        ({"braze": {"ledger": "postgresql://me:secret@db/x"}}, "CHURN_LEDGER_URL"),
        ({"windows": {"eligible_days": 91}}, "must not exceed"),
        ({"extracts": []}, "extracts"),
    ],
)
def test_rules_between_values_are_checked(
    tmp_path: Path, part: dict, word: str
) -> None:
    """Segments that don't reach down to 0, a password in the file, too wide a window,
    no extracts: each refused.
    """
    with pytest.raises(StudyError, match=word) as caught:
        parse(MINIMAL | part, tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        ([], "list them highest first"),
        (
            [{"name": "high"}, {"name": "low", "from_probability": 0.0}],
            "list them highest first",
        ),
        (
            [{"name": "high", "from_probability": 0.5}, {"name": "low", "share": 0.5}],
            "cut all by from_probability or",
        ),
        (
            [{"name": "high", "share": 0.5}, {"name": "mid"}, {"name": "low"}],
            "each but the last needs a share",
        ),
        (
            [{"name": "high", "share": 0.5}, {"name": "low", "share": 0.4}],
            "the shares add up to 0.9, not 1",
        ),
        (
            [
                {"name": "high", "share": 0.8},
                {"name": "mid", "share": 0.8},
                {"name": "low"},
            ],
            "add up to 1.6, not 1",
        ),
        (
            [{"name": "high", "share": 0.5}, {"name": "low", "capacity": 3}],
            "the last one takes all remaining users",
        ),
        ([{"name": "high", "share": 0.5}, {"name": "high"}], "two share a name"),
        (
            [{"name": "unknown", "share": 0.5}, {"name": "low"}],
            "one has the name of policy.unknown_segment",
        ),
    ],
)
def test_segments_that_make_no_sense_are_refused(
    tmp_path: Path, cut: list, sentence: str
) -> None:
    """Each fault has its sentence, and only its own."""
    with pytest.raises(StudyError, match=sentence) as caught:
        parse(MINIMAL | {"segments": cut}, tmp_path)
    assert ";" not in str(caught.value)


def test_every_fault_of_the_segments_is_named_at_once(tmp_path: Path) -> None:
    """A double name and a capacity on the last one: both are said."""
    cut = [{"name": "high", "share": 0.5}, {"name": "high", "capacity": 3}]
    with pytest.raises(
        StudyError, match="remaining users and can't have a capacity; two share a name"
    ):
        parse(MINIMAL | {"segments": cut}, tmp_path)


def test_the_last_share_may_be_left_out_or_complete_the_others(tmp_path: Path) -> None:
    """Shares of 0.1, 0.2 and 0.7 are one whole, however floats add up."""
    cut = [
        {"name": "high", "share": 0.1},
        {"name": "mid", "share": 0.2},
        {"name": "low", "share": 0.7},
    ]
    assert parse(MINIMAL | {"segments": cut}, tmp_path).segments[2].share == 0.7
    assert (
        parse(MINIMAL | {"segments": [*cut[:2], {"name": "low"}]}, tmp_path)
        .segments[2]
        .share
        is None
    )


def test_the_study_is_frozen(tmp_path: Path) -> None:
    """A study can't be changed after it was read."""
    with pytest.raises(ValueError, match="frozen"):
        parse(MINIMAL, tmp_path).timezone = "Europe/Berlin"


def test_a_missing_file_and_broken_toml_are_said_plainly(tmp_path: Path) -> None:
    """A path that isn't there and a file that isn't TOML each give one sentence naming
    the file.
    """
    with pytest.raises(StudyError, match="there is no study file"):
        load(tmp_path / "none.toml")
    (tmp_path / "churn.toml").write_text("[[extracts]\n")
    with pytest.raises(StudyError, match=r"churn\.toml can't be read"):
        load(tmp_path / "churn.toml")


def test_the_ledger_address_comes_from_the_environment_if_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CHURN_LEDGER_URL wins over the study, so that a password never stands in a
    file.
    """
    settings = parse(MINIMAL, tmp_path)
    monkeypatch.delenv("CHURN_LEDGER_URL", raising=False)
    assert settings.ledger_url == f"sqlite:///{tmp_path.resolve()}/data/store/ledger.db"
    monkeypatch.setenv("CHURN_LEDGER_URL", "postgresql+psycopg://db/churn")
    assert settings.ledger_url == "postgresql+psycopg://db/churn"
