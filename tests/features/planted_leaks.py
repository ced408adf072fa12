"""Leaks planted on purpose: 24 ways to use the future, and two by early returns.

Each plant patches the package the way a programming mistake would change it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from churn import clocks
from churn.evaluation import backtest, predicting
from churn.events import activity, adoption
from churn.features import (
    by_group,
    compute,
    eligible,
    labels,
    numbers,
    snapshots,
    versions,
)
from churn.features.columns import APP_DAYS
from churn.features.window import Window
from churn.model import evidence, fitting, folds, training
from churn.stats import probability
from churn.store import Store

Patch = pytest.MonkeyPatch
Clock = Callable[[pl.Expr], pl.Expr]


def known_before(wrong: Clock) -> Callable[[Patch], None]:
    """Features select a user's days by another rule."""

    def plant(patch: Patch) -> None:
        patch.setattr(compute, "known_before", wrong)
        patch.setattr(versions, "known_before", wrong)

    return plant


def a_day_wide(cutoff: pl.Expr) -> pl.Expr:
    """Both clocks one day later, so that the cutoff's own day counts."""
    return clocks.known_before(cutoff + pl.duration(days=1))


def window_a_day_later(patch: Patch) -> None:
    """Every window ends a day later, among the days that later cutoffs may see."""
    original = Window.before

    def wrong(cutoff: date, *rest: Any) -> Window:
        return original(cutoff + timedelta(days=1), *rest)

    patch.setattr(Window, "before", wrong)


def names_seen_later(patch: Patch) -> None:
    """The age of each event name is that of its newest day, after the cutoff too."""
    original = numbers.NUMBERS["newest"]

    def wrong(window: Window, column: str, days: int) -> Any:
        if not column.startswith("event:"):
            return original(window, column, days)
        later = replace(window, cutoff=window.cutoff + 30, _stretches={})
        return original(later, column, days) - 30

    patch.setitem(numbers.NUMBERS, "newest", wrong)


def no_second_versions(patch: Patch) -> None:
    """Users are taken as known at the newest cutoff for the earlier ones too."""
    original = versions._late
    patch.setattr(versions, "_late", lambda *args: original(*args).clear())


def leaving(kind: str) -> Callable[[Patch], None]:
    """Users with an event of this kind before the cutoff are not eligible.

    It does not matter when the event became known.
    """

    def plant(patch: Patch) -> None:
        original = compute.compute

        def wrong(
            rows: pl.LazyFrame, users: pl.LazyFrame, cutoffs: list[date], *rest: Any
        ) -> pl.DataFrame:
            left = (
                rows.filter(pl.col("kind") == kind)
                .group_by("user_id")
                .agg(gone=pl.col("date").min())
                .collect()
            )
            both = original(rows, users, cutoffs, *rest).join(
                left, on="user_id", how="left"
            )
            return both.filter(
                pl.col("gone").is_null() | (pl.col("gone") >= pl.col("cutoff"))
            ).drop("gone")

        patch.setattr(compute, "compute", wrong)

    return plant


def logins_learned_later(patch: Patch) -> None:
    """Anonymous history counts from its own day on, not from the log-in."""
    columns = [*activity.ActivityTable.column_names(), "platform"]
    patch.setattr(
        adoption,
        "_known_from",
        lambda rows: rows.filter(pl.col("kind") != "merge").select(columns),
    )


def users_table(**columns: pl.Expr) -> Callable[[Patch], None]:
    """Tenure comes from other columns of the users table."""

    def plant(patch: Patch) -> None:
        original = eligible.tenure
        patch.setattr(
            eligible,
            "tenure",
            lambda users, cutoff: original(users.with_columns(**columns), cutoff),
        )

    return plant


def last_seen(patch: Patch) -> None:
    """The last day of all activity instead of the first one."""
    original = by_group.tables

    def wrong(store: Store, *rest: Any) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        activity, _ = original(store, *rest)
        # A thousand days earlier, all of them lie before any cutoff.
        last = pl.col("date").max() - pl.duration(days=1000)
        users = activity.group_by("user_id").agg(
            known_date=pl.lit(None, pl.Date), first_date=last
        )
        return activity, users

    patch.setattr(by_group, "tables", wrong)


def later_source(patch: Patch) -> None:
    """Precedence of sources is decided before late reports are left out."""

    def wrong(
        rows: pl.LazyFrame, cutoff: date, observation_days: int, sources: Any
    ) -> pl.LazyFrame:
        start = pl.col("date") >= cutoff - timedelta(days=observation_days)
        return activity.counted_once(rows, sources).filter(
            clocks.known_before(pl.lit(cutoff)) & start
        )

    patch.setattr(versions, "observed", wrong)


def later_vocabulary(patch: Patch) -> None:
    """Event names chosen from the whole log."""
    original = compute.name_counts
    patch.setattr(
        compute,
        "name_counts",
        lambda rows, _, days, *rest: original(rows, date(2026, 12, 1), 9 * days, *rest),
    )


def app_wide(days: int) -> Callable[[Patch], None]:
    """The app's trend counts all users' activity up to ``days`` days too late."""

    def plant(patch: Patch) -> None:
        original = compute.active_users
        earlier = pl.col("date", "known_date") - pl.duration(days=days)
        patch.setattr(
            compute,
            "active_users",
            lambda part, *rest: original(part.with_columns(earlier), *rest),
        )

    return plant


def one_week_for_all(patch: Patch) -> None:
    """The app's week as of the newest cutoff serves the earlier ones too."""
    original = compute.level_of

    def wrong(*args: Any) -> pl.DataFrame:
        level = original(*args).sort("cutoff")
        return level.with_columns(pl.col(APP_DAYS).last())

    patch.setattr(compute, "level_of", wrong)


def labels_of_all_time(patch: Patch) -> None:
    """Labels use what became known at any time."""
    original = labels.first_days

    def wrong(*args: Any) -> pl.DataFrame:
        *before, _ = args
        return original(*before, date(2100, 1, 1))

    patch.setattr(labels, "first_days", wrong)


def target_encoded(patch: Patch) -> None:
    """A feature holds the user's churn rate over all rows."""
    original = snapshots.label
    rate = pl.col("churned").mean().over("user_id")
    patch.setattr(
        snapshots,
        "label",
        lambda *args, **kw: original(*args, **kw).with_columns(tenure_days=rate),
    )


def matrix_over_all(
    encode: Callable[[pl.DataFrame, pl.DataFrame, list[str]], pl.DataFrame],
) -> Callable[[Patch], None]:
    """The matrix is prepared with statistics of the cutoffs that are tested.

    Only those of the training cutoffs would be right.
    """

    def plant(patch: Patch) -> None:
        past, matrix, everything = backtest._past, fitting.matrix, []

        def remember(
            store: Store,
            tests: Any,
            plan: Any,
        ) -> pl.DataFrame:
            tested = [test.cutoff for test in tests]
            everything.append(snapshots.observe(store, tested, plan))
            return past(store, tests, plan)

        def wrong(snapshot: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
            return matrix(encode(snapshot, everything[-1], list(names)), names)

        patch.setattr(backtest, "_past", remember)
        patch.setattr(fitting, "matrix", wrong)

    return plant


def scaled(
    snapshot: pl.DataFrame, everything: pl.DataFrame, names: list[str]
) -> pl.DataFrame:
    """Columns scaled with mean and standard deviation of all cutoffs."""
    return snapshot.with_columns(
        (pl.col(n).cast(pl.Float64) - (everything[n].mean() or 0))
        / ((everything[n].std() or 0) + 1)
        for n in names
    )


def filled(
    snapshot: pl.DataFrame, everything: pl.DataFrame, names: list[str]
) -> pl.DataFrame:
    """Missing values replaced by the median of all cutoffs."""
    return snapshot.with_columns(
        pl.col(n).cast(pl.Float64).fill_null(everything[n].median() or 0) for n in names
    )


def calibrated_on_the_tested(patch: Patch) -> None:
    """Probabilities are calibrated on the outcomes that they are tested with."""
    original = predicting.predictions

    def calibrated(table: pl.DataFrame) -> pl.DataFrame:
        known = table["churned"].is_not_null().to_numpy()
        if table["churned"].n_unique() < 2:
            return table
        y = table["churned"].fill_null(False).cast(pl.Int8).to_numpy()
        odds = probability.log_odds(table["probability"].to_numpy()).reshape(-1, 1)
        calibrator = LogisticRegression().fit(odds[known], y[known])
        learned = calibrator.predict_proba(odds)[:, 1]
        return table.with_columns(probability=pl.Series(learned))

    def wrong(*args: Any) -> pl.DataFrame:
        parts = original(*args).partition_by("cutoff", "model", maintain_order=True)
        return pl.concat(map(calibrated, parts))

    patch.setattr(predicting, "predictions", wrong)


def overlapping(patch: Patch) -> None:
    """Trained on cutoffs up to the tested one, whose label windows reach beyond it."""
    original = training.training_cutoffs
    label = snapshots.label

    def wrong(
        store: Store,
        newest: date | None = None,
        as_of: date | None = None,
    ) -> list[date]:
        return original(store, newest, as_of + timedelta(days=14) if as_of else None)

    patch.setattr(backtest, "training_cutoffs", wrong)
    patch.setattr(
        snapshots,
        "label",
        lambda rows, store, as_of=None: label(rows, store),
    )


def random_folds(patch: Patch) -> None:
    """Every cutoff is predicted by a model of all other cutoffs."""
    patch.setattr(
        folds,
        "validation_cutoffs",
        lambda cutoffs, _: [([c for c in cutoffs if c != j], j) for j in cutoffs],
    )


def early_returns(days: int) -> Callable[[Patch], None]:
    """First returns in an open horizon are read ``days`` days too late."""

    def plant(patch: Patch) -> None:
        original = snapshots.label

        def wrong(
            rows: pl.DataFrame, store: Store, as_of: date | None = None
        ) -> pl.DataFrame:
            later = original(rows, store, as_of and as_of + timedelta(days=days))
            return original(rows, store, as_of).with_columns(later["return_days"])

        patch.setattr(snapshots, "label", wrong)

    return plant


def early_days(days: int) -> Callable[[Patch], None]:
    """Users still away in an open horizon are counted ``days`` days too late."""
    original = evidence.inactive_in_opening
    return lambda patch: patch.setattr(
        evidence, "inactive_in_opening", lambda rows, n: original(rows, n + days)
    )


@dataclass(frozen=True)
class Leak:
    """How the leak is planted, what the error must name, and which check must fail."""

    plant: Callable[[Patch], None]
    named: str
    check: str = "training"


USERS = "the set of eligible users"
LEAKS = {
    "feature windows reach one day too far": Leak(
        known_before(a_day_wide), "n_open_7d"
    ),
    "windows of earlier cutoffs end a day later": Leak(window_a_day_later, "n_open_7d"),
    "the newest event of a name may follow the cutoff": Leak(
        names_seen_later, "days_since_open"
    ),
    "earlier cutoffs see what was known at the newest": Leak(
        no_second_versions, "n_open_7d"
    ),
    "the cutoff is read inclusively": Leak(
        known_before(lambda cutoff: pl.col("date") <= cutoff), "n_open_7d"
    ),
    "events received later count": Leak(
        known_before(lambda cutoff: pl.col("date") < cutoff), "n_open_7d"
    ),
    "events received on the cutoff's day count": Leak(
        known_before(
            lambda c: (
                (pl.col("date") < c)
                & (pl.col("known_date").is_null() | (pl.col("known_date") <= c))
            )
        ),
        "n_open_7d",
    ),
    "uninstalls received later end eligibility": Leak(leaving("uninstall"), USERS),
    "erasures asked for later end eligibility": Leak(leaving("erasure"), USERS),
    "log-ins learned later bring their history": Leak(logins_learned_later, "at .*: "),
    "first seen as learned later": Leak(
        users_table(known_date=pl.lit(None, pl.Date)), "tenure_days"
    ),
    "last seen instead of first seen": Leak(last_seen, "tenure_days"),
    "later reports decide which source counts": Leak(later_source, "n_open"),
    "vocabulary chosen from the whole log": Leak(
        later_vocabulary, "the plan's vocabulary"
    ),
    "app-wide totals include the cutoff's day": Leak(app_wide(1), "vs_app"),
    "app-wide totals of the horizon": Leak(app_wide(14), "vs_app"),
    "the app's week of the newest cutoff serves all": Leak(
        one_week_for_all, "app_days"
    ),
    "labels from what became known after training": Leak(
        labels_of_all_time, "the label churned"
    ),
    "target-encoded user id": Leak(target_encoded, "tenure_days"),
    "scaling fitted over all cutoffs": Leak(
        matrix_over_all(scaled), "probability", "predictions"
    ),
    "medians for missing values taken over all cutoffs": Leak(
        matrix_over_all(filled), "probability", "predictions"
    ),
    "calibrator fitted on the outcomes it is tested with": Leak(
        calibrated_on_the_tested, "probability", "predictions"
    ),
    "label windows of training overlap the tested cutoff": Leak(
        overlapping, "probability", "predictions"
    ),
    "folds split at random instead of by time": Leak(random_folds, "log_loss", "folds"),
}

EARLY = {
    "returns in an open horizon seen before they came": Leak(
        early_returns(3), "the label return_days"
    ),
    "the early level of a fold knows later days": Leak(early_days(3), "level", "folds"),
}
