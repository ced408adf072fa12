"""The leakage check on clean code: false alarms, and its share of a training's time.

    python -m tests.benchmarks.leaks [--apps 50] [--users 10000] [--days 200]

The aims are no false alarm, and at most 5 % of the time. A random app has two sources
that overlap and report late or without a time of receipt; users who log in late,
uninstall, ask for erasure or for a refund; an event that comes into use half-way; and a
time zone of its own.
"""

import tempfile
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from churn import clocks
from churn.errors import LeakError
from churn.events import activity, adoption, identity, properties
from churn.features import leakage, snapshots
from churn.hashing import bucket_of
from churn.model import training
from churn.settings import Settings, load, parse
from churn.simulate import extracts, markov
from churn.store import Store, create_or_open

from . import common

DAY0 = date(2026, 1, 1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/Los_Angeles",
    "Pacific/Auckland",
    "Asia/Kolkata",
)
KINDS = {
    "open": "session_start",
    "buy": "purchase",
    "refund": "refund",
    "push": "message_sent",
    "gone": "uninstall",
}
NAMES = ["open", "search", "buy", "refund", "push", "click"]
KINDS |= {"click": "message_engaged", "erase": "erasure"}


def app(
    folder: Path,
    seed: int,
    n_users: int = 400,
    n_days: int = 120,
    timezone: str = "UTC",
) -> Store:
    """The store of a random app, as an ingest would have filled it."""
    settings = parse(
        {
            "extracts": [
                {"source": name, "path": "x", "settling_days": 2}
                for name in ("table", "ga4")
            ],
            "timezone": timezone,
            "store": str(folder),
            "windows": {
                "observation_days": 28,
                "eligible_days": 14,
                "horizon_days": 14,
            },
            "backtest": {"n_train_cutoffs": 5, "n_test_cutoffs": 2},
        },
        folder,
    )
    return filled(event_log(n_users, n_days, seed).lazy(), settings, n_days)


def event_log(n_users: int, n_days: int, seed: int) -> pl.DataFrame:
    """Events of users who each have a daily rate, and leave for good on some day."""
    rng = np.random.default_rng([seed, 11])
    start = rng.integers(0, n_days // 2, n_users)
    end = np.minimum(start + rng.exponential(70, n_users), n_days - 0.1)
    first_login = start + rng.exponential(4, n_users)
    here = rng.random((n_users, n_days)) < rng.uniform(0.05, 0.7, (n_users, 1))
    user, day = np.nonzero(
        here
        & (np.arange(n_days) >= start[:, None])
        & (np.arange(n_days) <= end[:, None])
    )
    names = np.where(day > n_days * 0.6, rng.choice([*NAMES, "new"], len(user)), "")
    usual = rng.choice(NAMES, len(user), p=[0.4, 0.25, 0.1, 0.05, 0.15, 0.05])
    own = _rows(
        rng,
        user,
        day + rng.random(len(user)) * 0.99,
        np.where(names == "", usual, names),
        "table",
    )
    again = rng.random(len(user)) < 0.4
    other = _rows(
        rng,
        user[again],
        day[again] + rng.random(again.sum()) * 0.99,
        usual[again],
        "ga4",
    )
    left = np.flatnonzero((rng.random(n_users) < 0.4) & (end < n_days - 2))
    gone = _rows(
        rng, left, end[left], rng.choice(["gone", "erase"], len(left)), "table", slow=10
    )
    rows, name = pl.concat([own, other, gone]), "user-" + pl.col("user").cast(pl.String)
    return rows.with_columns(
        pl.when(pl.col("day") >= pl.Series(first_login)[rows["user"]])
        .then(name)
        .alias("user_id"),
        pl.concat_list("d:" + pl.col("user").cast(pl.String)).alias("ids"),
    ).drop("user", "day")


def _rows(
    rng: np.random.Generator,
    user: np.ndarray,
    day: np.ndarray,
    name: np.ndarray,
    source: str,
    slow: float = 0,
) -> pl.DataFrame:
    lag = rng.choice(
        [slow, slow + 3, 20, np.nan], len(user), p=[0.35, 0.3, 0.1, 0.25]
    ) * rng.exponential(1, len(user))
    midnight = pl.lit(DAY0).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    event_time = midnight + pl.duration(microseconds=pl.col("day") * 86_400_000_000)
    amount = pl.col("event").replace_strict(
        {"buy": 5.0, "refund": -5.0}, default=None, return_dtype=pl.Float64
    )
    named = pl.concat_list(
        pl.struct(pl.lit("items").alias("name"), amount.alias("value"))
    )
    return pl.DataFrame({"user": user, "day": day, "event": name, "lag": lag}).select(
        "user",
        "day",
        "event",
        source=pl.lit(source),
        platform=pl.when(pl.col("user") % 3 == 0).then(pl.lit("ios")),
        event_kind=pl.col("event").replace_strict(KINDS, default="in_app"),
        event_time=event_time,
        received_time=event_time
        + pl.duration(microseconds=pl.col("lag").fill_nan(None) * 86_400_000_000),
        event_time_basis=pl.lit("exact"),
        revenue=amount,
        numbers=pl.when(amount.is_not_null())
        .then(named)
        .otherwise(pl.lit([], properties.NUMBERS)),
        currency=pl.lit("USD"),
        revenue_usd=pl.lit(None, pl.Float64),
    )


def filled(log: pl.LazyFrame, settings: Settings, n_days: int) -> Store:
    """A store that holds a log's daily activity, users, log-ins, merges and volume."""
    store = create_or_open(settings)
    day = clocks.local_date("event_time", settings.timezone).alias("date")
    known = clocks.local_date("received_time", settings.timezone).alias("known_date")
    volume = log.group_by(
        pl.col("source").alias("extract"),
        day,
        known,
        "event",
        pl.col("event_kind").alias("kind"),
    )
    counts = volume.agg(
        n=pl.len().cast(pl.Int64),
        n_without_user=pl.col("user_id").null_count().cast(pl.Int64),
    )
    bucketed = {
        "activity": (
            activity.from_events(log, settings.timezone, "USD"),
            pl.col("user_id"),
        ),
        "users": (
            activity.users_from_events(log, settings.timezone),
            pl.col("user_id"),
        ),
        "anonymous": (
            activity.anonymous_from_events(log, settings.timezone, "USD"),
            identity.KEY,
        ),
    }
    for name, (frame, whose) in bucketed.items():
        rows = frame.with_columns(bucket_of(whose, store.n_buckets).alias("bucket"))
        store = store.append(name, rows.collect())
    store = store.append("edges", identity.edges_from_events(log).collect())
    store = store.append("merges", identity.merges_from_events(log).collect())
    volume_rows = counts.with_columns(platform=pl.lit("")).collect()
    store = store.append("volume", volume_rows)
    covered_until = DAY0 + timedelta(days=n_days - 2)
    store = replace(store, first_date=DAY0, covered_until=covered_until)
    return adoption.adopt(store.under(settings), before={})


def checked(store: Store) -> int:
    """Run the check as a training does, and return the number of rows compared."""
    cutoffs = training.training_cutoffs(store)
    as_of = store.settings.windows.horizon(cutoffs[-1])[1]
    plan = snapshots.plan(store, cutoffs[-1])
    return leakage.check(store, cutoffs, plan, as_of)


def false_alarms(n_apps: int) -> int:
    """Number of random apps on which the check fails although nothing leaks."""
    n, n_rows = 0, []
    for seed in range(n_apps):
        with tempfile.TemporaryDirectory() as folder:
            store = app(
                Path(folder),
                seed,
                120 + 20 * (seed % 9),
                90 + seed % 40,
                ZONES[seed % len(ZONES)],
            )
            try:
                n_rows.append(checked(store))
            except LeakError as error:
                n += 1
                print(f"false alarm, seed {seed}: {error}")
    print(
        f"{n} false alarms in {n_apps} runs; rows compared: "
        f"{min(n_rows, default=0)} to {max(n_rows, default=0)}"
    )
    return n


def share_of_training(n_users: int, n_days: int) -> float:
    """Processor time of the check over that of the training that contains it.

    The app is a Markov world.
    """
    with tempfile.TemporaryDirectory() as folder:
        extracts.write(markov.markov(n_users, n_days, 0), Path(folder), "table")
        store = common.filled(load(Path(folder, "churn.toml")))
        started = time.process_time()
        checked(store)
        alone = time.process_time() - started
        started = time.process_time()
        training.train(store, training.training_cutoffs(store))
        whole = time.process_time() - started
    print(f"check {alone:.2f} s, training {whole:.2f} s with it: {alone / whole:.1%}")
    return alone / whole


def main() -> None:
    """Print both figures."""
    parser = common.parser(__doc__)
    parser.add_argument("--apps", type=int, default=50)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=200)
    given = parser.parse_args()
    false_alarms(given.apps)
    share_of_training(given.users, given.days)


if __name__ == "__main__":
    main()
