"""Backtest, choice of candidate, and the figures that say how good the probabilities are."""

import logging
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from tqdm.auto import tqdm

from churn import features, labels, model, snapshots
from churn.errors import CutoffError, TrainingError
from churn.features import Plan
from churn.model import Model
from churn.store import Store
from churn.study import Study, Windows

log = logging.getLogger(__name__)
MIN_CLASS = 50  # churners, and stayers, below which nothing is learned
MAX_FOLDS = 4
N_BINS = 10


@dataclass(frozen=True)
class Choice:
    """What the inner, time-ordered loop settled on. ``folds``: candidate, cutoff, n, log_loss."""

    candidate: str
    calibrator: LogisticRegression | None
    folds: pl.DataFrame


@dataclass(frozen=True)
class Backtest:
    """What a backtest predicted, and how.

    ``predictions``: user_id, cutoff, churned, model (chosen or recency), probability. ``choices``: a row per cutoff.
    """

    predictions: pl.DataFrame
    choices: pl.DataFrame


def training_cutoffs(target: Store, study: Study, newest: date | None = None, as_of: date | None = None) -> list[date]:
    """The study's training cutoffs up to ``newest``, by default the newest mature by ``as_of``, by default the end."""
    end = as_of or snapshots.covered_end(target)
    newest = newest or labels.newest_mature(study.windows, end - timedelta(days=1))
    found = snapshots.series(newest, study, study.backtest.n_train_cutoffs, snapshots.earliest(target, study))
    if not found:
        raise TrainingError(
            f"no training cutoff: the newest with a known outcome is {newest}, the earliest the log allows is "
            f"{snapshots.earliest(target, study)}; more history or shorter windows are needed"
        )
    return found


def train(target: Store, study: Study, cutoffs: list[date]) -> tuple[Model, Choice]:
    """Build snapshots, run the poison check, choose, fit. Nothing after the newest cutoff's horizon is seen.

    Raises CutoffError if a cutoff lies outside the data or its horizon isn't over.
    """
    as_of = labels.horizon(max(cutoffs), study.windows)[1]
    snapshots.check_cutoffs(target, study, cutoffs)
    if as_of > snapshots.covered_end(target):
        newest = labels.newest_mature(study.windows, snapshots.covered_end(target) - timedelta(days=1))
        raise CutoffError(f"cutoff {max(cutoffs)} has no outcome yet: train on cutoffs up to {newest}")
    plan = snapshots.plan(target, study, max(cutoffs))
    snapshots.poison_check(target, study, [min(cutoffs), max(cutoffs)], plan)
    return learn(snapshots.build(target, study, cutoffs, plan, as_of), plan, study)


def learn(snapshot: pl.DataFrame, plan: Plan, study: Study) -> tuple[Model, Choice]:
    """Choose and fit on one labelled snapshot. Raises TrainingError with too few churners or stayers."""
    known = snapshot.drop_nulls("churned")
    check_enough(known)
    choice = choose(known, plan, study)
    return model.fit(known, choice.candidate, plan, study, choice.calibrator), choice


def check_enough(snapshot: pl.DataFrame) -> None:
    """Raise TrainingError unless there are at least 50 churners and 50 stayers."""
    n_churned = int(snapshot["churned"].sum())
    n_stayed = snapshot.height - n_churned
    if min(n_churned, n_stayed) < MIN_CLASS:
        raise TrainingError(
            f"too little to learn from: {n_churned} churned and {n_stayed} stayed, at least {MIN_CLASS} of each are "
            "needed; use more history, more cutoffs or a longer horizon"
        )


def choose(snapshot: pl.DataFrame, plan: Plan, study: Study) -> Choice:
    """The candidate with the lowest log loss over later cutoffs, each predicted from cutoffs mature by then.

    Without two such cutoffs there is nothing to choose by: the logistic regression is taken, uncalibrated.
    """
    folds = _folds(sorted(snapshot["cutoff"].unique()), study.windows)
    tried = [_fold(snapshot, name, plan, study, *fold) for fold in folds for name in model.CANDIDATES]
    if not tried:
        return Choice("logistic", None, pl.DataFrame(schema=_FOLDS))
    predictions = pl.concat(tried)
    table = predictions.group_by("candidate", "cutoff", maintain_order=True).agg(n=pl.len(), log_loss=_loss().mean())
    totals = predictions.group_by("candidate", maintain_order=True).agg(log_loss=_loss().mean())
    best = str(totals.sort("log_loss", maintain_order=True)["candidate"][0])
    mine = predictions.filter(pl.col("candidate") == best)
    return Choice(best, _calibrator(mine, study.windows), table)


_FOLDS = {"candidate": pl.String, "cutoff": pl.Date, "n": pl.UInt32, "log_loss": pl.Float64}


def _folds(cutoffs: list[date], windows: Windows) -> list[tuple[list[date], date]]:
    """The newest cutoffs that have others mature by then to learn from."""
    folds = [([c for c in cutoffs if labels.horizon(c, windows)[1] <= judge], judge) for judge in cutoffs]
    usable = [fold for fold in folds if fold[0]]
    step = max(1, len(usable) // MAX_FOLDS)
    return usable[::-1][::step][:MAX_FOLDS][::-1]


def _fold(
    snapshot: pl.DataFrame, candidate: str, plan: Plan, study: Study, learned: list[date], judge: date
) -> pl.DataFrame:
    past = snapshot.filter(pl.col("cutoff").is_in(learned))
    judged = snapshot.filter(pl.col("cutoff") == judge)
    empty = past["churned"].n_unique() < 2
    p = np.full(judged.height, 0.5) if empty else model.predict(model.fit(past, candidate, plan, study), judged)
    return judged.select("cutoff", "churned", pl.lit(candidate).alias("candidate"), pl.Series("probability", p))


def _loss() -> pl.Expr:
    p = pl.col("probability").clip(1e-15, 1 - 1e-15)
    return -pl.when(pl.col("churned")).then(p.log()).otherwise((1 - p).log())


def _calibrator(folds: pl.DataFrame, windows: Windows) -> LogisticRegression | None:
    """Kept only if, fitted on earlier folds mature by the last one, it makes that one's log loss better."""
    cutoffs: list[date] = sorted(folds["cutoff"].unique())
    last = cutoffs[-1]
    mature = [c for c in cutoffs if labels.horizon(c, windows)[1] <= last]
    earlier, judge = folds.filter(pl.col("cutoff").is_in(mature)), folds.filter(pl.col("cutoff") == last)
    if not mature or min(_n_classes(earlier), _n_classes(judge)) < 2:
        return None
    raw = judge["probability"].to_numpy()
    calibrated = model.calibrate(_platt(earlier), raw)
    y = model.target(judge)
    return _platt(folds) if log_loss(y, calibrated) < log_loss(y, raw) else None


def _n_classes(frame: pl.DataFrame) -> int:
    return frame["churned"].n_unique()


def _platt(frame: pl.DataFrame) -> LogisticRegression:
    platt = LogisticRegression(C=1e6)  # so weak a penalty is none
    platt.fit(model.log_odds(frame["probability"].to_numpy()), model.target(frame))
    return platt


def backtest(target: Store, study: Study, newest: date | None = None, progress: bool = True) -> Backtest:
    """Score each test cutoff T once, with everything chosen and fitted from what was mature and known by T."""
    newest = newest or labels.newest_mature(study.windows, snapshots.covered_end(target) - timedelta(days=1))
    tests = snapshots.series(newest, study, study.backtest.n_test_cutoffs, snapshots.earliest(target, study))
    if not tests:
        raise TrainingError(f"no test cutoff: {newest} lies before {snapshots.earliest(target, study)}")
    trains = {test: training_cutoffs(target, study, as_of=test) for test in tests}
    plans = {test: snapshots.plan(target, study, max(trains[test])) for test in tests}
    observed = snapshots.observe(
        target, study, sorted({*tests, *(c for cutoffs in trains.values() for c in cutoffs)}), _union(plans)
    )
    done = [
        _test(target, study, observed, test, trains[test], plans[test])
        for test in tqdm(tests, desc="backtest", disable=not progress, leave=False)
    ]
    return Backtest(pl.concat([p for p, _ in done]), pl.DataFrame([c for _, c in done]))


def _union(plans: dict[date, Plan]) -> Plan:
    """One plan that holds every plan's columns; each test cutoff then reads its own."""
    names = dict.fromkeys(name for plan in plans.values() for name in plan.vocabulary)
    return replace(next(iter(plans.values())), vocabulary=tuple(names))


def _test(
    target: Store, study: Study, observed: pl.DataFrame, test: date, trains: list[date], plan: Plan
) -> tuple[pl.DataFrame, dict[str, Any]]:
    mine = observed.select("user_id", "cutoff", *features.catalogue(plan))
    past = snapshots.label(mine.filter(pl.col("cutoff").is_in(trains)), target, study, as_of=test)
    judged = snapshots.label(mine.filter(pl.col("cutoff") == test), target, study)
    chosen, choice = learn(past, plan, study)
    recency = model.fit(past, "recency", plan, study)
    key = judged.select("user_id", "cutoff", "churned")
    predictions = [
        key.with_columns(pl.lit(name).alias("model"), pl.Series("probability", model.predict(m, judged)))
        for name, m in (("chosen", chosen), ("recency", recency))
    ]
    facts = {
        "cutoff": test,
        "candidate": choice.candidate,
        "calibrated": choice.calibrator is not None,
        "n_train_cutoffs": len(trains),
        "n_train_rows": chosen.n_rows,
        "forecast_churn_rate": float(predictions[0]["probability"].to_numpy().mean()),
        "churn_rate": float(model.target(judged).mean()),
    }
    return pl.concat(predictions), facts


def metrics(churned: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """AUC, average precision, log loss, Brier, calibration error, lift and capture in the top tenth.

    AUC and the losses need both outcomes; with only one, AUC and average precision are NaN.
    """
    y, p = np.asarray(churned, dtype=int), np.asarray(probability, dtype=float)
    both = len(np.unique(y)) == 2
    top = np.argsort(-p, kind="stable")[: max(1, len(p) // 10)]
    return {
        "n": len(y),
        "churn_rate": float(y.mean()),
        "auc": float(roc_auc_score(y, p)) if both else float("nan"),
        "average_precision": float(average_precision_score(y, p)) if both else float("nan"),
        "log_loss": float(log_loss(y, p, labels=[0, 1])),
        "brier": float(brier_score_loss(y, p, pos_label=1)) if both else float(np.mean((y - p) ** 2)),
        "calibration_error": calibration_error(y, p),
        "lift_top_tenth": float(y[top].mean() / y.mean()) if y.any() else float("nan"),
        "capture_top_tenth": float(y[top].sum() / y.sum()) if y.any() else float("nan"),
    }


def calibration_error(churned: np.ndarray, probability: np.ndarray) -> float:
    """Mean distance of predicted and actual churn rate over ten bins of equal size, weighted by size.

    >>> round(calibration_error(np.array([0, 1] * 10), np.array([0.5] * 20)), 3)
    0.0
    """
    bins = np.array_split(np.argsort(probability, kind="stable"), N_BINS)
    gaps = [abs(churned[b].mean() - probability[b].mean()) * len(b) for b in bins if len(b)]
    return float(sum(gaps) / len(probability))


def by_cutoff(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row of metrics per model and test cutoff, then one per model over all (cutoff null)."""
    groups = predictions.partition_by("model", "cutoff", maintain_order=True)
    pooled = predictions.partition_by("model", maintain_order=True)
    rows = [{"model": g["model"][0], "cutoff": g["cutoff"][0], **_metrics_of(g)} for g in groups]
    rows += [{"model": g["model"][0], "cutoff": None, **_metrics_of(g)} for g in pooled]
    return pl.DataFrame(rows, schema_overrides={"cutoff": pl.Date})


def _metrics_of(group: pl.DataFrame) -> dict[str, float]:
    return metrics(model.target(group), group["probability"].to_numpy())


def intervals(predictions: pl.DataFrame, random_state: int, n_resamples: int = 200) -> pl.DataFrame:
    """95 % intervals of AUC and log loss over all test cutoffs, and of chosen less recency: users are resampled.

    A user's rows at several cutoffs go together, since they are not independent.
    """
    wide = predictions.pivot("model", index=["user_id", "cutoff", "churned"], values="probability").sort("user_id")
    user = wide["user_id"].rle_id().to_numpy()
    y = model.target(wide)
    rng = np.random.default_rng(random_state)
    draws = [_draw(rng, user, y, wide) for _ in range(n_resamples)]
    table = pl.DataFrame([d for d in draws if d]).unpivot(variable_name="figure")
    return table.group_by("figure", maintain_order=True).agg(
        low=pl.col("value").quantile(0.025), high=pl.col("value").quantile(0.975)
    )


def _draw(rng: np.random.Generator, user: np.ndarray, y: np.ndarray, wide: pl.DataFrame) -> dict[str, float]:
    n_users = int(user[-1]) + 1
    weight = np.bincount(rng.integers(0, n_users, n_users), minlength=n_users)[user]
    if len(np.unique(y[weight > 0])) < 2:
        return {}
    out = {}
    for name in ("chosen", "recency"):
        p = wide[name].to_numpy()
        out[f"auc {name}"] = roc_auc_score(y, p, sample_weight=weight)
        out[f"log_loss {name}"] = log_loss(y, p, sample_weight=weight)
    for figure in ("auc", "log_loss"):
        out[f"{figure} chosen less recency"] = out[f"{figure} chosen"] - out[f"{figure} recency"]
    return out


def calibration_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Ten bins of equal size per model: model, bin, mean_probability, churn_rate, n."""
    bins = (pl.col("probability").rank("ordinal") - 1).over("model") * N_BINS // pl.len().over("model")
    return (
        predictions.with_columns(bins.alias("bin"))
        .group_by("model", "bin")
        .agg(mean_probability=pl.col("probability").mean(), churn_rate=pl.col("churned").mean(), n=pl.len())
        .sort("model", "bin")
    )


def lift_table(predictions: pl.DataFrame) -> pl.DataFrame:
    """Cumulative gains: model, depth (share of users, riskiest first), capture (share of all churners), at each 2 %."""
    ordered = predictions.sort("model", "probability", descending=[False, True])
    gains = ordered.with_columns(
        depth=(pl.int_range(1, pl.len() + 1) / pl.len()).over("model"),
        capture=(pl.col("churned").cum_sum() / pl.col("churned").sum()).over("model"),
    )
    at = pl.col("depth").mul(50).ceil() / 50
    return gains.group_by("model", at.alias("depth")).agg(pl.col("capture").last()).sort("model", "depth")


def ceiling_skill(probability: np.ndarray, truth: np.ndarray) -> float:
    """(L_base − L_model) / (L_base − L_truth), log losses in expectation under the true probabilities.

    The base is the best constant, the mean of the true probabilities. 1 is all that could be known, 0 is no better than
    the constant.

    >>> ceiling_skill(np.array([0.2, 0.8]), np.array([0.2, 0.8]))
    1.0
    """
    base = expected_log_loss(np.full(len(truth), truth.mean()), truth)
    own = expected_log_loss(probability, truth)
    return float((base - own) / (base - expected_log_loss(truth, truth)))


def expected_log_loss(probability: np.ndarray, truth: np.ndarray) -> float:
    """Mean log loss that ``probability`` would have over all outcomes that ``truth`` makes possible."""
    p = np.clip(probability, 1e-15, 1 - 1e-15)
    return float(-np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p)))


def parse_training_cutoffs(target: Store, study: Study, newest: str, listed: list[str]) -> list[date]:
    """Training cutoffs from notebook parameters: an explicit list, else the study's series up to ``newest``."""
    if listed:
        return sorted({c for c in map(snapshots.parse_cutoff, listed) if c})
    return training_cutoffs(target, study, snapshots.parse_cutoff(newest))


def choice_metrics(choice: Choice) -> dict[str, float]:
    """Log loss of each candidate over the folds of the inner loop, weighted by their rows; empty without folds."""
    weighted = (pl.col("log_loss") * pl.col("n")).sum() / pl.col("n").sum()
    totals = choice.folds.group_by("candidate", maintain_order=True).agg(weighted)
    return {f"log_loss {name}": loss for name, loss in totals.iter_rows()}


def choice_table(choice: Choice) -> pl.DataFrame:
    """The inner loop for readers: one row per candidate, a column per judged cutoff, then all together."""
    wide = choice.folds.with_columns(pl.col("cutoff").cast(pl.String)).pivot(
        "cutoff", index="candidate", values="log_loss"
    )
    total = {name.removeprefix("log_loss "): loss for name, loss in choice_metrics(choice).items()}
    used = pl.when(pl.col("candidate") == choice.candidate).then(pl.lit("used")).otherwise(pl.lit(""))
    together = pl.col("candidate").replace_strict(total, return_dtype=pl.Float64).alias("all")
    return wide.with_columns(together, used.alias(" "))


def feature_table(fitted: Model) -> pl.DataFrame:
    """Every feature the model sees and what it means."""
    meanings = features.catalogue(fitted.plan)
    return pl.DataFrame([{"feature": name, "meaning": meanings[name].meaning} for name in fitted.features])


FIGURES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier",
    "calibration_error": "calibration error",
    "lift_top_tenth": "lift, top tenth",
    "capture_top_tenth": "capture, top tenth",
}


def summary_table(table: pl.DataFrame) -> pl.DataFrame:
    """The pooled figures for readers: one row per figure, a column per model."""
    pooled = table.filter(pl.col("cutoff").is_null()).select("model", *FIGURES).rename(FIGURES)
    return pooled.transpose(include_header=True, header_name="figure", column_names="model")


def interval_table(predictions: pl.DataFrame, random_state: int) -> pl.DataFrame:
    """Intervals for readers: figure, from, to."""
    readable = pl.col("figure").str.replace("auc", "AUC", literal=True).str.replace("_", " ", literal=True)
    return intervals(predictions, random_state).select(
        readable, pl.col("low").alias("from"), pl.col("high").alias("to")
    )


def choices_table(choices: pl.DataFrame) -> pl.DataFrame:
    """What each test cutoff was predicted with, and forecast against actual churn rate."""
    return choices.select(
        pl.col("cutoff").cast(pl.String), "candidate", "calibrated", "n_train_rows", "forecast_churn_rate", "churn_rate"
    )


def headline(table: pl.DataFrame) -> dict[str, Any]:
    """The pooled figures of the chosen model, and the recency baseline's AUC and log loss beside them."""
    pooled = {row["model"]: row for row in table.filter(pl.col("cutoff").is_null()).drop("cutoff").to_dicts()}
    chosen = {k: v for k, v in pooled["chosen"].items() if k != "model"}
    return {**chosen, "recency_auc": pooled["recency"]["auc"], "recency_log_loss": pooled["recency"]["log_loss"]}


def against_truth(predictions: pl.DataFrame, truth: str) -> float | None:
    """Ceiling skill of the chosen model over all test cutoffs; null without a file of true probabilities."""
    if not truth:
        return None
    known = pl.read_parquet(truth).rename({"probability": "truth"})
    both = predictions.filter(pl.col("model") == "chosen").join(known, on=["user_id", "cutoff"])
    return ceiling_skill(both["probability"].to_numpy(), both["truth"].to_numpy())


def ceiling_sentence(skill: float | None) -> str:
    """What a ceiling skill means, in one sentence."""
    if skill is None:
        return "No true probabilities are known here, so the distance to the best possible can't be said."
    return f"This app is simulated: the model knows {skill:.0%} of what could be known (100 % is the true probability)."
