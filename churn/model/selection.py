"""The inner, time-ordered loop: weights of the blend, rounds of boosting, and whether
to correct what it says.

Each fold judges a later cutoff with members fitted to cutoffs whose outcome was known
by then. Members are compared with the level of the judged cutoff taken out, which none
of them can foresee: what counts is who is told from whom. Labels are as known when all
is trained: where receipts come late, a fold knows some earlier than it could have.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import log_loss

from churn.features.catalogue import Plan
from churn.features.cutoffs import Calendar
from churn.hashing import stable_hash
from churn.model import correction as drift
from churn.model import fitting, own, pipelines
from churn.model.correction import Correction, Known, Seen
from churn.model.pipelines import Recipe
from churn.settings import Settings
from churn.stats import probability as probability_

MAX_FOLDS = 3
MAX_FOLD_ROWS = 60_000  # of a fold's training rows; the final fit may have more
# judged rows' worth: how strongly weights are drawn to the usual ones, which few rows
# cannot better
LEAN = 40
MIN_WEIGHT = 0.05  # below which a member is left out
FOLDS = {
    "candidate": pl.String,
    "cutoff": pl.Date,
    "n": pl.UInt32,
    "log_loss": pl.Float64,
}


@dataclass(frozen=True)
class Choice:
    """What the inner loop settled on. ``folds``: candidate, cutoff, n, log_loss;
    ``calibration`` of the newest one.
    """

    recipe: Recipe
    correction: str = "none"
    folds: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FOLDS))
    calibration: tuple[float, float] | None = (
        None  # 95 % interval of its level, in log-odds
    )


@dataclass(frozen=True)
class Fold:
    """One judged cutoff: its rows, those of the newest cutoff learned from, and of one
    whose horizon was still open.
    """

    cutoff: date
    learned: pl.DataFrame
    newest: pl.DataFrame
    judged: pl.DataFrame
    early: pl.DataFrame | None

    @cached_property
    def y(self) -> np.ndarray:
        """Outcomes at the judged cutoff."""
        return fitting.target(self.judged)


Predicted = dict[
    str, list[np.ndarray | None]
]  # by member: at the judged, newest and early cutoff


def choose(
    snapshot: pl.DataFrame, plan: Plan, settings: Settings, estimator: Any = None
) -> Choice:
    """Settle on a recipe by log loss over later cutoffs, each predicted from cutoffs
    mature by then.

    ``snapshot``: labelled rows, and rows without outcome of a cutoff whose horizon is
    open. ``estimator``: a classifier of one's own; then only its correction is chosen.
    Without a validation fold the default weights are taken, uncorrected.
    """
    is_large = (
        snapshot.drop_nulls("churned")["user_id"].n_unique() >= pipelines.MANY_USERS
    )
    usual = pipelines.usual(is_large)
    folds = usable_folds(snapshot, settings)
    if estimator is not None:
        forecasts = [_predict_own(fold, plan, settings, estimator) for fold in folds]
        return _validated(folds, own.RECIPE, forecasts, settings)
    if not folds:
        return Choice(Recipe(usual, is_large=is_large))
    staged = [_predict(fold, plan, settings, is_large) for fold in folds]
    rounds = _rounds(folds, staged)
    predicted = [
        {name.split(":")[0]: p for name, p in s.items() if name in _kept(rounds)}
        for s in staged
    ]
    weights = _weights(folds, predicted, usual)
    return _validated(folds, Recipe(weights, rounds, is_large), predicted, settings)


def _validated(
    folds: list[Fold], recipe: Recipe, predicted: list[Predicted], settings: Settings
) -> Choice:
    """The recipe with the correction that helped in every fold, its log losses and the
    calibration in the newest fold.
    """
    if not folds:
        return Choice(recipe)
    weights = dict(recipe.weights)
    blended = [[_mean(weights, p, k) for k in range(3)] for p in predicted]
    cases = [
        (
            _known(
                fold.newest,
                fold.early,
                b[1:],
                settings,
                _earlier(folds, blended, fold, settings),
            ),
            Seen(b[0], fold.y),
        )
        for fold, b in zip(folds, blended, strict=True)
    ]
    kind = drift.keep(cases)
    corrected = [
        drift.corrections(known).get(kind, Correction()).apply(seen.probability)
        for known, seen in cases
    ]
    name = own.NAME if own.NAME in weights else "blend"
    tried = [
        {**{m: p[0] for m, p in s.items()}, name: c}
        for s, c in zip(predicted, corrected, strict=True)
    ]
    newest = probability_.calibration(folds[-1].y, corrected[-1])
    level = (newest["intercept_low"], newest["intercept_high"])
    return Choice(
        recipe, kind, _table(folds, tried), level if np.isfinite(level).all() else None
    )


def correct(
    fitted: fitting.Model,
    snapshot: pl.DataFrame,
    choice: Choice,
    settings: Settings,
    estimator: Any = None,
) -> Correction:
    """The chosen correction, made from what is known when all is fitted; none where
    that isn't enough for it.
    """
    mature = snapshot.drop_nulls("churned")
    newest = mature.filter(pl.col("cutoff") == pl.col("cutoff").max())
    open_rows = snapshot.filter(pl.col("churned").is_null())
    early = None if open_rows.is_empty() else open_rows
    said = [
        None if rows is None else fitting.raw(fitted, rows) for rows in (newest, early)
    ]
    # Of the shapes only what the folds were judged by is known out of sample.
    judged = (
        []
        if choice.correction not in ("platt", "isotonic")
        else _judged(snapshot, fitted, choice, settings, estimator)
    )
    return drift.corrections(_known(newest, early, said, settings, judged)).get(
        choice.correction, Correction()
    )


def _judged(
    snapshot: pl.DataFrame,
    fitted: fitting.Model,
    choice: Choice,
    settings: Settings,
    estimator: Any,
) -> list[Seen]:
    found = []
    for fold in _folds(snapshot, settings):
        refitted = fitting.fit(
            fold.learned, fitted.plan, settings, choice.recipe, estimator
        )
        found.append(Seen(fitting.raw(refitted, fold.judged), fold.y))
    return found


def judged_cutoffs(
    cutoffs: list[date], settings: Settings
) -> list[tuple[list[date], date]]:
    """The newest cutoffs that have others mature by then to learn from: learned cutoffs
    and judged one of each fold.
    """
    folds = [
        (
            [c for c in cutoffs if settings.windows.horizon(c)[1] <= judge],
            judge,
        )
        for judge in cutoffs
    ]
    usable = [fold for fold in folds if fold[0]]
    step = max(1, len(usable) // MAX_FOLDS)
    return usable[::-1][::step][:MAX_FOLDS][::-1]


def usable_folds(snapshot: pl.DataFrame, settings: Settings) -> list[Fold]:
    """The folds at whose cutoff some churned and some stayed, oldest first."""
    return [f for f in _folds(snapshot, settings) if len(np.unique(f.y)) == 2]


def _folds(snapshot: pl.DataFrame, settings: Settings) -> Iterator[Fold]:
    mature = snapshot.drop_nulls("churned")
    for learned, judge in judged_cutoffs(sorted(mature["cutoff"].unique()), settings):
        rows = sample(mature.filter(pl.col("cutoff").is_in(learned)))
        if rows["churned"].n_unique() < 2:
            continue
        opened = Calendar.without_log(settings).open(judge) or date.max
        newest, judged, early = (
            mature.filter(pl.col("cutoff") == c) for c in (max(learned), judge, opened)
        )
        yield Fold(judge, rows, newest, judged, None if early.is_empty() else early)


def sample(rows: pl.DataFrame, most: int = MAX_FOLD_ROWS) -> pl.DataFrame:
    """At most so many rows, those of the users who come first by the stable hash:
    always the same, and whole users.
    """
    return (
        rows
        if rows.height <= most
        else rows.filter(stable_hash("user_id").rank("max") <= most)
    )


def _predict(fold: Fold, plan: Plan, settings: Settings, is_large: bool) -> Predicted:
    found: Predicted = {}
    for name in pipelines.MEMBERS:
        fitted = fitting.fit(
            fold.learned,
            plan,
            settings,
            Recipe({name: 1.0}, pipelines.most_rounds(is_large), is_large),
        )
        for stage, predict in fitting.stages(fitted):
            parts = (fold.judged, fold.newest, fold.early)
            found[f"{name}:{stage}"] = [
                None if rows is None else predict(rows) for rows in parts
            ]
    return found


def _predict_own(
    fold: Fold, plan: Plan, settings: Settings, estimator: Any
) -> Predicted:
    fitted = fitting.fit(fold.learned, plan, settings, own.RECIPE, estimator)
    parts = (fold.judged, fold.newest, fold.early)
    return {own.NAME: [None if p is None else fitting.raw(fitted, p) for p in parts]}


def _rounds(folds: list[Fold], staged: list[Predicted]) -> int:
    """The number of rounds, of those that every fold tried, whose boosting has the
    lowest loss over all.
    """
    tried = set.intersection(
        *[{n for n in s if n.startswith("boosting:")} for s in staged]
    )
    loss = {n: _pooled(folds, [s[n][0] for s in staged]) for n in sorted(tried)}
    return int(min(loss, key=lambda n: loss[n]).split(":")[1])


def _kept(rounds: int) -> set[str]:
    return {
        f"{name}:{rounds if name == 'boosting' else 0}" for name in pipelines.MEMBERS
    }


def _pooled(folds: list[Fold], predicted: list[Any]) -> float:
    y = np.concatenate([fold.y for fold in folds])
    p = np.concatenate(
        [_aligned(p, fold.y) for p, fold in zip(predicted, folds, strict=True)]
    )
    return float(log_loss(y, p))


def _aligned(probability: np.ndarray, y: np.ndarray) -> np.ndarray:
    """With the level that came."""
    return np.asarray(
        expit(
            probability_.log_odds(probability) + drift.level_shift(Seen(probability, y))
        )
    )


def _weights(
    folds: list[Fold], predicted: list[Predicted], usual: dict[str, float]
) -> dict[str, float]:
    """The mean of what each judged cutoff would have: every period has one vote, also a
    large and odd one.
    """
    towards = np.array([usual.get(name, 0.0) for name in pipelines.MEMBERS])
    votes = [_vote(fold, p, towards) for fold, p in zip(folds, predicted, strict=True)]
    mean = np.mean(votes, axis=0)
    w = np.where(mean < MIN_WEIGHT, 0, mean)
    return {
        name: round(float(v), 3)
        for name, v in zip(pipelines.MEMBERS, w / w.sum(), strict=True)
        if v
    }


def _vote(fold: Fold, predicted: Predicted, towards: np.ndarray) -> np.ndarray:
    """Weights of the mixture with the lowest log loss at one judged cutoff, leaning
    towards others.
    """
    aligned = [_aligned(predicted[name][0], fold.y) for name in pipelines.MEMBERS]  # type: ignore[arg-type]
    came = np.column_stack([np.where(fold.y == 1, p, 1 - p) for p in aligned])
    found = minimize(
        lambda w: (
            -np.log(came @ w + 1e-12).mean()
            + LEAN / len(came) * np.square(w - towards).sum()
        ),
        towards,
        bounds=[(0, 1)] * len(towards),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )
    return np.asarray(found.x)


def _mean(weights: dict[str, float], predicted: Predicted, part: int) -> Any:
    parts = [predicted[name][part] for name in weights]
    return (
        None
        if parts[0] is None
        else np.average(np.array(parts), axis=0, weights=list(weights.values()))
    )


def _earlier(
    folds: list[Fold], blended: list[list[Any]], fold: Fold, settings: Settings
) -> list[Seen]:
    return [
        Seen(b[0], f.y)
        for f, b in zip(folds, blended, strict=True)
        if settings.windows.horizon(f.cutoff)[1] <= fold.cutoff
    ]


def _known(
    newest: pl.DataFrame,
    early: pl.DataFrame | None,
    said: Sequence[Any],
    settings: Settings,
    judged: list[Seen],
) -> Known:
    """``said``: what the model forecast for the rows of the newest and of the early
    cutoff.
    """
    learned = Seen(said[0], fitting.target(newest))
    if early is None:
        return Known(learned, None, None, judged)
    away = [
        _still_away(rows, Calendar.without_log(settings).opening_days)
        for rows in (newest, early)
    ]
    if min(len(np.unique(a)) for a in away) < 2:
        return Known(learned, None, None, judged)
    return Known(learned, Seen(said[0], away[0]), Seen(said[1], away[1]), judged)


def _still_away(rows: pl.DataFrame, days: int) -> np.ndarray:
    back = pl.col("return_days").is_not_null() & (pl.col("return_days") < days)
    return rows.select((~back).cast(pl.Int8)).to_series().to_numpy()


def _table(folds: list[Fold], tried: list[dict[str, Any]]) -> pl.DataFrame:
    rows = [
        (name, fold.cutoff, len(fold.y), log_loss(fold.y, p, labels=[0, 1]))
        for name in tried[0]
        for fold, found in zip(folds, tried, strict=True)
        for p in [found[name]]
    ]
    return pl.DataFrame(rows, FOLDS, orient="row")


def choice_metrics(chosen: Choice) -> dict[str, float]:
    """Log loss of each member and of the blend over the inner loop, weighted by their
    rows; empty without folds.
    """
    weighted = (pl.col("log_loss") * pl.col("n")).sum() / pl.col("n").sum()
    totals = chosen.folds.group_by("candidate", maintain_order=True).agg(weighted)
    return {f"log_loss {name}": loss for name, loss in totals.iter_rows()}


def weights_text(chosen: Choice) -> str:
    """The members and their weights for readers."""
    return ", ".join(
        f"{name} {weight:.0%}" for name, weight in chosen.recipe.weights.items()
    )
