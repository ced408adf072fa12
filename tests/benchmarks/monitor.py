"""The monitor's verdicts, what its promises were worth, and how long drift takes.

    python -m tests.benchmarks.monitor weeks [--worlds 20]
    python -m tests.benchmarks.monitor promises [--data FOLDER] [--logs NAME ...]
    python -m tests.benchmarks.monitor drift

``weeks``: a verdict a week in simulated worlds, with every day a scoring. Users are
active on a day by their own chance times a shock that all users share and that lasts for
some weeks; forecasts know the former and not the latter. Of clean weeks the share that
is held should be at most 5 %. Then a fault is planted on a day: a model without skill
(forecasts of users are exchanged), or a level moved by 1 log-odds; counted is how many
worlds are held, and how many days after the first faulty scoring had an outcome.

``promises``: on real logs, at every test cutoff a model is trained as of that day, its
promise is made as a night makes it, and compared with what came true. Of right 80 %
intervals 70 to 90 % should hold, over all logs.
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit
from scipy.stats import binomtest

from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.model import baseline, training
from churn.monitoring import judgement, outcomes, promises
from churn.scoring import scores
from churn.settings import Gates, Settings
from churn.stats.probability import log_odds

from . import real_logs
from .common import DATA, filled, parser, wide_tables

DAY0 = date(2026, 1, 1)
HORIZON = ELIGIBLE = 28
N_DAYS = 28 + 150
"""Days on which a world is scored, behind the first eligible window."""

WEEKS = range(42, 112, 7)
"""Days of a world's verdicts, counted from its first scoring."""

FAULT_DAY = 50
"""Day from which scorings are faulty, counted likewise."""

FAULTS = ("no skill", "level +1", "level -1")


class World:
    """Activity of one app: users by days, and what a right model forecasts of them."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n_users = int(np.exp(rng.uniform(np.log(300), np.log(5000))))
        rate = rng.gamma(1.2, 0.06, n_users).clip(0.002, 0.9)
        shock = _shocks(rng, sd=rng.uniform(0.03, 0.15), days=rng.uniform(7, 40))
        chance = (rate[:, None] * shock[None, :]).clip(0, 1)
        self.rng = rng
        self.active = rng.random(chance.shape) < chance
        self.forecast = (1 - rate) ** HORIZON

    def figures(self, day: int, fault: str = "") -> dict[str, Any]:
        """What the monitor knows of the scoring of a day once its horizon is over."""
        first = day + ELIGIBLE
        seen = self.active[:, day:first].any(axis=1)
        p = self.forecast[seen]
        if fault == "no skill":
            p = self.rng.permutation(p)
        elif fault:
            p = expit(log_odds(p) - float(fault.split()[1]))
        churned = ~self.active[seen, first : first + HORIZON].any(axis=1)
        known = outcomes.figures(churned.astype(int), p)
        empty = dict.fromkeys(outcomes.SCHEMA)
        cutoff = DAY0 + timedelta(days=day)
        return {**empty, "cutoff": cutoff, "n": len(p), "segments": [], **known}


def _shocks(rng: np.random.Generator, sd: float, days: float) -> np.ndarray:
    """A factor per day with mean 1 that forgets half of itself in some days."""
    n = N_DAYS + HORIZON
    keep = 0.5 ** (1 / days)
    log = np.zeros(n)
    log[0] = rng.normal(0, sd)
    for k in range(1, n):
        log[k] = keep * log[k - 1] + rng.normal(0, sd * np.sqrt(1 - keep**2))
    return np.exp(log)


def judged(closed: pl.DataFrame, day: int, learned: int) -> judgement.Judgement:
    """The verdict of a day; ``learned``: the first day whose outcome is unlearned."""
    until = DAY0 + timedelta(days=day - HORIZON)
    known = closed.filter(pl.col("cutoff") <= until)
    learned_until = DAY0 + timedelta(days=learned)
    return judgement.judge(known, {}, Gates(), "model", learned_until, HORIZON)


def weeks(n_worlds: int) -> Iterator[dict[str, Any]]:
    """Decisions of clean weeks, and how soon each fault is held, by world."""
    for seed in range(n_worlds):
        world = World(seed)
        clean = [world.figures(day) for day in range(WEEKS[-1])]
        table = pl.DataFrame(clean, schema=outcomes.SCHEMA)
        # The model is never trained again, or every week.
        for training_days in (0, 7):
            for day in WEEKS:
                learned = day - training_days if training_days else 0
                found = judged(table, day, learned).decision
                yield {
                    "what": f"clean, trained every {training_days} days",
                    "as": found,
                }
        for fault in FAULTS:
            faulty = clean[:FAULT_DAY] + [
                world.figures(day, fault) for day in range(FAULT_DAY, WEEKS[-1])
            ]
            bad = pl.DataFrame(faulty, schema=outcomes.SCHEMA)
            yield {"what": fault, **_held(bad)}


def _held(closed: pl.DataFrame) -> dict[str, Any]:
    """Whether a fault is held, how soon, and how soon it is warned of."""
    first = FAULT_DAY + HORIZON
    days: dict[str, int] = {}
    for day in range(first, WEEKS[-1] + HORIZON):
        days.setdefault(judged(closed, day, 0).decision, day - first)
    held, warned = days.get("hold"), days.get("warn")
    return {
        "as": "hold" if held is not None else "warn" if warned is not None else "send",
        "days": held,
    }


def kept_promises(data: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """Each promise of each test cutoff of the real logs, and whether it held."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            settings = real_logs.study(name, data, Path(folder))
            yield from _of_log(name, settings)


def _of_log(name: str, settings: Settings) -> Iterator[dict[str, Any]]:
    store = filled(settings)
    calendar = Calendar.of(store)
    for cutoff in real_logs.cutoffs(name):
        cutoffs = training.training_cutoffs(store, as_of=cutoff)
        trained = training.train(store, cutoffs)
        model_id = trained.model.model_id
        assert trained.baseline is not None
        assert calendar.horizon(cutoff)[1] <= calendar.end
        baseline.write(store, model_id, trained.baseline)
        seen = trained.baseline
        table, counted = scores.counted(store, trained.model, cutoff, seen.bins)
        promise = promises.make(store, trained.model, table, seen, counted)
        labelled = snapshots.label(table, store)
        churned = labelled["churned"].to_numpy().astype(int)
        came = outcomes.figures(churned, table["probability"].to_numpy())
        for figure, (middle, low, high) in promise.expected.items():
            if low is None or high is None or middle is None:
                continue
            actual = came[figure]
            assert actual is not None
            yield {
                "log": name,
                "cutoff": cutoff,
                "figure": figure,
                "low": low,
                "high": high,
                "actual": actual,
                "held": low <= actual <= high,
                "drift": promise.drift.get("probability"),
            }


def seconds_of_drift(n_users: int = 200_000, n_features: int = 40) -> float:
    """Processor seconds of the drift of so many users and features."""
    rng = np.random.default_rng(0)
    names = [f"feature_{k}" for k in range(n_features)]
    rows = pl.DataFrame({name: rng.gamma(1, 1, n_users) for name in names})
    past = rows.with_columns(cutoff=pl.lit(DAY0), churned=pl.lit(True))
    nothing = pl.DataFrame(
        schema={"cutoff": pl.Date, "churned": pl.Boolean, "probability": pl.Float64}
    )
    users = pl.int_range(n_users, eager=True).cast(pl.String).alias("user_id")
    seen = baseline.of_training(past.with_columns(users), names, nothing)
    started = time.process_time()
    found = baseline.drift(baseline.counted(seen.bins, rows))
    assert found.height == n_features
    return time.process_time() - started


def share(k: int, n: int) -> str:
    """A share with its 95 % interval."""
    span = binomtest(k, n).proportion_ci(method="wilson")
    return f"{k} of {n}: {k / n:.1%} (95 %: {span.low:.1%} to {span.high:.1%})"


def main() -> None:
    """Print the figures of one part."""
    command = parser(__doc__)
    command.add_argument("of", choices=["weeks", "promises", "drift"])
    command.add_argument("--worlds", type=int, default=20)
    command.add_argument("--data", type=Path, default=DATA)
    command.add_argument("--logs", nargs="+", default=list(real_logs.LOGS))
    given = command.parse_args()
    with wide_tables():
        if given.of == "drift":
            print(f"{seconds_of_drift():.2f} processor seconds")
        elif given.of == "weeks":
            decisions = []
            for row in weeks(given.worlds):
                decisions.append(row)
                print(*row.values(), flush=True)
            table = pl.DataFrame(decisions, infer_schema_length=None)
            counts = table.group_by("what", "as", maintain_order=True)
            print(
                counts.agg(
                    pl.len(), pl.col("days").median(), slowest=pl.col("days").max()
                )
            )
        else:
            rows = []
            for row in kept_promises(given.data, given.logs):
                rows.append(row)
                print(row, flush=True)
            table = pl.DataFrame(rows)
            for key, part in table.group_by("log", "figure", maintain_order=True):
                print(*key, share(part["held"].sum(), part.height))
            print("pooled", share(table["held"].sum(), table.height))


if __name__ == "__main__":
    main()
