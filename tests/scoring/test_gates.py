"""Gates on the log: each names the wrong day, event, column or file, and passes clean
data.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn.errors import GateError
from churn.scoring import content_gates, gates
from churn.scoring.accepted import Accepted
from churn.scoring.gate import Case, cases_of, check_gates
from churn.settings import parse
from churn.store.schemas import Files, Tally, Volume
from churn.store.score_schemas import Findings

CUTOFF = date(2026, 3, 2)
DAY = date(2026, 2, 20)
LAST = date(2026, 3, 1)
DAYS = [CUTOFF - timedelta(days=k) for k in range(60, 0, -1)]
STUDY = parse(
    {
        "extracts": [
            {"source": "appsflyer", "path": "af"},
            {"source": "table", "path": "own"},
        ]
    },
    Path(),
)
HOURS = [
    10,
    5,
    2,
    2,
    2,
    5,
    20,
    40,
    60,
    60,
    55,
    50,
    55,
    60,
    50,
    45,
    45,
    50,
    60,
    70,
    70,
    60,
    40,
    20,
]  # 936 events


def since(day: date) -> list[date]:
    """The days from one on."""
    return [d for d in DAYS if d >= day]


def volume(
    n: int = 1000,
    on: dict[date, int] | None = None,
    event: str = "open",
    platform: str = "",
    known_after: int | None = None,
    without_user: dict[date, int] | None = None,
    days: Sequence[date] = DAYS,
) -> pl.DataFrame:
    """``n`` events a day of one name, with other numbers on the days in ``on``.

    ``known_after``: days after which they are known; null if not stated.
    """
    counts = [(day, (on or {}).get(day, n)) for day in days]
    return pl.DataFrame(
        [
            {
                "extract": "af",
                "platform": platform,
                "date": day,
                "known_date": None
                if known_after is None
                else day + timedelta(days=known_after),
                "event": event,
                "kind": "in_app",
                "n": k,
                "n_without_user": (without_user or {}).get(day, 0),
            }
            for day, k in counts
            if k
        ],
        schema=Volume.create_empty().schema,
    )


def tally(
    measure: str, usual: dict[str, int], on: dict[date, dict[str, int]] | None = None
) -> pl.DataFrame:
    """Counts by value, the same on every day except the days in ``on``."""
    rows = [
        ("af", day, measure, k, n)
        for day in DAYS
        for k, n in {**usual, **(on or {}).get(day, {})}.items()
        if n
    ]
    return pl.DataFrame(rows, schema=Tally.create_empty().schema, orient="row")


def clock(hours: Sequence[int]) -> dict[str, int]:
    """Events by hour as a tally names them."""
    return {str(hour): n for hour, n in enumerate(hours)}


def moved(by: int, first_day: bool = False) -> dict[str, int]:
    """The usual hours moved; on the first day of a shift the hours moved out are gone
    and none have moved in.
    """
    turned = [
        HOURS[(hour - by) % 24] if 0 <= hour - by < 24 or not first_day else 0
        for hour in range(24)
    ]
    return clock(turned)


def file(
    address: str = "af/a.csv",
    rows: int = 5000,
    copies: int = 0,
    duplicate: int = 0,
    **other: Any,
) -> pl.DataFrame:
    """One file of the newest ingest."""
    row = {
        "extract": "af",
        "address": address,
        "file_id": "0123456789ab",
        "stamp": "",
        "digest": address,
        "ingested_at": datetime(2026, 3, 2, tzinfo=UTC),
        "rows": rows,
        "kept": rows - max(copies, duplicate),
        "duplicate": max(copies, duplicate),
        "copies": copies,
        "quarantined": 0,
    }
    return pl.DataFrame([{**row, **other}], schema=Files.create_empty().schema)


CLEAN_VOLUME = pl.concat([volume(550, platform="android"), volume(450, platform="ios")])
CLEAN_TALLY = pl.concat(
    [
        tally("hour", clock(HOURS)),
        tally("column", {"user_id": 936, "country": 900}),
        tally("currency", {"USD": 40}),
    ]
)


def findings_of(
    volume: pl.DataFrame = CLEAN_VOLUME,
    tally: pl.DataFrame = CLEAN_TALLY,
    files: pl.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """All findings on the log."""
    return gates.data(volume, tally, file() if files is None else files, STUDY, CUTOFF)


def failed(**tables: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The findings that don't pass, by gate."""
    return {f["gate"]: f for f in findings_of(**tables) if not f["passed"]}


def test_clean_data_passes_every_gate() -> None:
    """Whole days, usual hours, filled columns, one currency, fresh rows and no copies
    pass all ten gates.
    """
    findings = Findings.validate(
        pl.DataFrame(findings_of()).select(Findings.column_names())
    )
    assert findings.filter(~pl.col("passed")).is_empty()
    assert findings["gate"].to_list() == [
        "missing_day",
        "excess_day",
        "vanished_event",
        "unknown_users",
        "clock_shift",
        "bulk_backfill",
        "schema_change",
        "mixed_currencies",
        "copied_day",
        "truncated_report",
        "duplicate_rows",
    ]


def test_nothing_read_fails_no_gate() -> None:
    """Empty tables pass; other commands refuse an empty store."""
    empty = {
        "volume": Volume.create_empty(),
        "tally": Tally.create_empty(),
        "files": Files.create_empty(),
    }
    assert failed(**empty) == {}


def test_growth_and_weekends_pass() -> None:
    """An app that grows by a tenth a week and rests on weekends passes."""
    on = {
        d: int((400 if d.weekday() > 4 else 1000) * 1.1 ** (k / 7))
        for k, d in enumerate(DAYS)
    }
    assert failed(volume=volume(on=on)) == {}


def test_a_missing_day_fails_its_gate_and_is_named() -> None:
    """A day without events fails, but not one before the window."""
    found = failed(volume=volume(on={DAY: 0, date(2026, 1, 10): 0}))
    assert list(found) == ["missing_day"]
    assert found["missing_day"]["days"] == "2026-02-20"
    assert found["missing_day"]["sentence"] == (
        "af, 2026-02-20: 0 events, 0% of the usual 1,000. "
        "Fetch the missing files and ingest again"
    )


@pytest.mark.parametrize(("n", "gate"), [(450, "missing_day"), (2000, "excess_day")])
def test_half_a_day_and_a_doubled_day_fail_their_gate(n: int, gate: str) -> None:
    """Exactly one gate fails, and it names the day."""
    found = failed(volume=volume(on={DAY: n}))
    assert {g: f["days"] for g, f in found.items()} == {gate: "2026-02-20"}


def test_every_day_of_a_long_hole_is_a_missing_day() -> None:
    """Four weeks without data leave nothing that is usual before the last of them. They
    are named as well, since the day after shows that the app is still in use.
    """
    hole = [day for day in DAYS if date(2026, 1, 22) <= day < date(2026, 2, 26)]
    found = failed(volume=volume(on=dict.fromkeys(hole, 0)))["missing_day"]
    in_window = [str(day) for day in hole if day >= date(2026, 2, 2)]
    assert found["days"].split(", ") == in_window
    (last,) = [case for case in cases_of(found) if case.days == "2026-02-25"]
    assert last == Case("af", "2026-02-25", "0 events, hardly any of the usual", 1.0)


def test_accepted_days_of_a_hole_stop_no_later_night() -> None:
    """Once each of its days is accepted, the gate passes and says so; a time that
    ``gates.closed`` names needs no accepting.
    """
    hole = [day for day in DAYS if date(2026, 1, 22) <= day < date(2026, 2, 26)]
    log = volume(on=dict.fromkeys(hole, 0))
    days = [str(day) for day in hole]
    seen = [Accepted("missing_day", day, "af", 1.0, "me", "2026", "") for day in days]
    later = gates.data(log, CLEAN_TALLY, file(), STUDY, CUTOFF, seen)[0]
    assert later["passed"]
    assert "; af, 2026-02-25 by me" in later["sentence"]
    closed = STUDY.gates.model_copy(update={"closed": ((hole[0], hole[-1]),)})
    season = STUDY.model_copy(update={"gates": closed})
    assert gates.data(log, CLEAN_TALLY, file(), season, CUTOFF)[0]["passed"]


def test_a_lost_platform_is_named_with_its_extract() -> None:
    """No iOS events on a day: the total stays above its limit, the platform doesn't."""
    found = failed(
        volume=pl.concat(
            [volume(800, platform="android"), volume(400, {DAY: 0}, platform="ios")]
        )
    )
    assert list(found) == ["missing_day"]
    assert found["missing_day"]["seen"] == "af ios: 0 events, 0% of the usual 400"


def test_a_day_that_every_platform_misses_is_named_once() -> None:
    """All platforms are half gone: the extract is named, not each platform."""
    found = failed(
        volume=pl.concat(
            [volume(800, {DAY: 400}, platform=p) for p in ("android", "ios")]
        )
    )
    assert found["missing_day"]["seen"] == "af: 800 events, 50% of the usual 1,600"


def test_a_lost_platform_column_is_no_missing_day() -> None:
    """A day whose rows arrived without their platform passes the volume gates."""
    there = [volume(500, {DAY: 0}, platform=p) for p in ("android", "ios")]
    assert (
        failed(volume=pl.concat([*there, volume(1000, platform="", days=[DAY])])) == {}
    )


def test_a_small_platform_passes() -> None:
    """Where twenty events a day are usual, none can be chance."""
    assert (
        failed(
            volume=pl.concat(
                [volume(800, platform="android"), volume(20, {DAY: 0}, platform="web")]
            )
        )
        == {}
    )


def test_days_that_always_differ_much_pass() -> None:
    """Where every other week has a third of the events, a third is not unusual."""
    on = {d: 900 if k % 14 < 7 else 300 for k, d in enumerate(DAYS)}
    assert failed(volume=volume(on=on)) == {}


def test_more_cases_than_can_be_read_are_counted() -> None:
    """Of eight missing days the sentence names five, and the column ``days`` all."""
    finding = failed(volume=volume(on={DAY - timedelta(days=k): 0 for k in range(8)}))[
        "missing_day"
    ]
    assert "; and 3 more" in finding["sentence"]
    assert len(finding["days"].split(", ")) == 8


def test_a_renamed_event_fails_on_the_last_day() -> None:
    """The old name came every day and is gone, while other events arrived."""
    found = failed(
        volume=pl.concat(
            [
                volume(),
                volume(50, {LAST: 0}, event="buy"),
                volume(9, {LAST: 0}, event="rate"),
            ]
        )
    )
    assert list(found) == ["vanished_event"]
    assert found["vanished_event"]["sentence"].startswith(
        "af buy, 2026-03-01: none of the usual 50. If it was renamed"
    )


def test_an_event_that_skips_days_may_skip_the_last() -> None:
    """A name that never comes on Sundays passes on a Sunday, and so does one that
    skipped other days before.
    """
    sundays = {d: 0 for d in DAYS if d.weekday() == 6}
    others = dict.fromkeys([DAY, DAY - timedelta(days=1), LAST], 0)
    for skipped in (sundays, others):
        assert (
            failed(volume=pl.concat([volume(), volume(200, skipped, event="report")]))
            == {}
        )


@pytest.mark.parametrize("days", [0, 1, 2])
def test_rows_that_always_come_late_are_not_missing(days: int) -> None:
    """The days before the cutoff are compared as past days were known at the same age.

    Lost rows are missed once they should have been known.
    """
    late = [volume(500, known_after=days), volume(500, known_after=days + 2)]
    assert failed(volume=pl.concat(late)) == {}
    last = CUTOFF - timedelta(days=days + 1)
    found = failed(
        volume=pl.concat(
            [
                volume(700, {last: 70}, known_after=days),
                volume(50, {last: 0}, "buy", "", days),
            ]
        )
    )
    assert {g: f["days"] for g, f in found.items()} == {
        "missing_day": str(last),
        "vanished_event": str(last),
    }


def test_a_missing_last_day_is_not_every_event_vanished() -> None:
    """Without any event on the last day only the missing day fails."""
    found = failed(
        volume=pl.concat([volume(on={LAST: 0}), volume(50, {LAST: 0}, event="buy")])
    )
    assert list(found) == ["missing_day"]


def test_users_who_lose_their_id_fail_the_gate() -> None:
    """The share of events without a user rises from a tenth to a half in the last
    week.
    """
    without = {d: 500 if d in since(date(2026, 2, 23)) else 100 for d in DAYS}
    found = failed(volume=volume(without_user=without))
    assert list(found) == ["unknown_users"]
    assert found["unknown_users"]["days"] == "2026-02-23 to 2026-03-01"
    assert (
        "af, 2026-02-23 to 2026-03-01: 50.0% of events have no user, 10.0% in"
        in found["unknown_users"]["sentence"]
    )


def test_an_extract_that_never_knows_users_passes() -> None:
    """So does a new extract, which has no weeks to compare with."""
    always = volume(without_user=dict.fromkeys(DAYS, 1000))
    new = volume(
        days=since(date(2026, 2, 27)), without_user=dict.fromkeys(DAYS, 900)
    ).with_columns(extract=pl.lit("own"))
    assert failed(volume=pl.concat([always, new])) == {}


@pytest.mark.parametrize("by", [8, -8, 3, -5, 12])
def test_a_clock_that_is_off_for_a_day_is_caught(by: int) -> None:
    """The gate names the day and the shift, although the day lost the hours that moved
    out of it.
    """
    found = failed(tally=tally("hour", clock(HOURS), {DAY: moved(by, first_day=True)}))
    assert list(found) == ["clock_shift"]
    assert found["clock_shift"]["days"] == "2026-02-20"
    assert (
        f"af, 2026-02-20: the hourly profile is shifted by {by:+d} hours. Check"
        in found["clock_shift"]["sentence"]
    )


def test_a_clock_that_is_off_from_a_day_on_is_caught() -> None:
    """Every day of the new zone is named."""
    days = since(DAY)
    on = {DAY: moved(-6, first_day=True), **{d: moved(-6) for d in days[1:]}}
    finding = failed(tally=tally("hour", clock(HOURS), on))["clock_shift"]
    assert finding["days"] == ", ".join(map(str, days))


@pytest.mark.parametrize(
    "hours",
    [
        moved(2),  # less than the limit
        clock(
            [n if hour < 13 else 0 for hour, n in enumerate(HOURS)]
        ),  # the second half is lost
        clock(
            [n if hour >= 11 else 0 for hour, n in enumerate(HOURS)]
        ),  # the first half is lost
        clock(
            [n + 800 * (hour == 19) for hour, n in enumerate(HOURS)]
        ),  # a campaign in the evening
        clock(
            [n + 800 * (hour == 3) for hour, n in enumerate(HOURS)]
        ),  # and one at night
        clock(
            [2 * n if hour < 8 else n for hour, n in enumerate(HOURS)]
        ),  # late events of a day whose clock was off
        clock(
            [0, 0, 0, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        ),  # ten events
    ],
)
def test_other_unusual_hours_are_no_wrong_clock(hours: dict[str, int]) -> None:
    """A day that is cut short, busy at one hour, or tiny passes."""
    assert failed(tally=tally("hour", clock(HOURS), {DAY: hours})) == {}


def test_a_lost_half_that_resembles_the_other_is_no_wrong_clock() -> None:
    """Morning and evening have the same shape, and a day lost its morning."""
    halves = [10, 20, 40, 60, 80, 100, 80, 60, 40, 20, 10, 5] * 2
    assert (
        failed(tally=tally("hour", clock(halves), {DAY: clock([0] * 12 + halves[12:])}))
        == {}
    )


def test_a_bulk_backfill_is_named_with_its_day() -> None:
    """On one day half of the received rows were old history."""
    history = volume(40, days=DAYS[:25]).with_columns(known_date=pl.lit(DAY))
    found = failed(volume=pl.concat([volume(known_after=0), history]))
    assert list(found) == ["bulk_backfill"]
    assert (
        "af, 2026-02-20: 50% of 2,000 events received were over 7 days old"
        in found["bulk_backfill"]["sentence"]
    )


def test_stragglers_are_no_backfill() -> None:
    """A tenth that always arrives ten days late passes, and so do few old rows
    alone.
    """
    few = volume(60, days=DAYS[:1]).with_columns(
        known_date=pl.lit(DAY), extract=pl.lit("own")
    )
    assert (
        failed(
            volume=pl.concat(
                [volume(900, known_after=0), volume(100, known_after=10), few]
            )
        )
        == {}
    )


def test_a_lost_column_is_named_with_its_day() -> None:
    """The country was filled in most rows before and is empty on the last day."""
    columns = tally("column", {"user_id": 936, "country": 800}, {LAST: {"country": 0}})
    found = failed(tally=pl.concat([tally("hour", clock(HOURS)), columns]))
    assert list(found) == ["schema_change"]
    assert (
        found["schema_change"]["seen"]
        == "af column country: filled in 0 of 936 rows, usually in 85%"
    )
    assert found["schema_change"]["days"] == "2026-03-01"


@pytest.mark.parametrize(("usual", "last"), [(300, 0), (8000, 2000), (8000, 9360)])
def test_rare_and_thinner_columns_are_not_lost(usual: int, last: int) -> None:
    """A column filled in three per cent of rows may be empty, and one filled in a
    quarter of its usual rows isn't lost.
    """
    columns = tally("column", {"revenue": usual}, {LAST: {"revenue": last}})
    assert (
        failed(
            tally=pl.concat([tally("hour", clock([10 * n for n in HOURS])), columns])
        )
        == {}
    )


def test_a_small_extract_may_lack_a_column_by_chance() -> None:
    """With forty expected filled rows an empty column passes."""
    columns = tally("column", {"country": 40}, {LAST: {"country": 0}})
    assert failed(tally=pl.concat([tally("hour", {"12": 60}), columns])) == {}


def test_amounts_in_other_currencies_are_named() -> None:
    """Three in ten amounts are not in the study's currency, most of those in euros."""
    found = failed(tally=tally("currency", {"USD": 70, "EUR": 20, "GBP": 10}))
    assert list(found) == ["mixed_currencies"]
    assert (
        found["mixed_currencies"]["seen"]
        == "amounts: 840 of 2,800 are not in USD, most of them in EUR"
    )
    assert found["mixed_currencies"]["days"] == "2026-02-02 to 2026-03-01"


def test_few_other_amounts_pass() -> None:
    """A tenth in euros is tolerated, and so are nineteen amounts in all."""
    assert failed(tally=tally("currency", {"USD": 90, "EUR": 10})) == {}
    assert failed(tally=tally("currency", {"EUR": 0}, {DAY: {"EUR": 19}})) == {}


@pytest.mark.parametrize("rows", [200_000, 1_000_000])
def test_a_report_cut_off_at_its_limit_is_named(rows: int) -> None:
    """An AppsFlyer file with exactly as many rows as a report can have fails, also when
    newer files arrived since.
    """
    cut = file("af/in_app.csv", rows, ingested_at=datetime(2026, 2, 20, tzinfo=UTC))
    found = failed(files=pl.concat([cut, file("af/b.csv")]))
    assert list(found) == ["truncated_report"]
    assert (
        f"af/in_app.csv, 2026-02-20: exactly {rows:,} rows. AppsFlyer cuts"
        in found["truncated_report"]["sentence"]
    )


def test_round_numbers_elsewhere_are_no_truncation() -> None:
    """A file of another source, one with a row less, and one ingested more than four
    weeks before the newest pass.
    """
    files = [
        file("own/a.csv", 200_000, extract="own"),
        file("af/b.csv", 199_999),
        file("af/c.csv", 200_000, ingested_at=datetime(2026, 1, 20, tzinfo=UTC)),
    ]
    assert failed(files=pl.concat(files)) == {}


def test_a_report_delivered_twice_is_named() -> None:
    """If half the rows of the newest ingest are copies, the extract and the file with
    most of them are named.
    """
    found = failed(
        files=pl.concat([file("af/a.csv"), file("af/a (1).csv", copies=5000)])
    )
    assert list(found) == ["duplicate_rows"]
    assert (
        "af, 2026-03-02: 5,000 of 10,000 rows are copies, most of them in af/a (1).csv"
        in (found["duplicate_rows"]["sentence"])
    )


def test_a_day_that_an_export_holds_twice_is_named() -> None:
    """If half of a day's rows are copies and a twentieth usually are, the day fails. In
    another extract, where half are copies on every day, it doesn't.
    """
    hours = tally("hour", {"12": 1000})
    copies = tally("copy", {"equal row": 50}, {DAY: {"equal row": 525}})
    coarse = [
        part.with_columns(extract=pl.lit("coarse"))
        for part in (hours, tally("copy", {"equal row": 500}))
    ]
    counted = pl.concat([hours, copies, *coarse])
    finding = content_gates.copied_day(counted, STUDY, CUTOFF)
    assert finding["sentence"].startswith(
        f"af, {DAY}: 525 of 1,000 rows are copies of others, 52% where 5% is usual. "
    )
    assert finding["days"] == str(DAY)


def test_few_copies_are_chance() -> None:
    """Nineteen copies among twenty rows fail nothing."""
    copies = tally("copy", {}, {DAY: {"equal row": 19}})
    counted = pl.concat([tally("hour", {"12": 20}), copies])
    assert content_gates.copied_day(counted, STUDY, CUTOFF)["passed"]


def test_rows_delivered_again_later_and_small_files_pass() -> None:
    """Re-delivered rows are normal, and so are copies in an older ingest or in a file
    of ninety-nine rows.
    """
    files = [
        file("af/a.csv", duplicate=4900),
        file("af/old.csv", copies=4900, ingested_at=datetime(2026, 3, 1, tzinfo=UTC)),
        file("own/a.csv", rows=99, copies=98, extract="own"),
    ]
    assert failed(files=pl.concat(files)) == {}


@pytest.mark.parametrize("clean", [True, False])
def test_rows_known_only_at_the_cutoff_or_later_change_no_finding(
    clean: bool,
) -> None:
    """Nor do rows of days from the cutoff on."""
    base = (
        volume(known_after=0)
        if clean
        else volume(on={DAY: 0, LAST: 100}, known_after=0)
    )
    late = [
        volume(
            5000, event=event, platform="ios", without_user=dict.fromkeys(DAYS, 5000)
        ).with_columns(known_date=day)
        for event, day in (
            ("open", pl.lit(CUTOFF)),
            ("other", pl.lit(CUTOFF + timedelta(days=9))),
        )
    ]
    ahead = volume(9000, days=[CUTOFF, CUTOFF + timedelta(days=400)])
    hours = (
        tally("hour", clock(HOURS[::-1]))
        .filter(pl.col("date") == LAST)
        .with_columns(date=pl.lit(CUTOFF))
    )
    amounts = (
        tally("currency", {"EUR": 999})
        .filter(pl.col("date") == LAST)
        .with_columns(date=pl.lit(CUTOFF))
    )
    with_late = findings_of(
        volume=pl.concat([base, *late, ahead]),
        tally=pl.concat([CLEAN_TALLY, hours, amounts]),
    )
    assert with_late == findings_of(volume=base)


def test_a_holiday_is_accepted_by_its_day_alone() -> None:
    """missing_day:2026-12-25 accepts that day only; a misspelt gate is refused."""
    finding = {
        "gate": ["missing_day"],
        "passed": [False],
        "days": ["2026-12-25"],
        "sentence": ["few events"],
    }
    holiday = pl.DataFrame(finding)
    check_gates(holiday, ["missing_day:2026-12-25"])
    check_gates(holiday, ["missing_day"])
    with pytest.raises(GateError, match="few events"):
        check_gates(holiday, ["missing_day:2026-12-24"])
    with pytest.raises(GateError, match="few events"):
        check_gates(
            holiday.with_columns(days=pl.lit("2026-12-25, 2026-12-28")),
            ["missing_day:2026-12-25"],
        )
    with pytest.raises(GateError, match="mising_day is not a gate"):
        check_gates(holiday, ["mising_day:2026-12-25"])


def of_kind(
    kind: str, n: int, on: dict[date, int] | None = None, event: str = "mail"
) -> pl.DataFrame:
    """Events of another kind than in_app beside those of the app."""
    rows = volume(n, on, event=event).with_columns(kind=pl.lit(kind))
    return pl.concat([volume(), rows])


@pytest.mark.parametrize("kind", ["message_sent", "message_engaged", "install"])
def test_a_campaign_or_a_wave_of_installs_is_no_excess(kind: str) -> None:
    """A campaign to everybody on one day in fourteen: messages follow campaigns, not
    the days of people.
    """
    sent = {d: 9000 for k, d in enumerate(DAYS) if k % 14 == 5}
    assert failed(volume=of_kind(kind, 300, sent)) == {}


def test_a_day_without_messages_that_come_daily_is_named_with_its_kind() -> None:
    """A lost report of messages is missed, although the app's own events are there."""
    found = failed(volume=of_kind("message_sent", 300, {DAY: 0}))
    assert {g: f["days"] for g, f in found.items()} == {"missing_day": str(DAY)}
    assert found["missing_day"]["seen"] == (
        "af message_sent: 0 events, 0% of the usual 300"
    )


def test_messages_that_are_sent_now_and_then_may_be_absent() -> None:
    """Nothing is sent on Sundays, and an extract may hold few of them anyway."""
    sundays = {d: 0 for d in DAYS if d.weekday() == 6}
    assert failed(volume=of_kind("message_sent", 300, sundays)) == {}
    assert failed(volume=of_kind("message_sent", 20, {DAY: 0})) == {}


def test_a_day_without_anything_is_named_once() -> None:
    """All kinds are lost: the extract is named, not each kind."""
    both = of_kind("message_sent", 300).filter(pl.col("date") != DAY)
    found = failed(volume=both)
    assert found["missing_day"]["seen"] == "af: 0 events, 0% of the usual 1,000"


def test_messages_do_not_hide_a_missing_day() -> None:
    """On the day of a campaign half of what people do is lost."""
    found = failed(
        volume=pl.concat(
            [
                volume(on={DAY: 450}),
                volume(300, {DAY: 9000}, event="mail").with_columns(
                    kind=pl.lit("message_sent")
                ),
            ]
        )
    )
    assert found["missing_day"]["seen"] == "af: 450 events, 45% of the usual 1,000"


def test_a_message_that_is_no_longer_sent_has_not_vanished() -> None:
    """Only events of people vanish; a campaign ends."""
    ended = dict.fromkeys(DAYS[-1:], 0)
    both = of_kind("message_sent", 300, ended)
    others = volume(40, event="other").with_columns(kind=pl.lit("message_sent"))
    assert failed(volume=pl.concat([both, others])) == {}


def in_country(
    country: str | None, volume: pl.DataFrame, cutoff: date = CUTOFF
) -> dict[str, dict[str, Any]]:
    """The findings that fail in a study with a country."""
    study = STUDY.model_copy(
        update={"gates": STUDY.gates.model_copy(update={"country": country})}
    )
    findings = gates.data(volume, CLEAN_TALLY, file(), study, cutoff)
    return {f["gate"]: f for f in findings if not f["passed"]}


EASTER_CUTOFF = date(2026, 5, 1)
EASTER = [date(2026, 4, day) for day in (3, 4, 5, 6)]
SPRING = [EASTER_CUTOFF - timedelta(days=k) for k in range(140, 0, -1)]
CHRISTMAS = [date(2025, 12, 20) + timedelta(days=k) for k in range(17)]


def closed(*days: date) -> pl.DataFrame:
    """The days of a shop that was closed at Christmas and on these days."""
    return volume(on=dict.fromkeys([*CHRISTMAS, *days], 0), days=SPRING)


@pytest.mark.parametrize("country", ["GB", "DE-BY"])
def test_a_public_holiday_is_not_missing_where_the_study_names_a_country(
    country: str,
) -> None:
    """From Good Friday to Easter Monday a shop is closed, as it was at Christmas."""
    shop = closed(*EASTER)
    assert in_country(country, shop, EASTER_CUTOFF) == {}
    without = in_country(None, shop, EASTER_CUTOFF)
    assert without["missing_day"]["days"] == ", ".join(map(str, EASTER))


def test_the_days_that_were_not_judged_are_told() -> None:
    """A reader of the report sees which days nobody looked at."""
    study = STUDY.model_copy(
        update={"gates": STUDY.gates.model_copy(update={"country": "GB"})}
    )
    days = volume(days=SPRING)
    findings = gates.data(days, CLEAN_TALLY, file(), study, EASTER_CUTOFF)
    assert (
        "not judged, as days off in GB: 2026-04-03 (Good Friday)"
        in (findings[0]["sentence"])
    )


def test_a_day_beside_the_holidays_is_missing_all_the_same() -> None:
    """The Wednesday after Easter is lost."""
    lost = date(2026, 4, 8)
    shop = closed(*EASTER, lost)
    assert in_country("GB", shop, EASTER_CUTOFF)["missing_day"]["days"] == str(lost)


def test_an_empty_holiday_is_missing_where_people_are_active_on_holidays() -> None:
    """In an app that had events at Christmas, Easter without any has lost files; so has
    one whose log holds no other holiday but all weekdays. Few events are not judged.
    """
    lost = dict.fromkeys(EASTER, 0)
    for days in (SPRING, SPRING[-100:]):
        app = volume(on=lost, days=days)
        found = in_country("GB", app, EASTER_CUTOFF)
        assert found["missing_day"]["days"] == ", ".join(map(str, EASTER))
    quiet = volume(on=dict.fromkeys(EASTER, 200), days=SPRING)
    assert in_country("GB", quiet, EASTER_CUTOFF) == {}


def test_the_days_around_christmas_do_not_excuse_each_other() -> None:
    """Ten days are lost of an app that had events on the holidays before."""
    cutoff = date(2027, 1, 8)
    days = [cutoff - timedelta(days=k) for k in range(160, 0, -1)]
    lost = [date(2026, 12, 19) + timedelta(days=k) for k in range(10)]
    app = volume(on=dict.fromkeys(lost, 0), days=days)
    assert in_country("GB", app, cutoff)["missing_day"]["days"] == ", ".join(
        map(str, lost)
    )


def test_no_day_is_compared_with_a_holiday() -> None:
    """Two closed Fridays among the four before don't make the next one busy."""
    fridays = [date(2026, 4, 3), date(2026, 4, 10)]
    shop = closed(*fridays)
    busy = in_country(None, shop, EASTER_CUTOFF)
    assert "excess_day" in busy
    found = in_country("GB", shop, EASTER_CUTOFF)
    assert {g: f["days"] for g, f in found.items()} == {"missing_day": "2026-04-10"}


def test_an_event_may_be_absent_on_a_holiday() -> None:
    """The last day is Easter Monday, on which nobody buys."""
    days = [d for d in SPRING if d <= EASTER[-1]]
    bought = volume(50, {EASTER[-1]: 0}, event="buy", days=days)
    both = pl.concat([volume(days=days), bought])
    cutoff = EASTER[-1] + timedelta(days=1)
    assert "vanished_event" in in_country(None, both, cutoff)
    assert in_country("GB", both, cutoff) == {}


def test_a_weekday_that_varies_more_must_be_further_off() -> None:
    """Sundays swing between a third and one and a half, other days hardly: a quiet
    Sunday is usual, a Sunday without events is not, and neither is a Monday at a third.
    """
    days = [CUTOFF - timedelta(days=k) for k in range(150, 0, -1)]
    swings = [300, 1500, 400, 1200, 900]
    sundays = [d for d in days if d.weekday() == 6]
    usual = {d: swings[k % 5] for k, d in enumerate(sundays)}
    assert failed(volume=volume(on=usual, days=days)) == {}
    lost = volume(on={**usual, sundays[-2]: 0}, days=days)
    assert failed(volume=lost)["missing_day"]["days"] == str(sundays[-2])
    monday = date(2026, 2, 23)
    quiet = volume(on={**usual, monday: 333}, days=days)
    assert failed(volume=quiet)["missing_day"]["days"] == str(monday)


FACTORS = [0.7, 1.3, 1.0, 0.8, 1.4]
VARYING = [clock([round(n * FACTORS[k % 5]) for n in HOURS]) for k in range(len(DAYS))]


def by_hour(hours: list[dict[str, int]]) -> dict[str, pl.DataFrame]:
    """Volume and tally of days with these events by hour."""
    on = dict(zip(DAYS, hours, strict=True))
    totals = {day: sum(clock.values()) for day, clock in on.items()}
    return {"volume": volume(on=totals), "tally": tally("hour", {}, on)}


@pytest.mark.parametrize("lost", ["evening", "morning"])
def test_half_a_day_without_events_is_missing_in_a_log_that_varies(lost: str) -> None:
    """The days vary by a factor of two, so half a day's number is nothing unusual, but
    its empty hours are.
    """
    assert failed(**by_hour(VARYING)) == {}
    is_kept = {"evening": lambda hour: hour < 13, "morning": lambda hour: hour >= 13}
    kept = is_kept[lost]
    half = [
        {h: n for h, n in hours.items() if day != DAY or kept(int(h))}
        for day, hours in zip(DAYS, VARYING, strict=True)
    ]
    found = failed(**by_hour(half))
    words = {"evening": "from 13:00 on", "morning": "before 13:00"}[lost]
    assert f"af, 2026-02-20: no events {words}" in found["missing_day"]["sentence"]


@pytest.mark.parametrize("share", [5, 40])
def test_a_small_day_may_have_empty_hours(share: int) -> None:
    """Where few events are usual, or every hour has less, an empty evening is chance."""
    quiet = [
        clock([n // share for n in HOURS]) if day == DAY or share > 5 else hours
        for day, hours in zip(DAYS, VARYING, strict=True)
    ]
    found = failed(**by_hour(quiet))
    assert "no events" not in found.get("missing_day", {}).get("sentence", "")
