"""Every planted leak is found by a check, and clean code passes all of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.metrics import log_loss

from churn.errors import LeakError
from churn.evaluation import backtest
from churn.features import corruption, leakage, snapshots
from churn.features.cutoffs import Calendar
from churn.model import (
    blend,
    correction,
    evidence,
    fitting,
    folds,
    forecasts,
    pipelines,
    training,
)
from churn.model.folds import Fold
from churn.model.forecasts import Forecast
from churn.settings import Cluster, Settings
from churn.store import Store

from ..benchmarks.leaks import DAY0, app, checked
from .fitted_checks import ALL_USERS, check_folds, check_predictions
from .planted_leaks import EARLY, LEAKS, Patch, a_day_wide, known_before

CUTOFFS = [DAY0 + timedelta(days=d) for d in (46, 60, 74)]
AS_OF = CUTOFFS[-1] + timedelta(days=14)
TEST = DAY0 + timedelta(days=88)
FOLDS = {
    "candidate": pl.String,
    "cutoff": pl.Date,
    "n": pl.UInt32,
    "log_loss": pl.Float64,
    "level": pl.Float64,
}
Record = Callable[[Any], None]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An app with two sources, late reports, late log-ins, uninstalls, erasures and
    refunds.
    """
    return app(tmp_path_factory.mktemp("app"), seed=1, n_users=500)


def of_training(store: Store, record: Record) -> int:
    """The check of every training, on all users; ``record`` gets plan and rows."""
    plan = snapshots.plan(store, CUTOFFS[-1])
    # Sampled before the patch, so that every check reads the same users.
    all_users = corruption.sample(store, date.min, date.max, ALL_USERS)
    training_input = recording(leakage.training_input, record)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corruption, "sample", lambda *_: all_users)
        patch.setattr(leakage, "training_input", training_input)
        return leakage.check(store, CUTOFFS, plan, AS_OF)


def of_predictions(store: Store, record: Record) -> int:
    """The check of a whole backtest: predictions at the first of two test cutoffs."""

    def predict(copy: Store) -> pl.DataFrame:
        with quick_members():
            newest = TEST + timedelta(days=copy.settings.backtest.step_days)
            predictions = backtest.backtest(copy, newest, progress=False).predictions
        is_asked = (pl.col("model") == "chosen") & (pl.col("cutoff") == TEST)
        return predictions.filter(is_asked).select("user_id", "cutoff", "probability")

    return check_predictions(recording(predict, record), store, TEST)


def of_folds(store: Store, record: Record) -> int:
    """The check of the validation folds: each member's forecast, and the level that the
    first returns of an open horizon give.
    """
    plan = snapshots.plan(store, CUTOFFS[-1])
    cutoffs = Calendar.of(store).series(CUTOFFS[-1], 5)
    snapshot = snapshots.build(store, cutoffs, plan, AS_OF)
    settings = store.settings

    def judge(rows: pl.DataFrame) -> pl.DataFrame:
        figures = []
        with quick_members():
            for fold in folds.every(rows, settings):
                made = forecasts.of_members(fold, plan, settings, 40, 8)
                for (name, rounds), forecast in made.items():
                    values = fold_figures(fold, forecast, settings)
                    figures.append((f"{name}:{rounds}", fold.cutoff, *values))
        return pl.DataFrame(figures, FOLDS, orient="row")

    return check_folds(recording(judge, record), snapshot, settings)


@contextmanager
def quick_members() -> Iterator[None]:
    """The quickest member in the place of the network, and boosting of 40 rounds."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (pipelines, blend):
            quicker = module.MEMBERS | {"network": module.MEMBERS["recency"]}
            patch.setattr(module, "MEMBERS", quicker)
        patch.setattr(pipelines, "rounds_to_try", lambda n_users: (20, 40))
        yield


def fold_figures(
    fold: Fold, forecast: Forecast, settings: Settings
) -> tuple[int, float, float]:
    """Rows, log loss at the fold's cutoff, and the level from an open horizon."""
    known = evidence.of_fold(fold, forecast, settings)
    early = correction.corrections(known).get("early", correction.Correction())
    loss = log_loss(fold.y, forecast.validation, labels=[0, 1])
    return len(fold.y), loss, early.intercept


def recording(run: Callable[..., Any], record: Record) -> Callable[..., Any]:
    """The same function, whose results also go to ``record``."""

    def both(*args: Any) -> Any:
        result = run(*args)
        record(result)
        return result

    return both


CHECKS = {"training": of_training, "predictions": of_predictions, "folds": of_folds}


@pytest.fixture(scope="module")
def clean(store: Store) -> dict[str, Any]:
    """Each check's results on original data without a leak; here none of them fails."""
    results: dict[str, list[Any]] = {name: [] for name in CHECKS}
    assert all(check(store, results[name].append) > 0 for name, check in CHECKS.items())
    return {name: values[0] for name, values in results.items()}


def same(a: Any, b: Any) -> bool:
    """Whether two results agree, rounding and the order of rows apart."""
    if isinstance(a, tuple):
        return a[0] == b[0] and same(a[1], b[1])
    key = [name for name in ("candidate", "user_id", "cutoff") if name in a.columns]
    rounded = pl.col(pl.Float64).round_sig_figs(8)
    a, b = (frame.sort(key).with_columns(rounded) for frame in (a, b))
    return bool(a.equals(b))


@pytest.mark.parametrize("name", [*LEAKS, *EARLY])
def test_a_planted_leak_is_found(
    name: str, store: Store, clean: dict[str, Any], monkeypatch: Patch
) -> None:
    """The plant changes what a training of the original data takes or gives, and the
    check fails, naming what changed.
    """
    results: list[Any] = []
    leak = (LEAKS | EARLY)[name]
    leak.plant(monkeypatch)
    with pytest.raises(LeakError, match=f"{leak.named}.* uses the future"):
        CHECKS[leak.check](store, results.append)
    assert not same(results[0], clean[leak.check]), "this plant changes nothing"


def test_there_are_24_leaks() -> None:
    """24, most of them found by the check that every training makes."""
    assert len(LEAKS) == 24
    assert sum(leak.check == "training" for leak in LEAKS.values()) >= 15


def test_a_training_that_uses_the_future_is_stopped(
    store: Store, monkeypatch: Patch
) -> None:
    """The run fails before anything is fitted, with a sentence that names the day and
    the features.
    """
    known_before(a_day_wide)(monkeypatch)
    monkeypatch.delattr(fitting, "fit")
    expected = rf"leakage check at {CUTOFFS[0]}: .*n_open_7d.* correct it before"
    with pytest.raises(LeakError, match=expected):
        training.train(store, CUTOFFS)


@pytest.mark.parametrize("timezone", ["UTC", "Pacific/Auckland"])
def test_clean_code_raises_no_alarm(tmp_path: Path, timezone: str) -> None:
    """Another app, in another time zone: the check passes, and rows were really
    compared.
    """
    store = app(tmp_path, seed=2, n_users=250, timezone=timezone)
    assert checked(store) > 50


def test_a_study_with_several_processes_is_checked_too(store: Store) -> None:
    """The check's own copies are read by the process that made them."""
    several = store.settings.model_copy(update={"cluster": Cluster(processes=2)})
    plan = snapshots.plan(store, CUTOFFS[-1])
    spread = replace(store, settings=several)
    assert leakage.check(spread, CUTOFFS, plan, AS_OF) > 50
