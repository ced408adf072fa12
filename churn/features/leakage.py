"""The poison check: training must not notice when the world from a day on is replaced
by nonsense.

A sample of the store's users is copied under pseudonyms into a small store of its own,
once as it is and once with all that is dated, received or learned from a day on thrown
away and traps put in its place. Both take the road that training takes: log-ins are
matched, the plan is made, features and labels are built. What was known before that day
has to be the same in both. Which tables a leak read, and in which function it sits,
doesn't matter.

``check`` runs in every training, at two cutoffs and some hundred users.
``check_predictions`` and ``check_folds`` ask the same of what is fitted; they cost
whole trainings, depend on the code alone and so run in the test-suite only.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import polars as pl
import polars.selectors as cs

from churn import clocks
from churn.errors import LeakError
from churn.events import identity
from churn.features import snapshots
from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.hashing import stable_hash
from churn.settings import Settings
from churn.store import Store

log = logging.getLogger(__name__)
SAME = 1e-9  # relative: float sums may differ in their last digits between engines
N_USERS = 400  # of the sample
TABLES = (
    "activity",
    "users",
    "anonymous",
    "edges",
    "merges",
    "volume",
)  # all that a training could read
TRAPS = ("in_app", "purchase", "install")  # kinds that everybody suddenly reports
LAST = ("uninstall", "erasure", "merge")  # and those that half of them leave with
KEY = ["user_id", "cutoff"]
LABELS = ("churned", "return_days")

Tables = dict[str, pl.DataFrame]


def check(store: Store, cutoffs: Sequence[date], plan: Plan, as_of: date) -> int:
    """Stop a training that sees the future; returns how many rows were compared. Runs
    in every training.

    With the world poisoned from the oldest and from the newest cutoff on, no feature at
    or before that cutoff may change, nor the plan made at the newest; with the world
    poisoned from ``as_of`` on, no label either (for labels known is what was received
    before ``as_of`` and the days its source takes to settle). Raises LeakError naming
    the features, or the plan, or the label, that moved by more than rounding.
    """
    few = sorted({min(cutoffs), max(cutoffs)})
    sample = _sample(
        store, few[0] - timedelta(days=store.settings.windows.eligible_days), few[-1]
    )
    with TemporaryDirectory() as folder:
        honest = _copy(store, Path(folder, "honest"), sample)
        made, rows = _consumed(honest, few, plan, as_of)
        for day, learned in [
            *zip(few, few, strict=True),
            (as_of, Calendar.of(store).settled(as_of)),
        ]:
            absurd = _copy(
                store,
                Path(folder, f"from-{day}"),
                _poison(sample, day, learned, store.settings),
            )
            other, poisoned = _consumed(absurd, few, plan, as_of)
            if day >= few[-1]:
                _compare_plans(made, other, day)
            compare(_known(rows, day, as_of), _known(poisoned, day, as_of), day)
    log.info(
        "poison check: %d rows at %d cutoffs, nothing sees the future",
        rows.height,
        len(few),
    )
    return rows.height


def check_predictions(
    predict: Callable[[Store], pl.DataFrame], store: Store, day: date
) -> int:
    """Numbers forecast for cutoffs up to ``day`` must not depend on what comes from
    that day on.

    ``predict`` takes a store and gives user_id, cutoff and numbers, as a backtest's
    predictions. Runs in the test-suite only: it costs what ``predict`` costs, twice, on
    all users. Raises LeakError; returns the number of rows compared.
    """
    sample = _sample(store, date.min, date.max, store.n_buckets)
    with TemporaryDirectory() as folder:
        honest = predict(_copy(store, Path(folder, "honest"), sample))
        poisoned = _poison(sample, day, Calendar.of(store).settled(day), store.settings)
        absurd = predict(_copy(store, Path(folder, "absurd"), poisoned))
    upto = pl.col("cutoff") <= day
    compare(honest.filter(upto), absurd.filter(upto), day)
    return honest.filter(upto).height


def check_folds(
    judge: Callable[[pl.DataFrame], pl.DataFrame],
    snapshot: pl.DataFrame,
    settings: Settings,
) -> int:
    """The first fold of an inner loop must not depend on rows whose outcome wasn't
    known by its cutoff.

    ``judge`` takes a labelled snapshot and gives candidate, cutoff, n, log_loss as in
    ``choice.Choice``. For its first cutoff, features of all later cutoffs and labels of
    all others not over by then are replaced, and returns from it on forgotten. Runs in
    the test-suite only: it costs the inner loop twice. Raises LeakError; returns the
    number of rows compared.
    """
    honest = judge(snapshot)
    first: date = honest["cutoff"].min()  # type: ignore[assignment]
    cutoffs = snapshot["cutoff"].unique()
    unknown = [
        c for c in cutoffs if settings.windows.horizon(c)[1] > first and c != first
    ]
    numbers = [name for name in snapshot.columns if name not in (*KEY, *LABELS)]
    later, open_then = pl.col("cutoff") > first, pl.col("cutoff").is_in(unknown)
    back = pl.col("cutoff") + pl.duration(
        days=pl.col("return_days") + settings.windows.lead_days
    )
    absurd = snapshot.with_columns(
        pl.when(later)
        .then(-1e6)
        .otherwise(pl.col(numbers).cast(pl.Float64))
        .name.keep(),
        pl.when(open_then)
        .then(~pl.col("churned"))
        .otherwise("churned")
        .alias("churned"),
        pl.when(~open_then | (back < first)).then("return_days").alias("return_days"),
    )
    a, b = (
        f.filter(pl.col("cutoff") == first).rename({"candidate": "user_id"})
        for f in (honest, judge(absurd))
    )
    compare(a, b, first)
    return a.height


def compare(honest: pl.DataFrame, poisoned: pl.DataFrame, day: date) -> None:
    """Raise LeakError unless both frames hold the same users with the same numbers
    (within 1e-9 relative).
    """
    both = honest.join(poisoned, on=KEY, suffix=":poisoned")
    moved = (
        []
        if both.height == honest.height == poisoned.height
        else ["the set of eligible users"]
    )
    moved += [
        name for name in honest.columns if name not in KEY and _differs(both, name)
    ]
    _stop(moved, day)


def _compare_plans(honest: Plan, poisoned: Plan, day: date) -> None:
    _stop(
        [
            f"the plan's {name}"
            for name, value in vars(honest).items()
            if value != getattr(poisoned, name)
        ],
        day,
    )


def _stop(moved: list[str], day: date) -> None:
    if moved:
        raise LeakError(
            f"poison check at {day}: {', '.join(moved[:10])} changed when only events at or after that day did, or "
            "what became known from then on; this sees the future and must be mended before anything is trained"
        )


def _differs(both: pl.DataFrame, name: str) -> bool:
    a, b = pl.col(name).cast(pl.Float64), pl.col(f"{name}:poisoned").cast(pl.Float64)
    close = (a - b).abs() <= SAME * pl.max_horizontal(a.abs(), b.abs(), 1.0)
    return not bool(
        both.select((a.eq_missing(b) | close.fill_null(False)).all()).item()
    )


def _consumed(
    store: Store, cutoffs: list[date], plan: Plan, as_of: date
) -> tuple[Plan, pl.DataFrame]:
    """All that a training takes from a store: the plan it would make, and its features
    and labels.
    """
    return snapshots.plan(store, cutoffs[-1]), snapshots.training_rows(
        store, cutoffs, plan, as_of
    )


def _known(rows: pl.DataFrame, day: date, as_of: date) -> pl.DataFrame:
    """What may not depend on anything from ``day`` on: features up to it, labels only
    where it is ``as_of``.
    """
    past = rows.filter(pl.col("cutoff") <= day).rename(
        {name: f"the label {name}" for name in LABELS}
    )
    return past if day >= as_of else past.drop(cs.starts_with("the label "))


def _sample(store: Store, start: date, end: date, n_buckets: int = 0) -> Tables:
    """Users active from ``start`` to ``end`` of whole buckets, at most N_USERS, and the
    anonymous people of as many.

    ``n_buckets``: take all of so many instead. Adopted history is left out: each copy
    adopts it anew.
    """
    own = replace(store, adopted=())
    n = n_buckets or min(
        store.n_buckets, -(-N_USERS // max(_seen(own, start, end, 1).len(), 1))
    )
    who = _seen(own, start, end, n).head(2**62 if n_buckets else N_USERS)
    found = {name: own.scan(name, range(n)) for name in TABLES}
    for name in ("activity", "users"):
        found[name] = found[name].filter(pl.col("user_id").is_in(who.implode()))
    mine = found["anonymous"].select(
        pl.col("ids").explode(empty_as_null=False).unique().alias("id")
    )
    found["edges"] = found["edges"].join(mine, on="id", how="semi")
    return {name: _nameless(table).collect() for name, table in found.items()}


def _seen(store: Store, start: date, end: date, n_buckets: int) -> pl.Series:
    rows = store.scan("activity", range(n_buckets)).filter(
        pl.col("date").is_between(start, end, closed="left")
    )
    return (
        rows.select("user_id")
        .unique()
        .sort(stable_hash("user_id"))
        .collect()["user_id"]
    )


def _nameless(table: pl.LazyFrame) -> pl.LazyFrame:
    """Ids by their hash: what a run that was killed leaves behind names nobody."""
    there = table.collect_schema().names()
    ids = [
        stable_hash(name).cast(pl.String).alias(name)
        for name in ("user_id", "id", "into")
        if name in there
    ]
    lists = (
        [pl.col("ids").list.eval(stable_hash(pl.element()).cast(pl.String))]
        if "ids" in there
        else []
    )
    return table.with_columns(*ids, *lists)


def _copy(store: Store, folder: Path, tables: Tables) -> Store:
    copy = replace(store, root=folder, batches=("sample",), adopted=(), n_buckets=1)
    for name, rows in tables.items():
        copy.write_batch(name, "sample", rows.with_columns(bucket=pl.lit(0)))
    return replace(copy, adopted=identity.adopt(copy, "sample"))


def _poison(tables: Tables, day: date, learned: date, settings: Settings) -> Tables:
    """The world as it was known then, and nonsense dated ``day`` or, if dated before,
    known from ``learned`` on.
    """
    midnight = pl.lit(
        datetime.combine(learned, time(), ZoneInfo(settings.timezone))
    ).dt.convert_time_zone("UTC")
    past = clocks.local_date("learned_at", settings.timezone) < learned
    claimed = tables["edges"].with_columns(learned_at=midnight, user_id=pl.lit("trap"))
    changed = (
        pl.when(pl.col("date") >= day)
        .then(10**6)
        .otherwise("n")
        .cast(pl.Int64)
        .alias("n")
    )
    return {
        "activity": _poison_days(
            tables["activity"], day, learned, settings.sources[0], "user_id"
        ),
        "anonymous": _poison_days(
            tables["anonymous"], day, learned, settings.sources[0], "ids"
        ),
        "users": _poison_users(tables["users"], day, learned, settings.timezone),
        "edges": pl.concat([tables["edges"].filter(past), claimed]),
        "merges": tables["merges"].filter(past),
        "volume": tables["volume"].with_columns(
            changed
        ),  # whose names have to stay: a study may count them as active
    }


def _poison_days(
    rows: pl.DataFrame, day: date, learned: date, source: str, whose: str
) -> pl.DataFrame:
    past = rows.filter((pl.col("date") < day) & clocks.known_by(pl.lit(learned)))
    traps = pl.DataFrame({"kind": (*TRAPS, *LAST)}).with_columns(
        event="trap " + pl.col("kind")
    )
    people = (
        past.unique(whose, maintain_order=True)
        .drop("kind", "event")
        .with_row_index("nth")
        .join(traps, how="cross")
    )
    everybody = people.filter(
        (pl.col("nth") % 2 == 0) | ~pl.col("kind").is_in(LAST)
    ).select(past.columns)
    large = pl.col("sums").list.eval(
        pl.element().struct.with_fields(pl.field("total") * 1e6 + 1)
    )
    sums = pl.concat_list(large, pl.lit([{"name": "trap", "total": 1.0}]))
    absurd = pl.concat([past, everybody]).with_columns(
        n=pl.lit(10**6, pl.Int64), revenue=pl.lit(-1e9), sums=sums
    )
    # One trap for each clock: the first day that may not be seen, and days before it
    # that were learned too late.
    future = _dated(absurd, day).with_columns(known_date=pl.lit(None, pl.Date))
    late = absurd.with_columns(known_date=pl.lit(learned), source=pl.lit(source))
    return pl.concat([past, future, late, _dated(late, day - timedelta(days=1))])


def _dated(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    shift = pl.duration(days=(pl.lit(day) - pl.col("date")).dt.total_days())
    return rows.with_columns(pl.col("first_at", "last_at") + shift, date=pl.lit(day))


def _poison_users(
    rows: pl.DataFrame, day: date, learned: date, timezone: str
) -> pl.DataFrame:
    past = rows.filter(
        (clocks.local_date("first_at", timezone) < day)
        & clocks.known_by(pl.lit(learned))
    )
    last = pl.when(clocks.local_date("last_at", timezone) < day).then("last_at")
    kept = past.with_columns(
        last.otherwise(pl.col("last_at") + pl.duration(days=10_000))
    )
    far = pl.col("first_at").dt.offset_by("-30y")
    return pl.concat([kept, past.with_columns(far, known_date=pl.lit(learned))])
