"""Twenty ways to see the future, and two by early returns, each planted in the package,
each found by a check.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from churn import clocks
from churn.errors import LeakError
from churn.evaluation import backtest
from churn.events import activity, identity
from churn.features import compute, labels, leakage, snapshots
from churn.features.cutoffs import Calendar
from churn.model import correction, fitting, pipelines, selection, training
from churn.settings import Settings
from churn.stats import probability
from churn.store import Store

from ..benchmarks.leaks import DAY0, app, checked

CUTOFFS = [DAY0 + timedelta(days=d) for d in (46, 60, 74)]
AS_OF = CUTOFFS[-1] + timedelta(days=14)
TEST = DAY0 + timedelta(days=88)
World = Store
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """An app with two sources, late reports, late log-ins, uninstalls, erasures and
    refunds.
    """
    return app(tmp_path_factory.mktemp("app"), seed=1, n_users=500)


def in_training(world: World, see: Callable[[Any], None]) -> int:
    """The check that every training makes; ``see`` is shown the plan and the rows that
    a training would learn from.
    """
    store = world
    plan = snapshots.plan(store, CUTOFFS[-1])
    everybody = leakage._sample(store, date.min, date.max, store.n_buckets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            leakage, "_sample", lambda *_: everybody
        )  # once read, so that the honest copy can be looked at
        patch.setattr(leakage, "_consumed", seeing(leakage._consumed, see))
        return leakage.check(store, CUTOFFS, plan, AS_OF)


def of_predictions(world: World, see: Callable[[Any], None]) -> int:
    """The test-suite's check of a whole backtest: what is predicted at the first of two
    cutoffs.
    """
    store = world

    def predict(copy: Store) -> pl.DataFrame:
        with quick_members():
            done = backtest.backtest(copy, TEST + timedelta(days=7), False).predictions
        mine = (pl.col("model") == "chosen") & (pl.col("cutoff") == TEST)
        return done.filter(mine).select("user_id", "cutoff", "probability")

    return leakage.check_predictions(seeing(predict, see), store, TEST)


def of_folds(world: World, see: Callable[[Any], None]) -> int:
    """The test-suite's check of the inner loop: what each member forecasts in its first
    fold, and the early level.
    """
    store = world
    plan = snapshots.plan(store, CUTOFFS[-1])
    cutoffs = Calendar.of(store).series(CUTOFFS[-1], 5)
    snapshot = snapshots.build(store, cutoffs, plan, AS_OF)

    def judge(rows: pl.DataFrame) -> pl.DataFrame:
        with quick_members():
            each = [
                (fold, selection._predict(fold, plan, store.settings, is_large=False))
                for fold in selection._folds(rows, store.settings)
            ]
        found = [
            (name, fold.cutoff, *figures(fold, p, store.settings))
            for fold, made in each
            for name, p in made.items()
        ]
        return pl.DataFrame(found, FOLDS, orient="row")

    return leakage.check_folds(seeing(judge, see), snapshot, store.settings)


@contextmanager
def quick_members() -> Iterator[None]:
    """The quickest member in the place of the network, and boosting of 40 rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            pipelines,
            "MEMBERS",
            pipelines.MEMBERS | {"network": pipelines.MEMBERS["recency"]},
        )
        patch.setattr(pipelines, "most_rounds", lambda is_large: 40)
        yield


FOLDS = {
    "candidate": pl.String,
    "cutoff": pl.Date,
    "n": pl.UInt32,
    "log_loss": pl.Float64,
    "level": pl.Float64,
}


def figures(
    fold: selection.Fold, predicted: list[Any], settings: Settings
) -> tuple[int, float, float]:
    """Rows, log loss at the judged cutoff, and the level that the early returns before
    it speak for.
    """
    judged, *said = predicted
    made = correction.corrections(
        selection._known(fold.newest, fold.early, said, settings, [])
    )
    return (
        len(fold.y),
        log_loss(fold.y, judged, labels=[0, 1]),
        made.get("early", correction.Correction()).intercept,
    )


def seeing(run: Callable[..., Any], see: Callable[[Any], None]) -> Callable[..., Any]:
    """The same function, its results shown to ``see``."""

    def both(*args: Any) -> Any:
        result = run(*args)
        see(result)
        return result

    return both


CHECKS = {"training": in_training, "predictions": of_predictions, "folds": of_folds}


@pytest.fixture(scope="module")
def clean(world: World) -> dict[str, Any]:
    """What each check sees of the honest world while nothing leaks; that none of them
    speaks is asserted here.
    """
    seen: dict[str, list[Any]] = {name: [] for name in CHECKS}
    assert all(check(world, seen[name].append) > 0 for name, check in CHECKS.items())
    return {name: values[0] for name, values in seen.items()}


def same(a: Any, b: Any) -> bool:
    """Whether two results agree, rounding and the order of rows apart."""
    if isinstance(a, tuple):
        return a[0] == b[0] and same(a[1], b[1])
    key = [name for name in ("candidate", "user_id", "cutoff") if name in a.columns]
    a, b = (
        f.sort(key).with_columns(pl.col(pl.Float64).round_sig_figs(8)) for f in (a, b)
    )
    return bool(a.equals(b))


# --- the plants
# -----------------------------------------------------------------------------------------------------

LIT = Callable[[pl.Expr], pl.Expr]


def known_before(wrong: LIT) -> Callable[[Patch], None]:
    """Features select a user's days by another rule."""
    return lambda patch: patch.setattr(compute, "known_before", wrong)


def a_day_wide(cutoff: pl.Expr) -> pl.Expr:
    """Both clocks a day later: age 0 is let in."""
    return clocks.known_before(cutoff + pl.duration(days=1))


def leaving(kind: str) -> Callable[[Patch], None]:
    """Whoever reports this kind before the cutoff, known or not, isn't eligible."""

    def plant(patch: Patch) -> None:
        honest = snapshots.of_users

        def wrong(
            rows: pl.LazyFrame, users: pl.LazyFrame, cutoffs: list[date], *rest: Any
        ) -> pl.LazyFrame:
            left = (
                rows.filter(pl.col("kind") == kind)
                .group_by("user_id")
                .agg(gone=pl.col("date").min())
            )
            both = honest(rows, users, cutoffs, *rest).join(
                left, on="user_id", how="left"
            )
            return both.filter(
                pl.col("gone").is_null() | (pl.col("gone") >= pl.col("cutoff"))
            ).drop("gone")

        patch.setattr(snapshots, "of_users", wrong)

    return plant


def logins_learned_later(patch: Patch) -> None:
    """Adopted history counts from its own day on, not from the log-in."""
    columns = [*activity.ActivityTable.column_names(), "platform"]
    patch.setattr(
        identity,
        "_known_from",
        lambda rows: rows.filter(pl.col("kind") != "merge").select(columns),
    )


def users_table(**columns: pl.Expr) -> Callable[[Patch], None]:
    """Tenure comes from other columns of the users table."""

    def plant(patch: Patch) -> None:
        honest = compute._tenure
        patch.setattr(
            compute,
            "_tenure",
            lambda users, cutoff: honest(users.with_columns(**columns), cutoff),
        )

    return plant


def last_seen(patch: Patch) -> None:
    """The users table's last instant instead of its first."""
    honest = snapshots.tables

    def wrong(store: Store, *rest: Any) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        last = clocks.local_date("last_at", store.settings.timezone) - pl.duration(
            days=1000
        )  # all of them before any cutoff
        users = store.scan("users", *rest).select(
            "user_id", "known_date", last.alias("first_date")
        )
        return honest(store, *rest)[0], users

    patch.setattr(snapshots, "tables", wrong)


def later_source(patch: Patch) -> None:
    """Which source counts is decided before the late reports are left out."""

    def wrong(
        rows: pl.LazyFrame, cutoff: date, observation_days: int, sources: Any
    ) -> pl.LazyFrame:
        start = pl.col("date") >= cutoff - timedelta(days=observation_days)
        return activity.counted_once(rows, sources).filter(
            clocks.known_before(pl.lit(cutoff)) & start
        )

    patch.setattr(compute, "_observed", wrong)


def later_vocabulary(patch: Patch) -> None:
    """Event names chosen from the whole log."""
    honest = compute.vocabulary
    patch.setattr(
        compute,
        "vocabulary",
        lambda rows, _, days, *rest: honest(rows, date(2026, 12, 1), 9 * days, *rest),
    )


def app_wide(days: int) -> Callable[[Patch], None]:
    """Everybody's activity is counted up to so many days after the cutoff's eve."""

    def plant(patch: Patch) -> None:
        honest, earlier = (
            compute.app_level,
            pl.col("date", "known_date") - pl.duration(days=days),
        )
        patch.setattr(
            compute,
            "app_level",
            lambda rows, *rest: honest(rows.with_columns(earlier), *rest),
        )

    return plant


def labels_of_all_time(patch: Patch) -> None:
    """Labels use what became known at any time."""
    honest = labels.returned
    patch.setattr(
        labels, "returned", lambda *args: honest(*args[:-1], date(2100, 1, 1))
    )


def target_encoded(patch: Patch) -> None:
    """A feature says how often this user churned, over all rows."""
    honest, rate = snapshots.label, pl.col("churned").mean().over("user_id")
    patch.setattr(
        snapshots,
        "label",
        lambda *args, **kw: honest(*args, **kw).with_columns(tenure_days=rate),
    )


def matrix_over_all(
    encode: Callable[[pl.DataFrame, pl.DataFrame, list[str]], pl.DataFrame],
) -> Callable[[Patch], None]:
    """The matrix is prepared with statistics over every cutoff that was observed, not
    those learned from.
    """

    def plant(patch: Patch) -> None:
        observe, matrix, everything = snapshots.observe, fitting.matrix, []

        def remember(*args: Any, **kwargs: Any) -> pl.DataFrame:
            everything.append(observe(*args, **kwargs))
            return everything[-1]

        def wrong(snapshot: pl.DataFrame, names: tuple[str, ...]) -> np.ndarray:
            return matrix(encode(snapshot, everything[-1], list(names)), names)

        patch.setattr(snapshots, "observe", remember)
        patch.setattr(fitting, "matrix", wrong)

    return plant


def scaled(
    snapshot: pl.DataFrame, everything: pl.DataFrame, names: list[str]
) -> pl.DataFrame:
    """Mean 0 and spread 1 over all cutoffs."""
    return snapshot.with_columns(
        (pl.col(n).cast(pl.Float64) - (everything[n].mean() or 0))
        / ((everything[n].std() or 0) + 1)
        for n in names
    )


def filled(
    snapshot: pl.DataFrame, everything: pl.DataFrame, names: list[str]
) -> pl.DataFrame:
    """What is missing replaced by the median over all cutoffs."""
    return snapshot.with_columns(
        pl.col(n).cast(pl.Float64).fill_null(everything[n].median() or 0) for n in names
    )


def calibrated_on_the_judged(patch: Patch) -> None:
    """Probabilities are mended with the outcomes they are to be judged by."""
    honest = fitting.predict

    def wrong(fitted: fitting.Model, snapshot: pl.DataFrame) -> np.ndarray:
        p, known = (
            honest(fitted, snapshot),
            snapshot["churned"].is_not_null().to_numpy(),
        )
        if snapshot["churned"].n_unique() < 2:
            return p
        y = snapshot["churned"].fill_null(False).cast(pl.Int8).to_numpy()
        odds = probability.log_odds(p).reshape(-1, 1)
        mended: np.ndarray = (
            LogisticRegression().fit(odds[known], y[known]).predict_proba(odds)[:, 1]
        )
        return mended

    patch.setattr(fitting, "predict", wrong)


def overlapping(patch: Patch) -> None:
    """Trained on cutoffs up to the tested one, whose label windows reach beyond it."""
    honest, label = training.training_cutoffs, snapshots.label

    def wrong(
        store: Store,
        newest: date | None = None,
        as_of: date | None = None,
    ) -> list[date]:
        return honest(store, newest, as_of + timedelta(days=14) if as_of else None)

    patch.setattr(backtest, "training_cutoffs", wrong)
    patch.setattr(
        snapshots,
        "label",
        lambda rows, store, as_of=None: label(rows, store),
    )


def random_folds(patch: Patch) -> None:
    """Every cutoff is judged by a model of all the others."""
    patch.setattr(
        selection,
        "judged_cutoffs",
        lambda cutoffs, _: [([c for c in cutoffs if c != j], j) for j in cutoffs],
    )


def early_returns(days: int) -> Callable[[Patch], None]:
    """First returns of an open horizon are read so many days beyond the one on which
    they are looked at.
    """

    def plant(patch: Patch) -> None:
        honest = snapshots.label

        def wrong(
            rows: pl.DataFrame, store: Store, as_of: date | None = None
        ) -> pl.DataFrame:
            later = honest(rows, store, as_of and as_of + timedelta(days=days))
            return honest(rows, store, as_of).with_columns(later["return_days"])

        patch.setattr(snapshots, "label", wrong)

    return plant


def early_days(days: int) -> Callable[[Patch], None]:
    """Who is still away early is asked so many days too late."""
    honest = selection._still_away
    return lambda patch: patch.setattr(
        selection, "_still_away", lambda rows, usual: honest(rows, usual + days)
    )


@dataclass(frozen=True)
class Leak:
    """What sees the future: how it is planted, what the error has to name, and the
    check that has to speak.
    """

    plant: Callable[[Patch], None]
    says: str
    check: str = "training"


USERS = "the set of eligible users"
LEAKS = {
    "feature windows reach one day too far": Leak(
        known_before(a_day_wide), "n_open_7d"
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
    "last seen, from the users table": Leak(last_seen, "tenure_days"),
    "later reports decide which source counts": Leak(later_source, "n_open"),
    "vocabulary chosen from the whole log": Leak(
        later_vocabulary, "the plan's vocabulary"
    ),
    "app-wide totals include the cutoff's day": Leak(app_wide(1), "vs_app"),
    "app-wide totals of the horizon": Leak(app_wide(14), "vs_app"),
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
    "calibrator fitted on what it is judged by": Leak(
        calibrated_on_the_judged, "probability", "predictions"
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


@pytest.mark.parametrize("name", [*LEAKS, *EARLY])
def test_a_planted_leak_is_found(
    name: str, world: World, clean: dict[str, Any], monkeypatch: Patch
) -> None:
    """The plant changes what a training takes or gives from an honest world, and the
    check stops the run by name.
    """
    seen: list[Any] = []
    leak = (LEAKS | EARLY)[name]
    leak.plant(monkeypatch)
    with pytest.raises(LeakError, match=f"{leak.says}.* sees the future"):
        CHECKS[leak.check](world, seen.append)
    assert not same(seen[0], clean[leak.check]), (
        "this plant is none: it changes nothing"
    )


def test_there_are_twenty_leaks() -> None:
    """Twenty, most of them found by the check that every training makes."""
    assert len(LEAKS) == 20
    assert sum(leak.check == "training" for leak in LEAKS.values()) >= 15


def test_a_training_that_sees_the_future_is_stopped(
    world: World, monkeypatch: Patch
) -> None:
    """The run fails before anything is fitted, with a sentence that names the day and
    the features.
    """
    store = world
    known_before(a_day_wide)(monkeypatch)
    monkeypatch.delattr(fitting, "fit")
    with pytest.raises(
        LeakError, match=rf"poison check at {CUTOFFS[0]}: .*n_open_7d.* must be mended"
    ):
        training.train(store, CUTOFFS)


@pytest.mark.parametrize("timezone", ["UTC", "Pacific/Auckland"])
def test_clean_code_raises_no_alarm(tmp_path: Path, timezone: str) -> None:
    """Another app, in another time zone: the check passes, and rows were really
    compared.
    """
    store = app(tmp_path, seed=2, n_users=250, timezone=timezone)
    assert checked(store) > 50
