"""Learning curve: how many users, and how many days of history, are enough."""

from collections.abc import Callable, Sequence
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
"""Numbers of users that a model is trained on, as far as there are so many."""

ENOUGH = 0.005
"""Log loss that more data must still gain to be worth waiting for."""

SCHEMA = {
    "what": pl.String,
    "n": pl.Int64,
    "n_rows": pl.Int64,
    "auc": pl.Float64,
    "log_loss": pl.Float64,
}
EMPTY = pl.DataFrame(schema=SCHEMA)

Figures = tuple[int, float | None, float | None]
"""Number of training rows, AUC and log loss; null where nothing could be learned."""


def curve(
    store: Store,
    newest: date | None = None,
) -> pl.DataFrame:
    """Figures at the newest test cutoff of models trained on less than all there is.

    Columns: what, n, n_rows, auc, log_loss. ``users`` are nested subsets by the stable
    hash. ``days of history`` keeps only the newest 1, 2, 4 … training cutoffs; n counts
    the days from the first one that their features look at. Figures are null where
    there is too little to learn from. All users of the test cutoff are scored.
    It is by default the newest whose outcome is known; CutoffError is raised for one
    with missing days around it.
    """
    calendar = Calendar.of(store)
    test = newest or calendar.newest_whole()
    calendar.check_whole([test])
    cutoffs = training.training_cutoffs(store, as_of=test)
    plan = snapshots.plan(store, max(cutoffs))
    past = snapshots.training_rows(store, cutoffs, plan, as_of=test)
    scored = snapshots.build(store, [test], plan)

    def figures(rows: pl.DataFrame) -> Figures:
        try:
            fitted = training.learn(rows, plan, store.settings).model
        except TrainingError:
            return rows.height, None, None
        probability = fitting.predict(fitted, scored)
        values = metrics.figures(fitting.target(scored), probability)
        return fitted.n_rows, values["auc"], values["log_loss"]

    whole = figures(past)
    n_users = past["user_id"].n_unique()
    n_days = _n_days(store, cutoffs[0], test)
    rows = [
        *_by_users(past, n_users, figures),
        ("users", n_users, *whole),
        *_by_history(
            past, cutoffs, lambda oldest: _n_days(store, oldest, test), figures
        ),
        ("days of history", n_days, *whole),
    ]
    table = pl.DataFrame(rows, SCHEMA, orient="row")
    order = ["what", "n"]
    return table.sort(
        order,
        descending=[True, False],
        maintain_order=True,
    )


def _by_users(
    past: pl.DataFrame,
    n_users: int,
    figures: Callable[[pl.DataFrame], Figures],
) -> list[tuple[str, int, int, float | None, float | None]]:
    rank = stable_hash("user_id").rank("dense")
    rows = []
    for n in USERS:
        if n < n_users:
            rows.append(("users", n, *figures(past.filter(rank <= n))))
    return rows


def _by_history(
    past: pl.DataFrame,
    cutoffs: Sequence[date],
    n_days: Callable[[date], int],
    figures: Callable[[pl.DataFrame], Figures],
) -> list[tuple[str, int, int, float | None, float | None]]:
    rows = []
    n = 1
    while n < len(cutoffs):
        oldest = cutoffs[-n]
        newer = past.filter(pl.col("cutoff") >= oldest)
        rows.append(("days of history", n_days(oldest), *figures(newer)))
        n *= 2
    return rows


def _n_days(
    store: Store,
    oldest: date,
    test: date,
) -> int:
    """Days from the first that the oldest cutoff's features see to the test cutoff."""
    observed = oldest - timedelta(days=store.settings.windows.observation_days)
    return (test - max(observed, store.first_date or date.min)).days
