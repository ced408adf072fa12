"""Ids become users at a certain moment, and nothing that was known before changes."""

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from churn.events import addresses, identity, ingest
from churn.features import by_group, compute
from churn.features.catalogue import Plan
from churn.scoring import score_gates, scores
from churn.settings import Settings, parse
from churn.store import Store, open_filled

from ..conftest import DAY0, SHARED, at
from ..exports import WRITERS, Row

NOW = datetime(2026, 3, 25, tzinfo=UTC)
CUTOFF = 10  # days after DAY0


def edges(*rows: tuple[str, str, float]) -> pl.DataFrame:
    """Known users as a frame: id, user and the day on which it was learned."""
    columns = {
        "id": [r[0] for r in rows],
        "user_id": [r[1] for r in rows],
        "learned_at": [at(r[2]) for r in rows],
    }
    return pl.DataFrame(columns)


def owner(ids: Sequence[str], known: pl.DataFrame) -> tuple[Any, ...] | None:
    """User, day learned and day blocked of one set of ids; null if it has no user."""
    found = identity.owners(
        pl.DataFrame({"ids": [ids]}, schema={"ids": pl.List(pl.String)}), known
    )
    if found.is_empty():
        return None
    user, learned, blocked = found.select("user_id", "learned_at", "blocked_at").row(0)
    return user, (learned - at(0)).days, (blocked - at(0)).days if blocked else None


def test_a_device_belongs_to_the_user_it_was_first_known_of() -> None:
    """With one edge the device belongs to that user from then on, without any to
    nobody. Of several ids the earliest edge decides.
    """
    assert owner(["d:1"], edges(("d:1", "anna", 3))) == ("anna", 3, None)
    assert owner(["d:2"], edges(("d:1", "anna", 3))) is None
    assert owner(
        ["d:1", "gaid:9"], edges(("gaid:9", "anna", 2), ("d:1", "anna", 5))
    ) == ("anna", 2, None)


def test_a_shared_device_is_blocked_from_its_second_user_on() -> None:
    """With two users on one id, or on two ids of one device, the first keeps what came
    before the second was learned.
    """
    assert owner(["d:1"], edges(("d:1", "anna", 7), ("d:1", "zoe", 3))) == ("zoe", 3, 7)
    assert owner(
        ["d:1", "gaid:9"], edges(("d:1", "anna", 3), ("gaid:9", "ben", 8))
    ) == ("anna", 3, 8)


def make(folder: Path, source: str, **parts: Any) -> Settings:
    """A study over one folder of a source."""
    return parse(
        {"extracts": [{"source": source, "path": "raw", "settling_days": 0}], **parts},
        folder,
    )


def ingested(folder: Path, shape: str, *batches: Sequence[Row], **parts: Any) -> Store:
    """A store after one ingest per batch."""
    source, write = WRITERS[shape]
    settings = make(folder, source, **parts)
    (folder / "raw").mkdir()
    for number, rows in enumerate(batches):
        if rows:
            write(folder / "raw", rows, f"batch{number}")
            ingest.ingest(settings, NOW, progress=False)
    return open_filled(settings)


def observed(store: Store, cutoff: int = CUTOFF) -> pl.DataFrame:
    """Features of all users at a cutoff, whatever the log's coverage."""
    plan = Plan(28, vocabulary=("level_up",), sources=store.settings.sources)
    tables = by_group.tables(store)
    eligible_days = store.settings.windows.eligible_days
    cutoffs = [DAY0 + timedelta(days=cutoff)]
    features = compute.compute(*tables, cutoffs, plan, eligible_days)
    return features.sort("user_id")


def test_anonymous_history_counts_from_the_moment_the_log_in_is_known(
    tmp_path: Path,
) -> None:
    """After three anonymous days and a log-in on day 6, cutoff 6 has no user, and
    cutoff 7 has one with four days.
    """
    rows = [Row("d1", day + 0.5, day + 1) for day in (2, 3, 4)] + [
        Row("d1", 6.2, 7, user="anna")
    ]
    store = ingested(tmp_path, "table", rows)
    assert observed(store, 6).is_empty()
    found = observed(store, 7)
    assert found.select("user_id", "active_days_28d", "tenure_days").row(0) == (
        "anna",
        4,
        5,
    )


def test_a_family_tablet_is_not_one_person(tmp_path: Path) -> None:
    """With Anna on days 1 and 2 and Ben from day 4, anonymous rows of day 3 are Anna's
    and those of day 5 belong to nobody.
    """
    rows = [
        Row("d", 1.1, 2, "anna"),
        Row("d", 3.1, 4),
        Row("d", 4.1, 5, "ben"),
        Row("d", 5.1, 6),
        Row("d", 6.1, 7, "ben"),
    ]
    store = ingested(tmp_path, "table", rows)
    days = dict(observed(store, 9).select("user_id", "active_days_28d").iter_rows())
    assert days == {"anna": 2, "ben": 2}


def test_stand_ins_for_no_user_join_nobody(tmp_path: Path) -> None:
    """The user ids null, guest, 0 and those that the study names are missing ids, and
    their devices stay apart.
    """
    names = ["null", "guest", "0", "00000000-0000-0000-0000-000000000000", "demo"]
    rows = [Row(f"d{i}", 1 + i / 10, 3, user) for i, user in enumerate(names)]
    store = ingested(tmp_path, "table", rows, identity={"not_a_user": ["demo"]})
    assert identity.people(store) == {"users": 0, "anonymous": 5}


@pytest.mark.parametrize("shape", list(WRITERS))
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_received_or_learned_later_changes_no_feature(
    shape: str, data: st.DataObject
) -> None:
    """Rows received at or after the cutoff, log-ins and second users among them, leave
    every feature unchanged, whether they come in the same ingest or in a later one.
    """
    early = data.draw(rows(range(1, CUTOFF), 3, 12))
    late = data.draw(rows(range(CUTOFF + 1, 14), 1, 8))
    if (
        shape == "appsflyer pull"
    ):  # states no receive time: what happened later is what was learned later
        late = [Row(r.device, CUTOFF + r.day % 3, r.received, r.user) for r in late]
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / name for name in ("early", "later", "at_once")]
        for home in homes:
            home.mkdir()
        before = observed(ingested(homes[0], shape, early))
        after = ingested(homes[1], shape, early, late)
        assert_frame_equal(observed(after), before, rel_tol=1e-9)
        at_once = ingested(homes[2], shape, [*early, *late])
        assert_frame_equal(observed(at_once, 20), observed(after, 20), rel_tol=1e-9)


def rows(received: range, least: int, most: int) -> st.SearchStrategy[list[Row]]:
    """Events on three devices, by two users or without one, received within some days;
    never two at one time on a device.
    """
    hour = st.integers(0, 23)

    def build(device: str, user: str | None, day: int, lag: int, h: int) -> Row:
        return Row(device, max(0, day - 1 - lag) + h / 24, day, user)

    users = st.sampled_from([None, None, "anna", "ben"])
    devices = st.sampled_from(["d1", "d2", "d3"])
    one = st.builds(
        build, devices, users, st.sampled_from(received), st.integers(0, 4), hour
    )
    return st.lists(
        one, min_size=least, max_size=most, unique_by=lambda r: (r.device, r.day)
    )


def test_an_orphaned_profile_counts_for_the_one_it_was_merged_into(
    tmp_path: Path,
) -> None:
    """A profile with a user id of its own was merged on day 6: until then both users
    count, afterwards only the remaining one.
    """
    rows = [("old", "braze-1", 2.0), ("old", "braze-1", 3.0), ("new", "braze-2", 4.0)]
    log = pl.DataFrame(
        {
            "user_id": [u for u, _, _ in rows] + ["old"],
            "ids": [[f"braze_id:{b}"] for _, b, _ in rows]
            + [["braze_id:braze-1", "braze_id:braze-2"]],
            "event_time": [at(d) for *_, d in rows] + [at(6)],
            "received_time": [at(d) for *_, d in rows] + [at(6)],
            "event_kind": ["in_app"] * 3 + ["merge"],
            "event_time_basis": ["exact"] * 4,
            "source": ["currents"] * 4,
        }
    ).lazy()
    merges = identity.merges_from_events(log).collect()
    assert merges.select("id", "into", "user_id").row(0) == (
        "braze_id:braze-1",
        "braze_id:braze-2",
        "old",
    )
    assert set(
        identity.edges_from_events(log).select("id", "user_id").collect().iter_rows()
    ) == {
        ("braze_id:braze-1", "old"),
        ("braze_id:braze-2", "new"),
    }


def test_two_sources_count_one_session_once(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """A session and a purchase that two sources report under different names count
    once; custom events stay apart.
    """
    for name, purchase, own in (
        ("a", "af_purchase", "af_rate"),
        ("b", "purchase", "rate"),
    ):
        session = "anna,session_start,2026-01-05,session_start,"
        lines = [
            session,
            f"anna,{purchase},2026-01-05,purchase,5",
            f"anna,{own},2026-01-05,in_app,",
        ]
        (tmp_path / f"{name}.csv").write_text(
            "user_id,event,time,kind,revenue\n" + "\n".join(lines) + "\n"
        )
    extracts = [
        {"source": "table", "path": "a.csv"},
        {"source": "table", "path": "b.csv"},
    ]
    settings = make_study(extracts=extracts)
    ingest.ingest(settings, NOW, progress=False)
    daily = (
        open_filled(settings)
        .scan("activity")
        .with_columns(
            source=pl.when(pl.col("event").is_in(["rate", "purchase"]))
            .then(pl.lit("ga4"))
            .otherwise(pl.lit("table"))
        )
    )
    both = pl.concat(
        [
            daily,
            daily.filter(pl.col("kind") == "session_start").with_columns(
                source=pl.lit("ga4")
            ),
        ]
    )
    first = pl.col("first_at").dt.date().alias("first_date")
    users = open_filled(settings).scan("users").select("user_id", "known_date", first)
    plan = Plan(28, sources=("table", "ga4"))
    got = compute.compute(both, users, [date(2026, 1, 8)], plan, 28).row(0, named=True)
    assert got["n_purchases_28d"] == 1
    assert got["revenue_28d"] == 5.0
    assert (
        got["n_events_7d"] == 2 + 1 + 2
    )  # the two sessions of one source, one purchase, two names of their own


@pytest.mark.skipif(
    not SHARED.exists(),
    reason="SKIPPED LOUDLY: ../shared with the vendor samples is absent",
)
def test_three_sources_count_nine_people_once(tmp_path: Path) -> None:
    """AppsFlyer, Adjust and GA4 hold the same nine people on ten devices, one of whom
    never logged in.
    """
    paths = {
        "appsflyer": "appsflyer/pull_api/in_app_events_report_utc.csv",
        "adjust": "adjust",
        "ga4": "ga4/json",
    }
    for names in (["appsflyer"], ["adjust"], list(paths)):
        extracts = [
            {"source": n, "path": str(SHARED / "samples" / paths[n])} for n in names
        ]
        settings = parse(
            {"extracts": extracts, "store": f"store-{len(names)}-{names[0]}"}, tmp_path
        )
        assert ingest.ingest(settings, NOW, progress=False).people == {
            "users": 8,
            "anonymous": 1,
        }


def test_identifiers_are_the_newest_known_and_nobody_elses(tmp_path: Path) -> None:
    """Anna has one device, Ben a new one, and Cem and Dora share one: only the first
    two can be addressed.
    """
    rows = [
        Row("d1", 1, 2, "anna"),
        Row("d2", 1, 2, "ben"),
        Row("d3", 4, 5, "ben"),
        Row("d4", 1, 2, "cem"),
        Row("d4", 3, 4, "dora"),
    ]
    braze = {"identifier": "user_alias", "alias_label": "amplitude_device"}
    store = ingested(tmp_path, "amplitude", rows, braze=braze)
    users = pl.Series(["anna", "ben", "cem", "dora", "eva"])
    found = addresses.identifiers(store, users, DAY0 + timedelta(days=9))
    assert found["identifier"].to_list() == ["d1", "d3", None, None, None]
    assert found["n_sharing"].to_list() == [1, 1, 2, 2, 0]
    earlier = addresses.identifiers(store, users, DAY0 + timedelta(days=4))
    assert earlier["identifier"].to_list()[1] == "d2"


def table_of(*users: str) -> pl.DataFrame:
    """The columns of a scores table that matching needs."""
    return pl.DataFrame({"user_id": users}).with_columns(
        cutoff=pl.lit(DAY0 + timedelta(days=9))
    )


def test_users_braze_has_never_named_are_not_matched(tmp_path: Path) -> None:
    """With a Currents extract, a user whom it has not named lowers the match rate, and
    the gate fails.
    """
    write, braze = WRITERS["table"][1], WRITERS["currents"][1]
    for folder in ("own", "currents"):
        (tmp_path / folder).mkdir()
    write(
        tmp_path / "own",
        [Row("d1", 1, 2, "anna"), Row("d2", 1, 2, "ben"), Row("d3", 1, 2, "CEM")],
        "x",
    )
    braze(tmp_path / "currents", [Row("b1", 1, 2, "anna"), Row("b3", 1, 2, "cem")], "x")
    extracts = [
        {"source": "table", "path": "own"},
        {"source": "currents", "path": "currents"},
    ]
    settings = parse({"extracts": extracts}, tmp_path)
    ingest.ingest(settings, NOW, progress=False)
    store = open_filled(settings)
    report = addresses.match_report(store, table_of("anna", "ben", "CEM"))
    assert report.select("source", "n", "n_matched", "match_rate").rows() == [
        ("all", 3, 1, 1 / 3),
        ("currents", 1, 1, 1),
        ("table", 3, 1, 1 / 3),
    ]
    finding = score_gates.match_rate(store, table_of("anna", "ben", "CEM"))
    assert not finding["passed"]
    assert "1 of 3" in finding["sentence"]
    assert finding["seen"] == "33.3%"
    assert "and Braze Currents names them" in finding["sentence"]


def test_without_currents_nobody_claims_that_braze_knows_anybody(filled: Store) -> None:
    """Everybody has an external id of their own; the sentence says that this is all."""
    finding = score_gates.match_rate(filled, table_of("user-1", "user-2"))
    assert finding["passed"]
    assert "2 of 2" in finding["sentence"]
    assert "can't be told without a Currents extract" in finding["sentence"]


def test_scores_carry_the_identifier(filled: Store) -> None:
    """By default the identifier is the customer's own user id."""
    store = filled
    found = addresses.identifiers(
        store, pl.Series(["user-1", "user-2"]), date(2026, 4, 1)
    )
    assert found["identifier"].to_list() == ["user-1", "user-2"]
    assert scores.Scores.column_names()[-1] == "identifier"


def merged_log(orphan: str | None) -> list[dict[str, Any]]:
    """Currents rows: profile b1 on days 1 and 2, b2 of the user new on days 3 and 9,
    and b1 merged into b2 on day 6.
    """
    rows = [{"user_id": "b1", "external_user_id": orphan, "day": d} for d in (1, 2)]
    rows += [{"user_id": "b2", "external_user_id": "new", "day": d} for d in (3, 9)]
    rows.append({"user_id": "b2", "external_user_id": None, "day": 8})
    return [
        r | {"id": f"e{i}", "time": int(at(r.pop("day")).timestamp())}
        for i, r in enumerate(rows)
    ]


@pytest.mark.parametrize("orphan", ["old", None])
def test_who_survives_a_merge_has_the_history_and_is_scored(
    tmp_path: Path, orphan: str | None
) -> None:
    """After a merge the remaining user has all days, its own anonymous ones too, and
    the orphaned one is no longer scored.
    """
    text: Any = ["null", "string"]
    fields = [
        {"name": n, "type": text}
        for n in ("id", "user_id", "external_user_id", "orphaned_by_id")
    ]
    fields.append({"name": "time", "type": "int"})
    orphaned = {
        "id": "m",
        "user_id": "b1",
        "external_user_id": orphan,
        "orphaned_by_id": "b2",
    }
    orphaned |= {"time": int(at(6).timestamp())}
    files = {"behaviors.app.SessionStart": merged_log(orphan), "UserOrphan": [orphaned]}
    for name, rows in files.items():
        folder = tmp_path / "raw" / name
        folder.mkdir(parents=True)
        space, _, short = f"x.users.{name}".rpartition(".")
        schema = {"type": "record", "namespace": space, "name": short, "fields": fields}
        with (folder / "1.avro").open("wb") as out:
            blank = dict.fromkeys(["external_user_id", "orphaned_by_id"])
            fastavro.writer(
                out, fastavro.parse_schema(schema), [blank | r for r in rows]
            )
    settings = make(tmp_path, "currents")
    ingest.ingest(settings, NOW, progress=False)
    store = open_filled(settings)
    before = dict(observed(store, 5).select("user_id", "active_days_28d").iter_rows())
    assert before == ({"old": 2, "new": 1} if orphan else {"new": 1})
    after = dict(observed(store, 12).select("user_id", "active_days_28d").iter_rows())
    assert after == {"new": 5}
