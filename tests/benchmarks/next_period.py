"""The forecast for the next scoring against the outcome.

    python -m tests.benchmarks.next_period worlds [--seeds 2000 2120] [--cache FOLDER]
    python -m tests.benchmarks.next_period real [--data FOLDER] [--past N]

Measured are the error of the estimate, and the coverage and width of the 80 % interval.
With a cache the backtests run once, and estimators can be compared. A drifting
world is a small app whose level of activity and whose hazard of leaving follow a random
walk, jump and have seasons, with strengths drawn for each world. A forecast uses what
was known on its day; the outcomes of the horizon that begins on that day are read once,
afterwards. Seeds below 1000 are for development.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit
from scipy.stats import binomtest, rankdata

from churn.evaluation import metrics, next_period
from churn.features.cutoffs import Calendar
from churn.settings import parse
from churn.stats.probability import expected_log_loss, log_odds
from churn.store import create_or_open

from .common import DATA, chosen, filled, parser, tested, wide_tables
from .real_logs import LOGS

START = datetime(2025, 1, 1, tzinfo=UTC)
N_DAYS = 240
N_PAST = 4
"""Number of test cutoffs with a known outcome that a forecast uses by default."""

WINDOWS = {"observation_days": 56, "eligible_days": 28, "horizon_days": 28}
REAL_BACKTESTS = {
    "collegemsg": {"step_days": 7, "n_train_cutoffs": 6, "n_test_cutoffs": 20},
    "online_retail_ii": {"step_days": 30, "n_train_cutoffs": 6, "n_test_cutoffs": 14},
    "oulad_vle": {"step_days": 28, "n_train_cutoffs": 6, "n_test_cutoffs": 22},
}
"""Days between cutoffs of each real log, and the most of them."""


def drifting_log(seed: int) -> pl.DataFrame:
    """Events of one world: user_id, event, time."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1500, 3000))
    arrival = rng.integers(-120, N_DAYS - 10, n)
    rate = rng.gamma(1.2, rng.uniform(0.1, 0.35), n)
    hazard = rng.gamma(1.0, 1 / rng.uniform(30, 150), n)
    level, leaving = _drift(rng, 0.03), _drift(rng, 0.06)
    alive, rows = np.ones(n, dtype=bool), []
    for day in range(-120, N_DAYS):
        k = max(day, 0)
        here = alive & (arrival <= day)
        if day >= 0:
            who = np.flatnonzero(
                here
                & ((rng.random(n) < 1 - np.exp(-rate * level[k])) | (arrival == day))
            )
            who = np.repeat(who, 1 + rng.poisson(0.7, len(who)))
            rows.append((who, k + rng.random(len(who))))
        alive &= ~(here & (rng.random(n) < 1 - np.exp(-hazard * leaving[k])))
    who, when = (np.concatenate(column) for column in zip(*rows, strict=True))
    names = np.array(["open", "search", "buy"])[
        rng.choice(3, len(who), p=[0.6, 0.3, 0.1])
    ]
    time = pl.Series(when * 86_400e6).cast(pl.Int64).cast(pl.Duration("us"))
    return pl.DataFrame(
        {"user_id": who.astype(str), "event": names, "time": START + time}
    )


def _drift(rng: np.random.Generator, walk: float) -> np.ndarray:
    """A factor per day: a random walk and a weekly rhythm.

    Every second world also has a jump, and every second one a season.
    """
    day = np.arange(N_DAYS)
    log = np.cumsum(rng.normal(0, rng.uniform(0, walk), N_DAYS))
    log += rng.integers(2) * rng.normal(0, 0.5) * (day >= rng.integers(60, N_DAYS))
    log += rng.uniform(0, 0.3) * np.sin(2 * np.pi * (day % 7) / 7)
    log += (
        rng.integers(2)
        * rng.uniform(0, 0.4)
        * np.sin(2 * np.pi * (day / rng.uniform(60, 365) + rng.random()))
    )
    return np.exp(log)


@dataclass(frozen=True)
class History:
    """Predictions and outcomes of consecutive test cutoffs, and all churn rates.

    ``distance_days``: from a cutoff to the end of its horizon.
    """

    predictions: pl.DataFrame
    rates: pl.DataFrame
    distance_days: int


def history(
    extract: Path, parts: dict[str, Any], folder: Path, n_now: int = 0
) -> History:
    """Every test cutoff, scored once with what was known by then.

    ``n_now``: score only that many of the newest cutoffs, and older ones whose outcome
    was known by then; 0 scores all of them.
    """
    settings = parse(
        {"extracts": [{"source": "table", "path": str(extract)}], **parts}, folder
    )
    # One bucket is quickest for small logs.
    replace(create_or_open(settings), n_buckets=1).commit()
    store = filled(settings)
    newest = Calendar.of(store).newest_mature()
    days = (settings.windows.horizon(newest)[1] - newest).days
    wanted = settings.backtest.n_test_cutoffs
    runs = (
        [(newest, n_now), (newest - timedelta(days=days), wanted - n_now)]
        if n_now
        else [(newest, wanted)]
    )
    parts = [chosen(tested(store, last, n).predictions) for last, n in runs]
    return History(pl.concat(parts), next_period.churn_rates(store, newest), days)


def cached(
    name: str,
    cache: Path,
    extract: Path,
    parts: dict[str, Any],
    folder: Path,
    n_now: int = 0,
) -> History:
    """A history from the cache, or made and put there."""
    files = [cache / f"{name}{end}.parquet" for end in ("", "-rates")]
    days = parts["windows"]["horizon_days"]
    if not all(file.exists() for file in files):
        made = history(extract, parts, folder, n_now)
        made.predictions.write_parquet(files[0])
        made.rates.write_parquet(files[1])
    return History(*(pl.read_parquet(file) for file in files), days)


def world(seed: int, cache: Path) -> History:
    """The history of a drifting world: its newest cutoff, and the past ones whose
    outcome was known by then.
    """
    backtest = {"step_days": 7, "n_train_cutoffs": 6, "n_test_cutoffs": N_PAST + 1}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "events.parquet"
        if not (cache / f"{seed}.parquet").exists():
            drifting_log(seed).write_parquet(file)
        return cached(
            str(seed),
            cache,
            file,
            {"windows": WINDOWS, "backtest": backtest},
            Path(folder),
            n_now=1,
        )


def implied(probability: np.ndarray) -> dict[str, float]:
    """Expected AUC and log loss of the probabilities if they are exactly right."""
    p = expit(np.sort(log_odds(probability)))
    below = (rankdata(p, "min") - 1).astype(int)
    upto = rankdata(p, "max").astype(int)
    stayed = np.concatenate([[0], np.cumsum(1 - p)])
    won = p @ (stayed[below] + stayed[upto]) / 2 - np.sum(p * (1 - p)) / 2
    pairs = p.sum() * (1 - p).sum() - np.sum(p * (1 - p))
    return {"auc": float(won / pairs), "log_loss": expected_log_loss(p, p)}


def judged(
    name: str, known: History, cutoff: date, n_past: int = N_PAST
) -> Iterator[dict[str, Any]]:
    """The forecast at ``cutoff`` beside the outcome, one row per figure.

    With it come the errors of three simpler forecasts: the mean over the past test
    cutoffs, of which there are at most ``n_past``, the newest of them, and what the
    probabilities imply.
    """
    mature = cutoff - timedelta(days=known.distance_days)
    past = known.predictions.filter(pl.col("cutoff") <= mature)
    past = past.filter(
        pl.col("cutoff").is_in(past["cutoff"].unique().sort().tail(n_past).implode())
    )
    now = known.predictions.filter(pl.col("cutoff") == cutoff)
    probability = now["probability"].to_numpy()
    rates = known.rates.filter(pl.col("cutoff") <= mature)
    stated = next_period.estimate(
        past, probability, rates, known.distance_days, random_state=0
    )
    before = (
        metrics.by_cutoff(past.with_columns(model=pl.lit("chosen")))
        .drop_nulls("cutoff")
        .sort("cutoff")
    )
    came = metrics.figures(now["churned"].to_numpy(), probability)
    for row in stated.iter_rows(named=True):
        actual, mean = came[row["figure"]], before[row["figure"]].mean()
        yield {
            "log": name,
            "cutoff": cutoff,
            **row,
            "actual": actual,
            "covered": row["low"] <= actual <= row["high"],
            "width": row["high"] - row["low"],
            "error": abs(row["estimate"] - actual),
            "error_mean": abs(mean - actual),
            "error_newest": abs(before[row["figure"]][-1] - actual),
            "error_implied": abs(implied(probability)[row["figure"]] - actual),
        }


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Mean errors and width per log and figure, and coverage with its 95 % interval."""
    groups = pl.DataFrame(rows).group_by("log", "figure", maintain_order=True)
    errors = pl.col("^error.*$").mean()
    done = groups.agg(
        pl.len().alias("n"), errors, pl.col("width").mean(), pl.col("covered").sum()
    )
    spans = [
        binomtest(k, n).proportion_ci(method="wilson")
        for k, n in done.select("covered", "n").iter_rows()
    ]
    low, high = [s.low for s in spans], [s.high for s in spans]
    return done.with_columns(
        pl.col("covered") / pl.col("n"),
        covered_low=pl.Series(low),
        covered_high=pl.Series(high),
    )


def worlds(seeds: range, cache: Path) -> Iterator[dict[str, Any]]:
    """One forecast per world, at its newest cutoff."""
    for seed in seeds:
        known = world(seed, cache)
        yield from judged("worlds", known, known.predictions["cutoff"].max())


def real(data: Path, cache: Path, n_past: int) -> Iterator[dict[str, Any]]:
    """A forecast at each cutoff of a real log with two past outcomes known by then."""
    for name, backtest in REAL_BACKTESTS.items():
        log = LOGS[name]
        parts = {
            "windows": log["windows"],
            "activity": log["activity"],
            "backtest": backtest,
        }
        with tempfile.TemporaryDirectory() as folder:
            known = cached(
                f"real-{name}",
                cache,
                (data / name / "events.parquet").resolve(),
                parts,
                Path(folder),
            )
        cutoffs = known.predictions["cutoff"].unique().sort()
        usable = [
            c
            for c in cutoffs
            if (cutoffs <= c - timedelta(days=known.distance_days)).sum() >= 2
        ]
        for cutoff in usable:
            yield from judged(name, known, cutoff, n_past)


def main() -> None:
    """Print one table."""
    command = parser(__doc__)
    command.add_argument("of", choices=["worlds", "real"])
    command.add_argument("--seeds", type=int, nargs=2, default=[2000, 2120])
    command.add_argument("--data", type=Path, default=DATA)
    command.add_argument("--cache", type=Path)
    command.add_argument("--past", type=int, default=N_PAST)
    given = command.parse_args()
    with tempfile.TemporaryDirectory() as folder, wide_tables():
        cache = given.cache or Path(folder)
        cache.mkdir(parents=True, exist_ok=True)
        if given.of == "worlds":
            rows = [*worlds(range(*given.seeds), cache)]
        else:
            rows = [*real(given.data, cache, given.past)]
        print(table(rows))


if __name__ == "__main__":
    main()
