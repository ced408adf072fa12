"""One row per eligible user and cutoff: features and label, built bucket by bucket."""

import logging
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import polars as pl

from churn import activity as daily
from churn import features, labels, sources, store
from churn.errors import CutoffError, LeakError, StudyError
from churn.features import Plan
from churn.store import Store
from churn.study import Study, Windows
from churn.tables import Snapshot

log = logging.getLogger(__name__)
SAME = 1e-9  # relative: float sums may differ in their last digits between engines


def build(target: Store, study: Study, cutoffs: Sequence[date], plan: Plan, as_of: date | None = None) -> pl.DataFrame:
    """Snapshots of all cutoffs, sorted by cutoff and user: user_id, cutoff, the catalogue's columns, churned.

    ``as_of``: what the labels may know, see ``label``. Raises CutoffError for a cutoff the log can't answer for.
    """
    return label(observe(target, study, cutoffs, plan), target, study, as_of)


def observe(target: Store, study: Study, cutoffs: Sequence[date], plan: Plan) -> pl.DataFrame:
    """Snapshots without their label: features of the users eligible at each cutoff."""
    check_cutoffs(target, study, cutoffs)
    parts = [
        of_users(*tables(target, study, [bucket]), cutoffs, plan, study.windows).collect()
        for bucket in range(target.n_buckets)
    ]
    snapshot = pl.concat(parts).sort("cutoff", "user_id")
    log.info("snapshot: %d rows at %d cutoffs", snapshot.height, len(cutoffs))
    return snapshot


def label(snapshot: pl.DataFrame, target: Store, study: Study, as_of: date | None = None) -> pl.DataFrame:
    """Add ``churned``: true without activity in the horizon, null where the horizon isn't over by ``as_of``.

    ``as_of`` (default, and at most: the day after the store's coverage) also hides what became known later than a
    source takes to settle from then on: a model trained as of that day could not have seen it.
    """
    end = min(as_of or date.max, covered_end(target))
    settled = end + timedelta(days=max(sources.settling_days(extract) for extract in study.extracts))
    rows, _ = tables(target, study)
    cutoffs = snapshot["cutoff"].unique().to_list()
    came = labels.returned(rows, cutoffs, study.windows, study.activity.counts_as_active, settled).collect()
    marked = snapshot.drop("churned", strict=False).join(
        came.with_columns(came=pl.lit(True)), on=["user_id", "cutoff"], how="left", maintain_order="left"
    )
    mature = pl.col("cutoff") + timedelta(days=study.windows.lead_days + study.windows.horizon_days) <= end
    labelled = marked.with_columns(pl.when(mature).then(pl.col("came").is_null()).alias("churned")).drop("came")
    Snapshot.validate(labelled.select(Snapshot.column_names()))
    return labelled


def tables(target: Store, study: Study, buckets: Sequence[int] | None = None) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Daily activity and users (first_date in the study's time zone) of some buckets, or of all."""
    users = store.scan(target, "users", buckets)
    first = pl.col("first_at").dt.convert_time_zone(study.timezone).dt.date().alias("first_date")
    return store.scan(target, "activity", buckets), users.select("user_id", "known_date", first)


def of_users(
    rows: pl.LazyFrame, users: pl.LazyFrame, cutoffs: Sequence[date], plan: Plan, windows: Windows
) -> pl.LazyFrame:
    """Features of whole users; the one road from activity to features, for training, scoring and the poison check."""
    return features.compute(rows, users, cutoffs, plan, windows.eligible_days)


def covered_end(target: Store) -> date:
    """The day after the last complete one: the default cutoff of a score."""
    if target.covered_until is None:
        raise CutoffError("the store has no complete day yet: run `churn ingest` first")
    return target.covered_until + timedelta(days=1)


def parse_cutoff(text: str) -> date | None:
    """A cutoff from a notebook parameter; empty is null. Raises CutoffError unless it is a date like 2026-03-01."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise CutoffError(f"{text!r} is no cutoff; write a date like 2026-03-01") from None


def earliest(target: Store, study: Study) -> date:
    """The first cutoff with a whole eligible window behind it."""
    first = target.first_date or date.max
    return first + timedelta(days=study.windows.eligible_days)


def check_cutoffs(target: Store, study: Study, cutoffs: Iterable[date]) -> None:
    """Raise CutoffError for cutoffs before the log has an eligible window or after its last complete day."""
    low, high = earliest(target, study), covered_end(target)
    outside = [c.isoformat() for c in cutoffs if not low <= c <= high]
    if outside:
        raise CutoffError(f"cutoff {', '.join(outside)} is outside the data: choose from {low} to {high}")


def series(newest: date, study: Study, n: int, not_before: date) -> list[date]:
    """Up to ``n`` cutoffs, a step apart, the last one ``newest``, oldest first; none before ``not_before``.

    >>> from churn.study import parse
    >>> from pathlib import Path
    >>> study = parse({"extracts": [{"source": "table", "path": "x"}]}, Path("."))
    >>> [d.isoformat() for d in series(date(2026, 3, 1), study, 3, date(2026, 2, 20))]
    ['2026-02-22', '2026-03-01']
    """
    days = [newest - timedelta(days=k * study.backtest.step_days) for k in range(n)]
    return sorted(d for d in days if d >= not_before)


def plan(target: Store, study: Study, newest_cutoff: date) -> Plan:
    """The feature plan as it could be made at ``newest_cutoff``. Raises StudyError for unknown active events."""
    check_active_events(target, study)
    rows, _ = tables(target, study)
    names = features.vocabulary(rows, newest_cutoff, study.windows.observation_days, study.sources)
    return Plan(study.windows.observation_days, study.activity.counts_as_active, names, study.sources)


def check_active_events(target: Store, study: Study) -> None:
    """Raise StudyError if counts_as_active names an event or kind that the log has never seen."""
    volume = store.scan(target, "volume").group_by("event", "kind").agg(pl.col("n").sum()).collect()
    seen = {*volume["event"], *("kind:" + volume["kind"])}
    missing = [name for name in study.activity.counts_as_active if name not in seen]
    if missing:
        common = volume.group_by("event").agg(pl.col("n").sum()).sort("n", "event", descending=[True, False])
        names = ", ".join(common["event"].head(20))
        raise StudyError(f"activity.counts_as_active: {', '.join(missing)} not in the log; the commonest are {names}")


def poison_check(target: Store, study: Study, cutoffs: Sequence[date], plan: Plan, n_buckets: int = 1) -> int:
    """Rebuild some users' features in a world whose future is absurd; returns how many users were compared.

    In a copy of some user buckets everything dated or learned at or after each cutoff is thrown away, and nonsense put
    in its place. Raises LeakError naming the features that moved by more than rounding.
    """
    rows, users = (t.collect() for t in tables(target, study, range(n_buckets)))
    n_users = 0
    for cutoff in cutoffs:
        honest = of_users(rows.lazy(), users.lazy(), [cutoff], plan, study.windows).collect()
        poisoned = of_users(
            _poison(rows, cutoff).lazy(), _poison_users(users, cutoff).lazy(), [cutoff], plan, study.windows
        ).collect()
        compare(honest, poisoned, cutoff)
        n_users += honest.height
    log.info("poison check: %d users at %d cutoffs, no feature sees the future", n_users, len(cutoffs))
    return n_users


def _poison(rows: pl.DataFrame, cutoff: date) -> pl.DataFrame:
    past = rows.filter(daily.known_before(pl.lit(cutoff)))
    absurd = past.with_columns(n=pl.lit(10**6, pl.Int64), revenue=pl.lit(-1e9))
    shift = (pl.lit(cutoff) - pl.col("date")).dt.total_days()
    # The nearest day after the cutoff, and old days that were learned on it: one trap for each clock.
    future = absurd.with_columns(date=pl.lit(cutoff), last_at=pl.col("last_at") + pl.duration(days=shift))
    late = absurd.with_columns(known_date=pl.lit(cutoff))
    return pl.concat([past, future, late])


def _poison_users(users: pl.DataFrame, cutoff: date) -> pl.DataFrame:
    past = users.filter(pl.col("known_date").is_null() | (pl.col("known_date") < cutoff))
    learned = past.with_columns(known_date=pl.lit(cutoff), first_date=pl.lit(date(1990, 1, 1)))
    return pl.concat([past.filter(pl.col("first_date") < cutoff), learned])


def compare(honest: pl.DataFrame, poisoned: pl.DataFrame, cutoff: date) -> None:
    """Raise LeakError unless both frames hold the same users with the same features (within 1e-9 relative)."""
    key = ["user_id", "cutoff"]
    both = honest.join(poisoned, on=key, how="full", coalesce=True, suffix=":poisoned")
    moved = [name for name in honest.columns if name not in key and _differs(both, name)]
    if both.height != honest.height or poisoned.height != honest.height:
        moved.append("the set of eligible users")
    if moved:
        raise LeakError(
            f"poison check at {cutoff}: {', '.join(moved[:10])} changed when only events at or after the cutoff did; "
            "this feature sees the future and must be mended before anything is trained"
        )


def _differs(both: pl.DataFrame, name: str) -> bool:
    a, b = pl.col(name).cast(pl.Float64), pl.col(f"{name}:poisoned").cast(pl.Float64)
    close = (a - b).abs() <= SAME * pl.max_horizontal(a.abs(), b.abs(), 1.0)
    return not bool(both.select((a.eq_missing(b) | close.fill_null(False)).all()).item())
