"""Learning curve: how many users, and how many days of history, are enough."""

from collections.abc import Callable
from datetime import date, timedelta

import polars as pl

from churn.errors import TrainingError
from churn.evaluation import metrics
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.hashing import stable_hash
from churn.model import fitting, training
from churn.store import Store

USERS = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
ENOUGH = 0.005  # of log loss: what more data must still gain to be worth waiting for
SCHEMA = {
    "what": pl.String,
    "n": pl.Int64,
    "n_rows": pl.Int64,
    "auc": pl.Float64,
    "log_loss": pl.Float64,
}
EMPTY = pl.DataFrame(schema=SCHEMA)


def curve(store: Store, newest: date | None = None) -> pl.DataFrame:
    """Figures at the newest test cutoff, all its users, of models trained on less:
    what, n, n_rows, auc, log_loss.

    ``users``: nested subsets by the stable hash. ``days of history``: only the newest
    1, 2, 4 … training cutoffs, counted from the first day their features look at. Null
    figures where there is too little to learn from.
    """
    test = newest or Calendar.of(store).newest_mature()
    trains = training.training_cutoffs(store, as_of=test)
    plan = snapshots.plan(store, max(trains))
    past = snapshots.training_rows(store, trains, plan, as_of=test)
    judged = snapshots.build(store, [test], plan)

    def tested(rows: pl.DataFrame) -> tuple[int, float | None, float | None]:
        try:
            fitted = training.learn(rows, plan, store.settings).model
        except TrainingError:
            return rows.height, None, None
        found = metrics.figures(fitting.target(judged), fitting.predict(fitted, judged))
        return fitted.n_rows, found["auc"], found["log_loss"]

    return _rows(past, trains, lambda start: _days(store, start, test), tested)


def _rows(
    past: pl.DataFrame,
    trains: list[date],
    days: Callable[[date], int],
    tested: Callable[[pl.DataFrame], tuple[int, float | None, float | None]],
) -> pl.DataFrame:
    ranked = past.with_columns(stable_hash("user_id").rank("dense").alias("rank"))
    n_users, whole = ranked["user_id"].n_unique(), tested(past)
    counts = [2**k for k in range(len(trains).bit_length()) if 2**k < len(trains)]
    users = [
        ("users", n, *tested(ranked.filter(pl.col("rank") <= n).drop("rank")))
        for n in USERS
        if n < n_users
    ]
    history = [
        (
            "days of history",
            days(trains[-n]),
            *tested(past.filter(pl.col("cutoff") >= trains[-n])),
        )
        for n in counts
    ]
    full = [("users", n_users, *whole), ("days of history", days(trains[0]), *whole)]
    return pl.DataFrame([*users, *history, *full], SCHEMA, orient="row").sort(
        "what", "n", descending=[True, False]
    )


def _days(store: Store, start: date, test: date) -> int:
    first = max(
        start - timedelta(days=store.settings.windows.observation_days),
        store.first_date or date.min,
    )
    return (test - first).days
