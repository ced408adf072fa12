"""Audiences from an event log to files: rules, changes, consent and erasure."""

import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn import forget, results
from churn.audiences import export, members, state
from churn.braze import client
from churn.errors import GateError, StoreError, StudyError
from churn.events import ingest
from churn.sandbox import server
from churn.scoring import scores
from churn.settings import Settings
from churn.store import Place, Store, open_filled
from churn.store.score_schemas import Findings

from ..conftest import at
from ..object_server import Server

NOW = datetime(2026, 1, 20, tzinfo=UTC)
CUTOFF = date(2026, 1, 15)
USERS = ("ann", "ben", "cat", "dan")
DEVICE = dict(zip(USERS, ("a", "b", "c", "d"), strict=True))

Make = Callable[..., Settings]


def device(user: str, number: int = 1) -> str:
    """An id in the form of a UUID that belongs to a user alone."""
    return f"{DEVICE[user] * 8}-1111-4111-8111-{number:012d}"


def row(user: str, day: float = 3, **more: Any) -> dict[str, Any]:
    """A row of the log with all ids of a user; ``more`` overrides columns."""
    ids = {
        "email": f"{user}@example.org",
        "phone": f"+4917000000{USERS.index(user):02d}",
        "platform": "ios" if user in ("ann", "ben") else "android",
    }
    ids["idfa" if ids["platform"] == "ios" else "gaid"] = device(user)
    return {"user_id": user, "event": "open", "time": at(day), **ids, **more}


COLUMNS = (
    "user_id anonymous_id event kind time email phone platform idfa gaid idfv limited "
    "consent revenue"
).split()


def log(tmp_path: Path, *rows: dict[str, Any], name: str = "one") -> None:
    """An extract file of these rows."""
    (tmp_path / "raw").mkdir(exist_ok=True)
    cells = [[one.get(name) for name in COLUMNS] for one in rows]
    types = dict.fromkeys(COLUMNS, pl.String) | {
        "time": pl.Datetime("us", "UTC"),
        "revenue": pl.Float64,
    }
    frame = pl.DataFrame(cells, schema=types, orient="row")
    frame.write_csv(tmp_path / "raw" / f"{name}.csv")


def scored(segments: dict[str, str], cutoff: date = CUTOFF) -> pl.DataFrame:
    """Scores from user → segment; the first user is the riskiest."""
    users = list(segments)
    return pl.DataFrame(
        {
            "user_id": users,
            "cutoff": cutoff,
            "probability": [0.9 - i / 10 for i in range(len(users))],
            "segment": list(segments.values()),
            "score": [90 - i * 10 for i in range(len(users))],
            "decile": [10 - i for i in range(len(users))],
            "reason_1": ["risky_silence", "safe_habit", None, None][: len(users)],
            "reason_2": pl.Series([None] * len(users), dtype=pl.String),
            "reason_3": pl.Series([None] * len(users), dtype=pl.String),
            "model_id": "m",
            "identifier": users,
        }
    )


@pytest.fixture
def study(make_study: Make, tmp_path: Path) -> Callable[..., Store]:
    """Ingest the folder ``raw`` under a study with these audiences."""

    def make(*audiences: dict[str, Any], **parts: Any) -> Store:
        default = {"name": "risk", "target": "out", "form": "raw"}
        parts.setdefault("extracts", [{"source": "table", "path": "raw"}])
        chosen = [{**default, **one} for one in audiences]
        settings = make_study(audiences=chosen, **parts)
        ingest.ingest(settings, NOW, progress=False)
        return open_filled(settings)

    return make


def lines(folder: Path, part: str = "") -> list[dict[str, Any]]:
    """Lines of the only file of a folder, or of the newest whose name has ``part``."""
    files = sorted(file for file in folder.glob("*.csv") if part in file.name)
    rows = pl.read_csv(io.BytesIO(files[-1].read_bytes()), infer_schema=False)
    return rows.to_dicts()


def emails(found: list[dict[str, Any]]) -> list[str]:
    """The e-mail addresses of lines, sorted."""
    return sorted(line["email"] for line in found)


ALL = dict.fromkeys(USERS, "high")
FORMATS: list[dict[str, Any]] = [
    {"format": "google", "ids": ["email", "phone"]},
    {"format": "google", "ids": ["idfa", "gaid"]},
    {"format": "meta", "ids": ["email", "phone", "idfa", "gaid"]},
    {"format": "tiktok", "ids": ["email", "phone", "idfa", "gaid"]},
    {"format": "csv", "ids": ["idfa", "gaid", "customer_id"]},
]


@pytest.mark.parametrize("form", ["raw", "sha256"])
@pytest.mark.parametrize("network", FORMATS)
def test_a_full_list_and_its_changes_in_every_form(
    form: str,
    network: dict[str, Any],
    study: Callable[..., Store],
    tmp_path: Path,
) -> None:
    """Four people are listed; once one of them has left the segment and one is erased,
    the full list has two people, the changes have added nobody and removed two.
    """
    log(tmp_path, *map(row, USERS))
    is_in_clear = network["format"] == "google" and "idfa" in network["ids"]
    chosen = {**network, "segments": ["high"]}
    chosen["form"] = None if is_in_clear else form
    store = study(
        {**chosen, "name": "whole", "target": "full"},
        {**chosen, "name": "moved", "target": "changes", "content": "changes"},
    )
    (whole, moved) = export.run(store, scored(ALL), [], send=True)
    assert whole["n_listed"] == moved["n_listed"] == 4
    assert lines(tmp_path / "full") == lines(tmp_path / "changes", "added")
    assert len(lines(tmp_path / "full")) == 4
    first = lines(tmp_path / "changes", "added")
    forget.forget(store.settings, ["dan"])
    assert len(lines(tmp_path / "full")) == 3
    assert len(lines(tmp_path / "changes", "added")) == 3
    after = {"ann": "high", "ben": "low", "cat": "high", "dan": "high"}
    again = export.run(store.reopened(), scored(after), [], send=True)
    assert [one["n_listed"] for one in again] == [2, 2]
    assert len(lines(tmp_path / "full")) == 2
    removed = lines(tmp_path / "changes", "removed")
    kept = lines(tmp_path / "full")
    n_ids = again[1]["n_removed"]
    assert (len(removed), n_ids) == (2, whole["n_ids"] // 2)
    ids = [name for name in first[0] if name != "bucket"]
    before = {tuple(line[name] for name in ids) for line in first}
    now = {tuple(line[name] for name in ids) for line in [*kept, *removed]}
    assert before == now
    export.run(store.reopened(), scored(after), [], send=True)
    left = state.read(store.place, "moved")
    assert left["subject"].n_unique() == 2


def test_an_erased_person_is_nowhere_after_the_export_that_removed_them(
    study: Callable[..., Store], tmp_path: Path
) -> None:
    """Her address is in the newest file of removals and in no other file, neither
    beside it nor in the store; half a year later that file goes too.
    """
    log(tmp_path, *map(row, USERS))
    store = study({"format": "meta", "ids": ["email"], "content": "changes"})
    export.run(store, scored(ALL), [], send=True, now=NOW)
    forget.forget(store.settings, ["ann"])
    rest = {user: "high" for user in USERS if user != "ann"}
    export.run(store.reopened(), scored(rest), [], send=True, now=NOW + timedelta(1))
    holding = [
        f.name for f in (tmp_path / "out").iterdir() if b"ann@" in f.read_bytes()
    ]
    assert len(holding) == 1
    assert holding[0].endswith(".removed.csv")
    values = sorted(state.read(store.place, "risk")["value"])
    assert values == ["ben@example.org", "cat@example.org", "dan@example.org"]
    late = NOW + timedelta(200)
    export.run(store.reopened(), scored(rest), [], send=True, now=late)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_of_removals_keeps_who_is_erased_later(
    study: Callable[..., Store], tmp_path: Path
) -> None:
    """Ann has left the list, and the network may not know that yet."""
    log(tmp_path, *map(row, USERS))
    audience = {"format": "meta", "ids": ["email"], "content": "changes"}
    store = study({**audience, "segments": ["high"]})
    export.run(store, scored(ALL), [], send=True)
    export.run(store, scored({**ALL, "ann": "low"}), [], send=True)
    forget.forget(store.settings, ["ann"])
    assert emails(lines(tmp_path / "out", "removed")) == ["ann@example.org"]


def test_an_erasure_reaches_what_earlier_nights_wrote_in_another_form(
    study: Callable[..., Store], tmp_path: Path
) -> None:
    """Her address of before stands raw in the first file of additions and hashed in
    the second; neither file has a line of hers after the erasure.
    """
    log(tmp_path, *map(row, USERS))
    audience = {"format": "meta", "ids": ["email"], "content": "changes"}
    export.run(study(audience), scored(ALL), [], send=True, now=NOW)
    log(tmp_path, row("ann", day=5, email="new-ann@example.org"), name="two")
    hashed = study({**audience, "format": "tiktok", "form": "sha256"})
    export.run(hashed, scored(ALL), [], send=True, now=NOW + timedelta(1))
    assert forget.forget(hashed.settings, ["ann"]).rows["audiences"] == 2
    first, second = sorted((tmp_path / "out").glob("*.added.csv"))
    assert b"ann@" not in first.read_bytes()
    assert [len(pl.read_csv(file)) for file in (first, second)] == [3, 3]


def test_a_dry_run_counts_and_writes_nothing(
    study: Callable[..., Store], tmp_path: Path
) -> None:
    """It says how many would be added, again and again, and leaves no file."""
    log(tmp_path, *map(row, USERS))
    store = study({"format": "meta", "ids": ["email", "idfa"], "content": "changes"})
    for _ in range(2):
        (counts,) = export.run(store, scored(ALL), [], send=False)
        assert (counts["n_users"], counts["n_listed"], counts["n_ids"]) == (4, 4, 6)
        assert (counts["n_added"], counts["n_removed"], counts["files"]) == (6, 0, [])
    assert not (tmp_path / "out").exists()
    assert state.names(store.place) == []


def test_rules_hold_together(study: Callable[..., Store], tmp_path: Path) -> None:
    """Segment, first reason, decile, tenth by revenue, and platform each narrow the
    audience; users without revenue are in no tenth of it.
    """
    spent = {"ann": 9.0, "ben": 1.0, "cat": 5.0}
    log(tmp_path, *[row(user, revenue=spent.get(user)) for user in USERS])
    store = study({"format": "csv", "ids": ["customer_id"]})
    people = members.of_scores(
        store, scored({**ALL, "cat": "low"}), opted_out=["nobody"]
    )

    def of(**rule: Any) -> list[str]:
        (audience,) = store.settings.audiences
        changed = audience.model_copy(update=rule)
        return members.of_audience(people, changed)["user_id"].to_list()

    assert of() == ["ann", "ben", "cat", "dan"]
    assert of(segments=("high",)) == ["ann", "ben", "dan"]
    assert of(reasons=("safe_habit",)) == ["ben"]
    assert of(deciles=(10,)) == ["ann"]
    assert of(revenue_tenths=(1,)) == ["ann"]
    assert of(revenue_tenths=tuple(range(1, 11))) == ["ann", "ben", "cat"]
    assert of(platform="android") == ["cat", "dan"]
    assert of(platform="ios", segments=("high",), reasons=("safe_habit",)) == ["ben"]


def test_a_csv_file_has_the_decile(study: Callable[..., Store], tmp_path: Path) -> None:
    """Its column is called bucket; a changed decile is an addition, and nobody is
    removed for it.
    """
    log(tmp_path, *map(row, USERS))
    store = study({"format": "csv", "ids": ["customer_id"], "content": "changes"})
    export.run(store, scored(ALL), [], send=True)
    found = lines(tmp_path / "out")
    tenths = {line["customer_id"]: line["bucket"] for line in found}
    assert tenths == {"ann": "10", "ben": "9", "cat": "8", "dan": "7"}
    turned = scored(dict.fromkeys(("ben", "ann", "cat", "dan"), "high"))
    export.run(store, turned, [], send=True)
    changed = {line["customer_id"]: line["bucket"] for line in lines(tmp_path / "out")}
    assert changed == {"ben": "10", "ann": "9"}
    assert not list((tmp_path / "out").glob("*removed*"))


@pytest.mark.parametrize(
    "newer",
    [
        {"limited": "1"},
        {"idfa": "00000000-0000-0000-0000-000000000000"},
        {"user_id": None, "anonymous_id": "phone-of-ann", "limited": "1"},
    ],
)
def test_who_limits_tracking_is_listed_without_the_advertising_id(
    newer: dict[str, Any], study: Callable[..., Store], tmp_path: Path
) -> None:
    """Whether a row says so, zeroes the id, or comes from a device that is logged out:
    the id of the days before is not written, the e-mail address is.
    """
    rows = [row("ann", anonymous_id="phone-of-ann"), row("ben")]
    log(tmp_path, *rows, {**row("ann", day=4), "email": None, **newer})
    store = study({"format": "meta", "ids": ["email", "idfa"]})
    export.run(store, scored({"ann": "high", "ben": "high"}), [], send=True)
    found = {line["email"]: line["madid"] for line in lines(tmp_path / "out")}
    assert found == {"ann@example.org": None, "ben@example.org": device("ben")}


def test_the_studys_first_source_of_advertising_ids_decides(
    study: Callable[..., Store], tmp_path: Path
) -> None:
    """Another source goes on to send the advertising id that ann has limited in the
    first one, and doesn't know ben's.
    """
    limited = row("ann", day=4, limited="1")
    log(tmp_path, row("ann"), limited, row("ben"), row("ben", day=4))
    event = {"event_type": "open", "event_time": "2026-01-06 10:00:00"}
    (tmp_path / "second").mkdir()
    for user, idfa in (("ann", device("ann")), ("ben", None), ("eve", device("cat"))):
        rest = {"user_id": user, "uuid": user, "platform": "iOS", "idfa": idfa}
        (tmp_path / "second" / f"{user}.json").write_text(json.dumps(event | rest))
    store = study(
        {"format": "meta", "ids": ["idfa"]},
        extracts=[
            {"source": "table", "path": "raw"},
            {"source": "amplitude", "path": "second"},
        ],
    )
    people = dict.fromkeys(("ann", "ben", "eve"), "high")
    export.run(store, scored(people), [], send=True)
    found = sorted(line["madid"] for line in lines(tmp_path / "out"))
    assert found == [device("ben"), device("cat")]


def test_rows_that_limited_tracking_drops_bar_the_advertising_id_too(
    study: Callable[..., Store], tmp_path: Path
) -> None:
    """Until a later file has a row that was kept."""
    log(tmp_path, row("ann"), row("ann", day=4, limited="1"), row("ben", day=4))
    audience = {"format": "meta", "ids": ["idfa"]}
    store = study(audience, privacy={"limited_tracking": "drop"})
    both = scored({"ann": "high", "ben": "high"})
    export.run(store, both, [], send=True)
    assert [line["madid"] for line in lines(tmp_path / "out")] == [device("ben")]
    log(tmp_path, row("ann", day=6), name="two")
    ingest.ingest(store.settings, NOW, progress=False)
    export.run(store.reopened(), both, [], send=True)
    assert len(lines(tmp_path / "out")) == 2


@pytest.mark.parametrize("who", ["ann", None])
def test_who_refused_consent_is_in_no_list(
    who: str | None, study: Callable[..., Store], tmp_path: Path
) -> None:
    """Not by e-mail either, and out of the list that had them, be they logged in or
    known by their device; once they consent they are listed again.
    """
    device_of_ann = {"anonymous_id": "phone-of-ann"}
    log(tmp_path, row("ann", **device_of_ann), *map(row, USERS[1:]))
    store = study({"format": "meta", "ids": ["email"], "content": "changes"})
    export.run(store, scored(ALL), [], send=True)
    refusal = {"user_id": who, "email": None, "consent": "no", **device_of_ann}
    log(tmp_path, row("ann", day=5, **refusal), row("ben", day=5), name="two")
    ingest.ingest(store.settings, NOW, progress=False)
    export.run(store.reopened(), scored(ALL), [], send=True)
    assert emails(lines(tmp_path / "out", "removed")) == ["ann@example.org"]
    log(tmp_path, row("ann", day=6.1, consent="yes"), name="three")
    ingest.ingest(store.settings, NOW, progress=False)
    export.run(store.reopened(), scored(ALL), [], send=True)
    assert emails(lines(tmp_path / "out", "added")) == ["ann@example.org"]


def test_ids_that_two_people_share_and_opted_out_people_are_left_out(
    study: Callable[..., Store], tmp_path: Path
) -> None:
    """A tablet of two users names neither; who asked a vendor for erasure is not
    listed.
    """
    shared = device("ann", 9)
    rows = [row("ann", idfa=shared), row("ben", idfa=shared), row("cat"), row("dan")]
    asking = row("dan", day=4, event="forget_me", kind="erasure")
    log(tmp_path, *rows, asking)
    store = study({"format": "meta", "ids": ["idfa", "gaid"]})
    opted_out = forget.opted_out_users(store)
    (counts,) = export.run(store, scored(ALL), opted_out, send=True)
    assert (counts["n_users"], counts["n_listed"]) == (3, 1)
    assert [line["madid"] for line in lines(tmp_path / "out")] == [device("cat")]


def test_an_id_that_became_another_is_exchanged(
    study: Callable[..., Store], tmp_path: Path
) -> None:
    """A new advertising id is added and the old one removed; the e-mail address beside
    them stands in neither file, so no order of uploads can lose it.
    """
    log(tmp_path, *map(row, USERS))
    store = study({"format": "meta", "ids": ["email", "idfa"], "content": "changes"})
    export.run(store, scored(ALL), [], send=True)
    log(tmp_path, row("ann", day=5, idfa=device("ann", 2)), name="two")
    ingest.ingest(store.settings, NOW, progress=False)
    export.run(store.reopened(), scored(ALL), [], send=True)
    out = tmp_path / "out"
    assert lines(out, "added") == [{"email": None, "madid": device("ann", 2)}]
    assert lines(out, "removed") == [{"email": None, "madid": device("ann")}]


@pytest.mark.parametrize("failing", ["added", "removed"])
@pytest.mark.parametrize(("comes", "goes"), [("ann", "ben"), ("ben", "ann")])
def test_files_that_were_not_all_written_are_written_again(
    failing: str,
    comes: str,
    goes: str,
    study: Callable[..., Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a full disk in the midst of adding ann and removing ben, the next export
    adds and removes both again, whether they stayed so or went back meanwhile.
    """
    log(tmp_path, *map(row, USERS))
    audience = {"format": "meta", "ids": ["email"], "content": "changes"}
    store = study({**audience, "segments": ["high"]})
    export.run(store, scored({**ALL, "ann": "low"}), [], send=True)
    write = Place.write

    def full(place: Place, name: str, content: bytes) -> None:
        if failing in name:
            raise StoreError("the disk is full")
        write(place, name, content)

    with monkeypatch.context() as patched:
        patched.setattr(Place, "write", full)
        with pytest.raises(StoreError):
            export.run(store, scored({**ALL, "ben": "low"}), [], send=True)
    export.run(store, scored({**ALL, goes: "low"}), [], send=True)
    out = tmp_path / "out"
    assert emails(lines(out, "added")) == [f"{comes}@example.org"]
    assert emails(lines(out, "removed")) == [f"{goes}@example.org"]
    assert set(state.read(store.place, "risk")["is_certain"]) == {True}


def test_small_lists_are_warned_of(study: Callable[..., Store], tmp_path: Path) -> None:
    """Four people are too few for Meta and TikTok, and enough for the others."""
    log(tmp_path, *map(row, USERS))
    names = ("google", "meta", "tiktok", "csv")
    store = study(*[{"name": n, "format": n, "ids": ["email"]} for n in names])
    found = export.run(store, scored(ALL), [], send=False)
    assert [one["warning"] for one in found] == [
        "",
        "4 people; meta wants at least 100",
        "4 people; tiktok wants at least 1,000",
        "",
    ]


def test_addresses_are_stored_only_for_an_audience_that_asks(
    study: Callable[..., Store], make_study: Make, tmp_path: Path
) -> None:
    """Without one the log has no e-mail address; with one the store must be read again
    first.
    """
    log(tmp_path, *map(row, USERS))
    store = study({"format": "meta", "ids": ["idfa"]})
    edges = store.scan("edges").collect()["id"].to_list()
    assert not [one for one in edges if one.startswith(("email:", "phone:"))]
    extracts = [{"source": "table", "path": "raw"}]
    asks = {"name": "a", "format": "meta", "ids": ["email"], "target": "out"}
    asking = make_study(extracts=extracts, audiences=[asks])
    with pytest.raises(StoreError, match="audiences"):
        open_filled(asking)
    ingest.ingest(asking, NOW, progress=False)
    ids = open_filled(asking).scan("edges").collect()["id"].to_list()
    assert "email:ann@example.org" in ids
    assert not [one for one in ids if one.startswith("phone:")]


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"privacy": {"limited_tracking": "keep"}}, "limited_tracking"),
        ({"privacy": {"refused_consent": "keep"}}, "refused_consent"),
        ({"identity": {"never_join": ["idfa"]}}, r"never_join keeps idfa out"),
        ({"segments": [{"name": "all", "from_probability": 0.0}]}, "no segment high"),
    ],
)
def test_an_audience_that_cannot_be_honest_is_refused(
    parts: dict[str, Any], match: str, make_study: Make
) -> None:
    """The study is refused where the log can't tell who may be listed, or has nobody."""
    audience = {
        "name": "a",
        "format": "meta",
        "ids": ["idfa"],
        "target": "out",
        "segments": ["high"],
    }
    with pytest.raises(StudyError, match=match):
        make_study(audiences=[audience], **parts)
    with pytest.raises(StudyError, match="share a name"):
        make_study(audiences=[audience, audience])


def test_an_object_store_takes_the_files(
    study: Callable[..., Store], tmp_path: Path, server: Server
) -> None:
    """Files are written to a bucket, and an erasure reaches them there; once the target
    is another, none is left behind.
    """
    log(tmp_path, *map(row, USERS))
    audience = {"format": "meta", "ids": ["email"], "target": "s3://exports/lists"}
    store = study(audience)
    export.run(store, scored(ALL), [], send=True)
    bucket = Place("s3://exports/lists")
    assert b"ann@example.org" in (bucket.read("risk.csv") or b"")
    done = forget.forget(store.settings, ["ann"])
    assert done.rows["audiences"] == 1
    assert b"ann@example.org" not in (bucket.read("risk.csv") or b"")
    moved = study({**audience, "target": "out"})
    export.run(moved, scored(ALL), [], send=True)
    assert bucket.names() == []
    assert len(lines(tmp_path / "out")) == 3


def test_an_audience_that_the_study_no_longer_has_is_cleared_by_an_erasure(
    study: Callable[..., Store], tmp_path: Path
) -> None:
    """Nobody would ever remove a person from its files, so these are deleted."""
    log(tmp_path, *map(row, USERS))
    audience = {"format": "meta", "ids": ["email"]}
    store = study(audience)
    export.run(store, scored(ALL), [], send=True)
    (tmp_path / "out" / "risks.csv").write_text("somebody else's file")
    renamed = study({**audience, "name": "other"})
    forget.forget(renamed.settings, ["ann"])
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["risks.csv"]
    assert state.names(store.place) == []


FINDING = {
    "cutoff": CUTOFF,
    "gate": "match_rate",
    "passed": True,
    "days": "",
    "expected": "",
    "seen": "",
    "sentence": "all are matched",
    "cases": "",
}


@pytest.mark.parametrize(
    ("passed", "send"), [(True, True), (True, False), (False, True)]
)
def test_an_export_writes_audiences_under_its_gates(
    passed: bool,
    send: bool,
    study: Callable[..., Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An export that sends writes the files and shows them; a dry run and one that a
    gate stops write none.
    """
    log(tmp_path, *map(row, USERS))
    monkeypatch.setenv(client.KEY_VARIABLE, "key-1")
    with server.running(key="key-1") as sandbox:
        store = study(
            {"format": "meta", "ids": ["email"]},
            braze={"endpoint": sandbox.url},
            gates={"max_age_days": 3650},
        )
        findings = Findings.validate(pl.DataFrame([{**FINDING, "passed": passed}]))
        scores.write(store, scored(ALL), findings, accept=["match_rate"])
        now = "2026-01-20"
        if not passed:
            with pytest.raises(GateError):
                results.Export.run(store, "", send, [], "", "", now)
        else:
            done = results.Export.run(store, "", send, [], "", "", now)
            (shown,) = done.audiences().to_dicts()
            state_text = "1 file" if send else "dry run"
            assert shown["state"] == f"{state_text}; 4 people; meta wants at least 100"
            assert (shown["with an id"], shown["added"]) == (4, 4)
    assert (tmp_path / "out").exists() == (passed and send)
