"""What may be kept: consent, limited tracking, personal data in properties, and
erasure.
"""

import hashlib
import io
import json
import random
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from churn import forget
from churn.braze import client, export
from churn.braze.delivery import Delivery, Export
from churn.cli import app
from churn.errors import InputError, TerminalBrazeError
from churn.events import addresses, erasure, identity, ingest, privacy
from churn.sandbox import server
from churn.settings import Settings
from churn.store import Store, compaction, open_filled

from ..conftest import SHARED
from ..object_server import Server

NOW = datetime(2026, 3, 25, tzinfo=UTC)


def cleaned(text: str, settings: Settings) -> str:
    """Properties after scrubbing."""
    return str(pl.select(privacy.scrubbed(pl.lit(text), settings)).item())


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('{"email": "ann@example.org", "level": "3"}', "ann@"),
        ('{"userEmail":"not an address"}', "not an address"),
        ('{"customer_phone": 491701234567}', "491701234567"),
        ('{"note": "write to ann.b+c@mail.example.org now"}', "ann.b"),
        ('{"page_location": "https://x.test/?u=ann%40example.org&p=1"}', "ann%40"),
        ('{"x": "call +49 170 1234567 today"}', "1234567"),
        ('{"x": "from 203.0.113.17 here"}', "203.0.113"),
        ('{"ip": "whatever"}', "whatever"),
        ('{"x": "2001:db8:85a3:0:0:8a2e:370:7334"}', "8a2e"),
        ('{"First_Name": "Ann \\"A\\" Lee"}', "Lee"),
        ('{"lat": 52.5200, "lng": 13.4050}', "13.405"),
        ('[{"key":"email","value":{"string_value":"x y","int_value":null}}]', "x y"),
        ('{"push_token": "abc"}', "abc"),
        ('{"gaid": "2e32ab6c-c3f2-42ff-aa13-1181941f1ea2"}', "2e32ab6c"),
        ('{"loyalty card": "4711"}', "4711"),
        ('{"x": "member KD-123456"}', "123456"),
    ],
)
def test_personal_data_inside_properties_is_removed(
    text: str, secret: str, make_study: Callable[..., Settings]
) -> None:
    """It is recognised by the property's name, by its form and by the study's own
    rules, and the text stays JSON.
    """
    settings = make_study(
        privacy={"scrub_keys": ["loyalty card"], "scrub_patterns": [r"KD-\d+"]}
    )
    got = cleaned(text, settings)
    assert secret not in got
    assert erasure.REMOVED in got
    json.loads(got)


def test_a_study_may_scrub_thousands_of_names(
    make_study: Callable[..., Settings],
) -> None:
    """The last of 5,000 names of 16 letters is removed like the first."""
    letters = random.Random(1)
    keys = ["".join(letters.choices(ascii_lowercase, k=16)) for _ in range(5000)]
    settings = make_study(privacy={"scrub_keys": keys})
    text = f'{{"{keys[0]}": "Ann", "plan": "basic", "{keys[-1]}": "Lee"}}'
    kept = {keys[0]: erasure.REMOVED, "plan": "basic", keys[-1]: erasure.REMOVED}
    assert json.loads(cleaned(text, settings)) == kept


def test_what_is_not_personal_stays(make_study: Callable[..., Settings]) -> None:
    """Amounts, versions, times, product names and ordinary ids are unchanged."""
    text = (
        '{"af_revenue": "19,90", "v": "4.12.0", "at": "2026-03-08 10:00:00", '
        '"item": "sku-1", "n": 12345678901}'
    )
    assert cleaned(text, make_study()) == text


TABLE = "user_id,event,time,consent,limited,idfa,idfv\n"
IDFA, IDFV = (
    "0c28c9f5-bb8f-41e4-a548-ba950ee593c7",
    "e7af8f3a-41ba-452a-abce-86d848575233",
)


@pytest.mark.parametrize(
    ("setting", "kept", "reasons"),
    [
        ({}, ["b", "c"], {"consent_refused": 1}),
        ({"refused_consent": "keep"}, ["a", "b", "c"], {}),
        (
            {"limited_tracking": "drop"},
            ["c"],
            {"consent_refused": 1, "tracking_limited": 1},
        ),
    ],
)
def test_consent_is_honoured_as_the_study_says(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    setting: dict[str, str],
    kept: list[str],
    reasons: dict[str, int],
) -> None:
    """Refused consent drops a row by default, limited tracking only if the study says
    so, and both are counted.
    """
    (tmp_path / "events.csv").write_text(
        TABLE
        + "a,open,2026-03-01,no,,,\n"
        + f"b,open,2026-03-01,yes,1,{IDFA},{IDFV}\n"
        + "c,open,2026-03-01,,,,\n"
    )
    settings = make_study(privacy=setting)
    result = ingest.ingest(settings, NOW, progress=False)
    assert dict(result.reasons.iter_rows()) == reasons
    log = open_filled(settings).scan("events").sort("user_id").collect()
    assert log["user_id"].to_list() == kept


def test_limited_tracking_unlinks_the_advertising_id(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """By default the row stays and its vendor id joins, but the advertising id does
    not.
    """
    (tmp_path / "events.csv").write_text(
        TABLE + f"b,open,2026-03-01,,1,{IDFA},{IDFV}\n"
    )
    settings = make_study()
    ingest.ingest(settings, NOW, progress=False)
    assert open_filled(settings).scan("edges").collect()["id"].to_list() == [
        f"idfv:{IDFV}"
    ]


def test_addresses_are_kept_only_where_braze_is_addressed_by_them(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """An e-mail column becomes an edge if the identifier is email, and is not stored
    otherwise.
    """
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,email\na,open,2026-03-01,Ann@Example.org\n"
    )
    settings = make_study()
    ingest.ingest(settings, NOW, progress=False)
    assert found_in(settings.store_path, "ann@example.org") == []
    other = make_study(store="other", braze={"identifier": "email"})
    ingest.ingest(other, NOW, progress=False)
    store = open_filled(other)
    found = addresses.identifiers(store, pl.Series(["a"]), date(2026, 3, 5))
    assert found["identifier"].to_list() == ["ann@example.org"]


def found_in(folder: Path, *texts: str) -> list[str]:
    """Files that hold any of the texts, as bytes or inside a Parquet column or SQLite
    table.
    """
    hits = []
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        content = file.read_bytes()
        if file.suffix == ".parquet":
            rows = pl.read_parquet(file, hive_partitioning=False)
            content += str([rows[c].to_list() for c in rows.columns]).encode()
        if content.startswith(b"SQLite"):
            with sqlite3.connect(file) as book:
                content += "\n".join(book.iterdump()).encode()
        if any(text.lower().encode() in content.lower() for text in texts):
            hits.append(str(file.relative_to(folder)))
    return hits


def found_anywhere(store: Store, *texts: str) -> list[str]:
    """Names of a store's files that hold any of the texts, in a folder or elsewhere.

    Logs, checkpoints and what processes left count too. Every Parquet column is
    decoded.
    """
    hits = []
    for name in store.place.names():
        content = store.place.read(name) or b""
        if name.endswith(".parquet"):
            rows = pl.read_parquet(io.BytesIO(content), hive_partitioning=False)
            content += str(rows.to_dicts()).encode()
        if any(text.encode() in content for text in texts):
            hits.append(name)
    return hits


N_PEOPLE = 200


def people(raw: Path, number: int) -> None:
    """The extract file of one night, with 200 people of whom one device each is known."""
    rows = [
        f"person-{i:03d},machine-{i:03d},open,2026-03-{number + 1:02d}T10:{i % 60:02d}:00"
        for i in range(N_PEOPLE)
    ]
    raw.mkdir(exist_ok=True)
    text = "user_id,anonymous_id,event,time\n" + "\n".join(rows)
    (raw / f"{number}.csv").write_text(text)


@pytest.mark.parametrize("address", ["data/store", "s3://exports/store"])
def test_no_byte_of_an_erased_person_is_left(
    address: str,
    tmp_path: Path,
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
) -> None:
    """After appends, a compaction and an erasure neither data nor logs, checkpoints or
    leftovers hold the ids with the least and the greatest value of their buckets, which
    statistics of columns would quote.
    """
    settings = make_study(store=address, extracts=[{"source": "table", "path": "raw"}])
    for number in range(3):
        if number == 2:
            monkeypatch.setattr(compaction, "COMMITS", 1)
            monkeypatch.setattr(compaction, "FILES", 0)
        people(tmp_path / "raw", number)
        ingest.ingest(settings, NOW, progress=False)
    store = open_filled(settings)
    users = store.rows_of("users", range(store.n_buckets)).collect()
    extremes = users.group_by("bucket").agg(
        least=pl.col("user_id").min(), greatest=pl.col("user_id").max()
    )
    chosen = sorted({*extremes["least"], *extremes["greatest"]})
    ids = [*chosen, *(user.replace("person", "machine") for user in chosen)]
    store.place.write("users/bucket=0/left.parquet#1", ids[0].encode())
    assert len(found_anywhere(store, *ids)) > 5
    forget.forget(settings, chosen)
    assert found_anywhere(open_filled(settings), *ids) == []
    others = open_filled(settings).scan("users").collect()["user_id"]
    assert others.n_unique() == N_PEOPLE - len(chosen)


@pytest.mark.parametrize(
    ("privacy", "secret"),
    [
        ({"refused_consent": "drop"}, "refuser-1"),
        ({"refused_consent": "keep", "scrub_keys": ["hobby"]}, "annie-the-first"),
    ],
)
def test_a_stricter_rule_removes_what_it_forbids_from_the_disk(
    privacy: dict[str, Any],
    secret: str,
    tmp_path: Path,
    make_study: Callable[..., Settings],
) -> None:
    """The next ingest reads the files again, and no file of the store holds the rows or
    texts that may no longer be kept.
    """
    (tmp_path / "events.csv").write_text(
        "user_id,event,time,consent,properties\n"
        "refuser-1,open,2026-03-01,no,\n"
        'somebody-2,open,2026-03-01,yes,"{""hobby"": ""annie-the-first""}"\n'
        "somebody-3,open,2026-03-02,yes,\n"
    )
    settings = make_study(privacy={"refused_consent": "keep"})
    ingest.ingest(settings, NOW, progress=False)
    assert found_anywhere(open_filled(settings), secret)
    stricter = make_study(privacy=privacy)
    ingest.ingest(stricter, NOW, progress=False)
    assert found_anywhere(open_filled(stricter), secret) == []
    assert "somebody-3" in open_filled(stricter).scan("users").collect()["user_id"]


ROWS = """user_id,anonymous_id,gaid,event,time,properties
cust-1001,dev-ann-1,2e32ab6c-c3f2-42ff-aa13-1181941f1ea2,open,2026-03-01,
,dev-ann-1,,install,2026-02-27,
,dev-ann-2,2e32ab6c-c3f2-42ff-aa13-1181941f1ea2,open,2026-02-28,
cust-1001,tablet-1,,open,2026-03-02,
cust-2002,tablet-1,,open,2026-03-03,"{""invited_by"": ""cust-1001""}"
cust-2002,dev-ben-1,,open,2026-03-04,
cust-1001,dev-ann-1,,open,yesterday,
"""
ANN = ("cust-1001", "dev-ann-1", "dev-ann-2", "2e32ab6c-c3f2-42ff-aa13-1181941f1ea2")


@pytest.fixture
def delivered(
    tmp_path: Path, make_study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A study with Ann and Ben in the log, in a scores file and in the ledger, both
    delivered to Braze.
    """
    monkeypatch.setenv(client.KEY_VARIABLE, "key-1")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/events.csv").write_text(ROWS)
    with server.running(key="key-1", known_users=["cust-1001", "cust-2002"]) as sandbox:
        settings = make_study(
            extracts=[{"source": "table", "path": "raw"}],
            braze={"endpoint": sandbox.url, "lapsed_value": "lapsed"},
        )
        ingest.ingest(settings, NOW, progress=False)
        deliver(settings, "run-1")
        yield settings, sandbox


def deliver(settings: Settings, run_id: str) -> Export:
    """Write a scores file of those of the two who are in the log, and export it."""
    store = open_filled(settings)
    users = store.scan("users").select(pl.col("user_id").unique().sort()).collect()
    made = users.with_columns(
        segment=pl.lit("high"),
        score=pl.lit(80),
        identifier=pl.col("user_id"),
        cutoff=pl.lit(date(2026, 3, 5)),
    )
    file = Path(store.place.below("scores", "cutoff=2026-03-05.parquet"))
    file.parent.mkdir(exist_ok=True)
    made.write_parquet(file)
    passed = pl.DataFrame({"gate": ["missing_day"], "passed": [True], "sentence": [""]})
    delivery = Delivery(settings, run_id=run_id, send=True, progress=False)
    return export.run(made, passed, delivery)


def test_a_forgotten_person_is_nowhere_but_in_raw(
    delivered: Any, tmp_path: Path
) -> None:
    """Log, activity, edges, scores, quarantine and others' properties no longer hold
    Ann, and Ben is unchanged. The next export writes null to Braze once, not the lapsed
    value, and the ledger then forgets her too.
    """
    study, sandbox = delivered
    assert len(found_in(study.store_path, *ANN)) > 5
    done = forget.forget(study, ["cust-1001"])
    assert (done.n_people, done.n_waiting) == (1, 1)
    assert found_in(study.store_path, *ANN) == ["ledger.db"]  # until the next export
    store = open_filled(study)
    assert store.scan("quarantine").collect().is_empty()
    log = store.scan("events").sort("event_time").collect()
    assert log["user_id"].to_list() == ["cust-2002", "cust-2002"]
    assert log["properties"].to_list()[0] == '{"invited_by": "[removed]"}'
    assert deliver(study, "run-2").summary["n_sent"] == 1
    assert attributes(sandbox) == {"cust-2002": "high"}
    assert found_in(study.store_path, *ANN) == []
    assert found_in(tmp_path / "raw", *ANN) == ["events.csv"]


def attributes(sandbox: Any) -> dict[str, Any]:
    """Segment by user, as the sandbox holds it."""
    profiles = sandbox.state.profiles.values()
    return {
        p.identifiers["external_id"]: p.attributes["churn_segment"]
        for p in profiles
        if "churn_segment" in p.attributes
    }


def test_old_extracts_bring_nobody_back(delivered: Any, tmp_path: Path) -> None:
    """The same rows in a rewritten file are dropped and counted without a trace, and
    Ben's are kept.
    """
    study, _ = delivered
    forget.forget(study, ["cust-1001"])
    (tmp_path / "raw/again.csv").write_text(ROWS.replace("open", "seen"))
    result = ingest.ingest(study, NOW, progress=False)
    assert dict(result.reasons.iter_rows())["forgotten"] == 5
    assert result.totals["kept"] == 2
    assert found_in(study.store_path, *ANN) == ["ledger.db"]
    assert identity.people(open_filled(study)) == {"users": 1, "anonymous": 0}


def test_an_interrupted_erasure_is_finished_by_the_next_ingest(
    delivered: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If it is killed after the tombstones are written, the next command that writes
    cleans every file.
    """
    study, _ = delivered

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(erasure, "_clean", killed)
    with pytest.raises(KeyboardInterrupt):
        forget.forget(study, ["cust-1001"])
    monkeypatch.undo()
    assert open_filled(study).cleaning
    ingest.ingest(study, NOW, progress=False)
    assert not open_filled(study).cleaning
    assert found_in(study.store_path, *ANN) == ["ledger.db"]
    assert (
        open_filled(study).scan("events").collect()["user_id"].to_list()
        == ["cust-2002"] * 2
    )


def test_a_shared_device_stays_the_others(delivered: Any, tmp_path: Path) -> None:
    """Named by a tablet that Ben uses too, only Ann is erased; Ben's rows stay, and the
    tablet's past does not become his.
    """
    study, _ = delivered
    rows = (
        "user_id,anonymous_id,event,time\n"
        ",tablet-1,secret,2026-02-20\n"
        ",tablet-1,secret,2026-02-21\n"
    )
    (tmp_path / "raw/early.csv").write_text(rows)
    ingest.ingest(study, NOW, progress=False)
    done = forget.forget(study, ["cust-1001", "device:tablet-1"])
    assert (done.n_people, done.n_shared) == (1, 1)
    (tmp_path / "raw/late.csv").write_text(
        "user_id,anonymous_id,event,time\ncust-2002,tablet-1,open,2026-03-06\n"
    )
    assert ingest.ingest(study, NOW, progress=False).n_added == 1
    daily = open_filled(study).scan("activity").collect()
    assert daily["user_id"].unique().to_list() == ["cust-2002"]
    assert "secret" not in daily["event"].to_list()
    assert daily["n"].sum() == 3


def test_an_erasure_that_cannot_reach_the_ledger_erases_nothing_yet(
    delivered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger comes first, while the log still knows the identifiers; the same
    command again completes the erasure.
    """
    study, _ = delivered

    def down(*_: Any) -> None:
        raise TerminalBrazeError("the ledger can't be opened")

    monkeypatch.setattr(export, "forget", down)
    with pytest.raises(TerminalBrazeError):
        forget.forget(study, ["cust-1001"])
    monkeypatch.undo()
    done = forget.forget(study, ["cust-1001"])
    assert (done.n_people, done.n_waiting) == (1, 1)
    assert found_in(study.store_path, *ANN) == ["ledger.db"]


def test_attributes_of_an_older_study_are_taken_back_too(
    delivered: Any, make_study: Callable[..., Settings]
) -> None:
    """A delivered score that the study no longer sends is removed as well, and the
    ledger forgets the user.
    """
    study, sandbox = delivered
    now = study.model_copy(
        update={"braze": study.braze.model_copy(update={"score_attribute": None})}
    )
    forget.forget(now, ["cust-1001"])
    deliver(now, "run-2")
    profiles = {
        p.identifiers["external_id"]: p.attributes
        for p in sandbox.state.profiles.values()
    }
    assert profiles["cust-1001"] == {}
    assert found_in(study.store_path, *ANN) == []


def test_others_properties_forget_whole_values_and_numbers(
    make_study: Callable[..., Settings],
) -> None:
    """Ids with any characters, bare numbers and parts of addresses are removed, longer
    words stay, and the text stays JSON.
    """
    text = (
        '{"friend":"auth0|5f7c8ec7","n":7654321,"m":76543210,'
        '"u":"x?id=7654321&p=1","l":["7654321"]}'
    )
    tombstones = erasure.new_tombstones(
        "salt", ["user_id:auth0|5f7c8ec7", "user_id:7654321"]
    )["subject"]
    got = erasure.without_mentions(
        pl.DataFrame({"properties": [text]}), "salt", tombstones
    )["properties"][0]
    gone = erasure.REMOVED
    assert json.loads(got) == {
        "friend": gone,
        "n": gone,
        "m": 76543210,
        "u": f"x?id={gone}&p=1",
        "l": [gone],
    }


def request(tmp_path: Path, **changes: Any) -> Path:
    """An OpenDSR v2 request file."""
    content = {
        "subject_request_id": "a7551968-d5d6-44b2-9831-815ac9017798",
        "subject_request_type": "erasure",
        "submitted_time": "2026-03-10T15:00:00Z",
        "subject_identities": [
            {
                "identity_type": "controller_customer_id",
                "identity_value": "cust-1001",
                "identity_format": "raw",
            }
        ],
        "api_version": "2.0",
    } | changes
    file = tmp_path / "request.json"
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize(
    ("kind", "value", "form"),
    [
        ("controller_customer_id", "cust-1001", "raw"),
        ("controller_customer_id", hashlib.sha256(b"cust-1001").hexdigest(), "sha256"),
        ("android_advertising_id", "2E32AB6C-C3F2-42FF-AA13-1181941F1EA2", "raw"),
        (
            "android_advertising_id",
            hashlib.md5(b"2e32ab6c-c3f2-42ff-aa13-1181941f1ea2").hexdigest(),
            "md5",
        ),
    ],
)
def test_opendsr_requests_are_carried_out(
    delivered: Any, tmp_path: Path, kind: str, value: str, form: str
) -> None:
    """By customer id or advertising id, raw or hashed, the same person is erased."""
    study, _ = delivered
    identities = [
        {"identity_type": kind, "identity_value": value, "identity_format": form}
    ]
    done = forget.forget(study, [str(request(tmp_path, subject_identities=identities))])
    assert done.n_people == 1
    assert found_in(study.store_path, *ANN) == ["ledger.db"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"subject_request_type": "access"}, "only erasure"),
        ({"subject_identities": []}, "of 0 identities"),
        (
            {"subject_identities": [{"identity_type": "email"}]},
            "not an OpenDSR request",
        ),
        (
            {
                "subject_identities": [
                    {
                        "identity_type": "email",
                        "identity_value": "x",
                        "identity_format": "rot13",
                    }
                ]
            },
            "rot13",
        ),
    ],
)
def test_other_requests_are_refused(
    delivered: Any, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    """Requests of access, empty and broken ones and unknown formats give one sentence,
    and nothing is erased.
    """
    study, _ = delivered
    with pytest.raises(InputError, match=sentence):
        forget.forget(study, [str(request(tmp_path, **changes))])
    assert open_filled(study).scan("tombstones").collect().is_empty()


def test_the_command_says_what_it_did(delivered: Any, tmp_path: Path) -> None:
    """`churn forget` prints counts and never the person, and is refused if nobody is
    named.
    """
    study, _ = delivered
    (tmp_path / "churn.toml").write_text(
        '[[extracts]]\nsource = "table"\npath = "raw"\n'
        f'[braze]\nendpoint = "{study.braze.endpoint}"\n'
    )
    done = CliRunner().invoke(
        app, ["forget", "cust-1001", "--study", str(tmp_path / "churn.toml")]
    )
    assert done.exit_code == 0, done.output
    assert "1 known people forgotten" in done.output
    assert "1 null write(s)" in done.output
    assert "cust-1001" not in done.output
    with pytest.raises(InputError, match="nobody is named"):
        forget.forget(study, [])


@pytest.mark.skipif(
    not SHARED.exists(),
    reason="SKIPPED LOUDLY: ../shared with the vendor samples is absent",
)
def test_people_who_asked_a_vendor_can_be_forgotten_in_one_go(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Adjust's gdpr_forget_device row names a user's device: the user is not scored
    from then on, and erased with --requested.
    """
    settings = make_study(
        extracts=[{"source": "adjust", "path": str(SHARED / "samples/adjust")}]
    )
    assert ingest.ingest(settings, NOW, progress=False).n_requests == 1
    done = forget.forget(settings, [], by_vendors=True)
    assert done.n_people == 1
    assert (
        found_in(settings.store_path, "cust-1008", "e5f3f45dd61d8317e2391f906171ff90")
        == []
    )
