"""The laws of time, as properties, and snapshots built from a store."""

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from churn.errors import CutoffError, StudyError
from churn.events import activity, ingest, properties
from churn.features import compute, labels, leakage, snapshots
from churn.features.catalogue import Plan, catalogue
from churn.features.cutoffs import Calendar
from churn.settings import Settings, Windows
from churn.store import Store, open_filled

from ..conftest import DAY0, event_log

CUTOFF = DAY0 + timedelta(days=20)
LATER = date(2030, 1, 1)
PLAN = Plan(observation_days=14, vocabulary=("open", "buy"))
WINDOWS = Windows(observation_days=14, eligible_days=14, lead_days=1, horizon_days=7)
KINDS = st.sampled_from(["in_app", "purchase", "message_sent", "uninstall", "install"])


@st.composite
def rows(
    draw: st.DrawFn, low: float, high: float, received: st.SearchStrategy[Any]
) -> dict[str, Any]:
    """One event between two days."""
    return {
        "u": draw(st.sampled_from(["u1", "u2", "u3"])),
        "day": draw(st.floats(low, high, exclude_max=True, width=32)),
        "event": draw(st.sampled_from(["open", "buy", "rare"])),
        "kind": draw(KINDS),
        "revenue": draw(st.none() | st.floats(-50, 50, width=16)),
        "received": draw(received),
    }


NEVER_STATED = st.none()
PAST = st.lists(
    rows(-30, 20, NEVER_STATED | st.floats(-30, 19.9)), min_size=1, max_size=12
)
FUTURE = st.lists(rows(20, 60, NEVER_STATED | st.floats(-30, 60)), max_size=8)
LATE = st.lists(rows(-30, 20, st.floats(20, 60)), max_size=8)


def observe(
    log: list[dict[str, Any]], everybody: list[dict[str, Any]] | None = None
) -> pl.DataFrame:
    """Features at day 20 of a log, computed as in training and scoring.

    ``everybody`` is the log of all users, if the app has more.
    """
    frame = event_log(*log).lazy()
    first = pl.col("first_at").dt.date().alias("first_date")
    users = activity.users_from_events(frame, "UTC").select(
        "user_id", "known_date", first
    )
    daily, all_days = (
        activity.from_events(event_log(*rows).lazy(), "UTC", "USD")
        for rows in (log, everybody or log)
    )
    level = compute.app_level([all_days], [CUTOFF], PLAN)
    features = compute.compute(
        daily, users, [CUTOFF], PLAN, WINDOWS.eligible_days, level
    )
    return features.sort("user_id")


SOURCES = st.lists(st.sampled_from(["table", "ga4"]), min_size=12, max_size=12)
GOING = {"event": "gone", "kind": "erasure"}


@settings(max_examples=60)
@given(past=PAST, late=LATE, going=LATE, sources=SOURCES)
def test_cutoffs_computed_together_are_computed_as_if_alone(
    past: list[dict[str, Any]],
    late: list[dict[str, Any]],
    going: list[dict[str, Any]],
    sources: list[str],
) -> None:
    """However late rows became known, and whichever source they came from, the features
    of a cutoff are the same whether or not later cutoffs are computed with it. Some
    users are gone for ever from a day on, which may be known late, too.
    """
    gone = [row | GOING for row in going[:1]]
    log = (past + late + gone)[: len(sources)]
    numbers = pl.Series(
        [[{"name": "xp", "value": row["day"]}] for row in log],
        dtype=properties.NUMBERS,
    )
    frame = event_log(*log).lazy()
    frame = frame.with_columns(source=pl.Series(sources[: len(log)]), numbers=numbers)
    daily = activity.from_events(frame, "UTC", "USD")
    first = pl.col("first_at").dt.date().alias("first_date")
    users = activity.users_from_events(frame, "UTC").select(
        "user_id", "known_date", first
    )
    plan = Plan(14, (), ("open", "buy"), ("xp",), ("table", "ga4"))
    cutoffs = [DAY0 + timedelta(days=day) for day in (5, 19, 20, 31)]

    def features(days: list[date]) -> pl.DataFrame:
        table = compute.compute(daily, users, days, plan, WINDOWS.eligible_days)
        return table.sort("cutoff", "user_id")

    alone = pl.concat([features([cutoff]) for cutoff in cutoffs])
    assert_frame_equal(features(cutoffs), alone, rel_tol=1e-9)


@settings(max_examples=40)
@given(past=PAST, future=FUTURE, late=LATE)
def test_no_event_after_the_cutoff_or_learned_after_it_changes_a_feature(
    past: list[dict[str, Any]], future: list[dict[str, Any]], late: list[dict[str, Any]]
) -> None:
    """Adding events dated at or after the cutoff, or received at or after it, changes
    no feature or eligibility.
    """
    leakage.compare(observe(past), observe(past + future + late), CUTOFF)


@settings(max_examples=60)
@given(
    horizon=st.lists(rows(21, 28, NEVER_STATED), max_size=5),
    past=PAST,
    after=st.lists(rows(28, 60, NEVER_STATED), max_size=5),
)
def test_no_event_outside_the_horizon_changes_a_label(
    horizon: list[dict[str, Any]],
    past: list[dict[str, Any]],
    after: list[dict[str, Any]],
) -> None:
    """Who returned depends on the horizon alone: events before it (lead time included)
    and after it change nothing.
    """
    users = ["u1", "u2", "u3"]
    asked = pl.DataFrame({"user_id": users, "cutoff": [CUTOFF] * 3})

    def came(log: list[dict[str, Any]]) -> list[int | None]:
        frame = event_log(*log, {"u": "nobody", "day": 0}).lazy()
        daily = activity.from_events(frame, "UTC", "USD")
        find = partial(labels.first_days, daily, counts_as_active=(), as_of=LATER)
        returns = labels.returned(asked, WINDOWS, None, find)
        return returns["return_days"].to_list()

    lead = [{"u": "u1", "day": 20.5}]
    assert came(horizon) == came(past + lead + horizon + after)


@settings(max_examples=15)
@given(log=PAST)
def test_features_do_not_depend_on_how_users_are_bucketed(
    log: list[dict[str, Any]],
) -> None:
    """Each user computed alone gives the same numbers as all together."""
    alone = [
        observe([r for r in log if r["u"] == user], log)
        for user in sorted({r["u"] for r in log})
    ]
    leakage.compare(observe(log), pl.concat(alone), CUTOFF)


def test_a_snapshot_has_one_row_per_eligible_user_and_cutoff(
    filled: Store,
) -> None:
    """Built from the store: unique keys, every feature present, labels null exactly
    where the horizon isn't over.
    """
    store = filled
    end = Calendar.of(store).end
    plan = snapshots.plan(store, end - timedelta(days=21))
    cutoffs = [end - timedelta(days=14), end - timedelta(days=13), end]
    snapshot = snapshots.build(store, cutoffs, plan)
    assert snapshot.select("user_id", "cutoff").is_unique().all()
    assert [*catalogue(plan), "return_days", "churned"] == snapshot.columns[2:]
    known = (
        snapshot.group_by("cutoff")
        .agg(pl.col("churned").is_not_null().all())
        .sort("cutoff")
    )
    assert known["churned"].to_list() == [True, False, False]


def test_labels_as_of_an_earlier_day_are_those_known_then(
    filled: Store,
) -> None:
    """As of its own horizon's end a label is known; a day earlier it is not."""
    store = filled
    cutoff = DAY0 + timedelta(days=60)
    plan = snapshots.plan(store, cutoff)
    end = store.settings.windows.horizon(cutoff)[1]
    assert snapshots.build(store, [cutoff], plan, end)["churned"].null_count() == 0
    early = snapshots.build(store, [cutoff], plan, end - timedelta(days=1))
    assert early["churned"].null_count() == early.height


def test_a_return_is_known_as_soon_as_it_came_and_churn_when_the_horizon_is_over(
    filled: Store,
) -> None:
    """Half-way through a horizon of 14 days: churned is null, return_days as at its end
    but for days still to come.
    """
    store = filled
    cutoff = DAY0 + timedelta(days=60)
    plan = snapshots.plan(store, cutoff)
    end, half = (
        snapshots.build(store, [cutoff], plan, cutoff + timedelta(days=d)).with_columns(
            pl.col("return_days").fill_null(99)
        )
        for d in (14, 7)
    )
    assert end["churned"].equals((end["return_days"] == 99).alias("churned"))
    assert (
        0
        < end.filter(pl.col("return_days") < 7).height
        < end.filter(pl.col("return_days") < 14).height
    )
    assert half["churned"].null_count() == half.height
    came = pl.when(pl.col("return_days") < 7).then("return_days").otherwise(99)
    assert half["return_days"].equals(
        end.select(came.alias("return_days"))["return_days"]
    )


def test_training_also_reads_the_cutoff_whose_horizon_is_half_over(
    filled: Store,
) -> None:
    """Days 40 and 54, as of day 68: day 59, a step of nine days earlier, comes with
    them, without outcome; not where a step is the whole horizon.
    """
    store = filled
    cutoffs, as_of = (
        [DAY0 + timedelta(days=d) for d in (40, 54)],
        DAY0 + timedelta(days=68),
    )
    rows = snapshots.training_rows(
        store, cutoffs, snapshots.plan(store, cutoffs[-1]), as_of
    )
    open_one = DAY0 + timedelta(days=59)
    assert sorted(rows["cutoff"].unique()) == [*cutoffs, open_one]
    assert rows.filter(pl.col("churned").is_null())["cutoff"].unique().to_list() == [
        open_one
    ]
    slow = store.settings.model_copy(
        update={
            "backtest": store.settings.backtest.model_copy(update={"step_days": 14})
        }
    )
    assert Calendar.of(store.under(slow)).with_open(cutoffs, as_of) == cutoffs
    assert Calendar.of(store).with_open([*cutoffs, open_one], as_of) == [
        *cutoffs,
        open_one,
    ]


def test_a_snapshot_of_nobody_is_labelled_too(filled: Store) -> None:
    """Without rows the columns are there all the same."""
    store = filled
    some = snapshots.observe(store, [DAY0 + timedelta(days=60)], PLAN)
    none = snapshots.label(some.clear(), store)
    assert none.is_empty()
    assert none.schema == snapshots.label(some, store).schema


def test_cutoffs_outside_the_data_are_refused(filled: Store) -> None:
    """Before the first eligible window and after the last complete day: an error that
    names the range.
    """
    store = filled
    for cutoff in (DAY0, DAY0 + timedelta(days=500)):
        with pytest.raises(CutoffError, match=r"choose from 2026-01-15 to 2026-0"):
            snapshots.observe(store, [cutoff], PLAN)


def test_an_active_event_that_is_not_in_the_log_is_refused(
    filled: Store,
) -> None:
    """The error for a misspelt active event lists the commonest events."""
    store = filled
    wrong = store.settings.model_copy(
        update={
            "activity": store.settings.activity.model_copy(
                update={"counts_as_active": ("oepn",)}
            )
        }
    )
    with pytest.raises(
        StudyError, match="oepn not in the log; the commonest are open, search, buy"
    ):
        snapshots.plan(store.under(wrong), DAY0 + timedelta(days=60))


def test_days_are_those_of_the_study_time_zone(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """23:30 UTC on 9 January is 10 January in Berlin: seen at cutoff 11 January as
    yesterday.
    """
    (tmp_path / "events.csv").write_text(
        "user_id,event,time\na,open,2026-01-09T23:30:00Z\na,open,2026-01-01\nb,open,2026-01-12T12:00:00Z\n"
    )
    settings = make_study(
        timezone="Europe/Berlin",
        windows={"observation_days": 28, "eligible_days": 7, "horizon_days": 1},
    )
    ingest.ingest(settings, progress=False)
    store = open_filled(settings)
    got = snapshots.observe(store, [date(2026, 1, 11)], Plan(28))
    assert got["recency_days"].to_list() == [1]
