"""Our default beside what a user might pick instead, on real logs and on worlds whose
true probabilities are known.

    python -m tests.benchmarks.quality [--logs oulad_vle online_retail_ii collegemsg]
    [--work /tmp/quality] python -m tests.benchmarks.quality --worlds markov:0 bgnbd:0
    random:2000 [--users 30000] [--days 240] python -m tests.benchmarks.quality --curve
    500 1000 2000 5000 10000 30000 100000 python -m tests.benchmarks.quality --timing

Ours is ``evaluate.backtest``'s chosen model with everything at its default; every peer
(peers.py) learns from the same rows and predicts the same. ``--work`` keeps what peers
predicted, by what they were fed, so that they run again only when that changed; ours
always runs. peer_featuretools.py, in an environment of its own, leaves its predictions
there too. churnkit, the other end-to-end peer thought of, is not in the table: its pins
could not be resolved.
"""

import argparse
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tqdm.auto import tqdm

from churn.evaluation import backtest
from churn.events import ingest
from churn.features import snapshots
from churn.features.cutoffs import Calendar
from churn.model import fitting, training
from churn.settings import Settings, load
from churn.simulate import extracts
from churn.stats import probability as probability_
from churn.store import Store, open_filled

from . import peers, real_logs
from .peers import Task
from .quality_figures import OURS, table, verdicts

SEED = 0
END_TO_END = "featuretools, LightGBM"


def filled(settings: Settings) -> Store:
    """The study's store with its extracts ingested; a second time adds nothing."""
    ingest.ingest(settings, progress=False)
    return open_filled(settings)


def tasks(store: Store, tests: Sequence[date]) -> Iterator[Task]:
    """What each test cutoff learns from and is judged on."""
    for test in tests:
        trains = training.training_cutoffs(store, as_of=test)
        plan = snapshots.plan(store, max(trains))
        past = snapshots.build(store, trains, plan, test).drop_nulls("churned")
        yield Task(
            test,
            past,
            snapshots.build(store, [test], plan).drop_nulls("churned"),
            plan,
        )


def ours(store: Store, tests: Sequence[date]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions of the chosen model at each test cutoff alone, and how it was
    chosen.
    """
    alone = store.settings.model_copy(
        update={
            "backtest": store.settings.backtest.model_copy(update={"n_test_cutoffs": 1})
        }
    )
    done = [
        backtest.backtest(store.under(alone), newest=test, progress=False)
        for test in tests
    ]
    chosen = pl.concat(
        [d.predictions.filter(pl.col("model") == "chosen") for d in done]
    )
    return chosen.with_columns(model=pl.lit(OURS)), pl.concat(
        [d.choices for d in done], how="diagonal_relaxed"
    )


def of_peers(store: Store, task: Task, cache: Path, fed: Sequence[str]) -> pl.DataFrame:
    """Predictions of all peers at one test cutoff; ``fed``: on which features."""
    y = fitting.target(task.past)
    found = {
        name: kept(
            cache,
            name,
            task.cutoff,
            (x, y, judged),
            lambda k=kind, x=x, j=judged: fitted(k, x, y, j),
        )
        for name, (kind, x, judged) in peers.matrices(task, fed).items()
    }
    seen = peers.history(store, task.cutoff)
    found |= peers.parametric(task, seen, store.settings)
    return pl.concat([_column(task, name, p) for name, p in found.items()])


def fitted(
    kind: str, past: np.ndarray, churned: np.ndarray, judged: np.ndarray
) -> np.ndarray:
    """Predictions of one peer. Columns without any value are left out:
    HistGradientBoosting refuses them.
    """
    some = ~np.isnan(past).all(axis=0)
    return np.asarray(
        peers.MODELS[kind](SEED)
        .fit(past[:, some], churned)
        .predict_proba(judged[:, some])[:, 1]
    )


def kept(
    cache: Path, name: str, cutoff: date, fed: Sequence[np.ndarray], run: Any
) -> np.ndarray:
    """What ``run`` gives, read from the cache where the same was fed before."""
    mark = digest([np.ascontiguousarray(part).tobytes() for part in fed])
    file = cache / f"{re.sub('[^A-Za-z]+', '_', name)}-{cutoff}-{mark}.parquet"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"probability": run()}).write_parquet(file)
    return pl.read_parquet(file)["probability"].to_numpy()


def digest(parts: Sequence[bytes]) -> str:
    """A short name of what was fed."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _column(task: Task, name: str, probability: np.ndarray) -> pl.DataFrame:
    key = task.judged.select("user_id", "cutoff", "churned")
    return key.with_columns(
        pl.lit(name).alias("model"), pl.Series("probability", probability)
    )


def end_to_end(folder: Path, task: Task, settings: Settings) -> list[pl.DataFrame]:
    """Leave the task for peer_featuretools.py; its predictions, if it has made them for
    these rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = {
        "events": settings.extracts[0].path,
        "observation_days": settings.windows.observation_days,
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    rows = [
        part.select("user_id", "cutoff", "churned") for part in (task.past, task.judged)
    ]
    asked = pl.concat(
        [
            r.with_columns(judged=pl.lit(j))
            for r, j in zip(rows, (False, True), strict=True)
        ]
    )
    name = f"{task.cutoff}-{digest([asked.write_csv().encode()])}.parquet"
    asked.write_parquet(folder / f"task-{name}")
    file = folder / f"done-{name}"
    if not file.exists():
        return []
    found = rows[1].join(
        pl.read_parquet(file),
        on=["user_id", "cutoff"],
        how="left",
        maintain_order="left",
    )
    return (
        []
        if found["probability"].null_count()
        else [_column(task, END_TO_END, found["probability"].to_numpy())]
    )


def judged(
    store: Store, tests: Sequence[date], folder: Path, fed: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A row per user and test cutoff, a column per model, ours first; and how ours was
    chosen.
    """
    mine, choices = ours(store, tests)
    parts = [mine]
    for task in tqdm(tasks(store, tests), folder.name, len(tests)):
        parts += [of_peers(store, task, folder / "peers", fed)]
        if folder.name in real_logs.LOGS:
            parts += end_to_end(folder / "featuretools", task, store.settings)
    together = pl.concat(
        [
            p.select("user_id", "cutoff", "churned", "model", "probability")
            for p in parts
        ]
    )
    wide = together.pivot(
        "model", index=["user_id", "cutoff", "churned"], values="probability"
    )
    complete = [name for name in wide.columns if not wide[name].null_count()]
    assert complete[3] == OURS, "ours predicted other rows than the peers"
    return wide.select(complete), choices


def real(name: str, data: Path, work: Path, fed: Sequence[str]) -> None:
    """Table and verdicts of one log."""
    settings = real_logs.study(name, data, work / name)
    target, tests = filled(settings), real_logs.cutoffs(name)
    wide, choices = judged(target, settings, tests, work / name, fed)
    wide.write_parquet(work / name / "predictions.parquet")
    figures = table(wide)
    users, rate = wide["user_id"].n_unique(), wide["churned"].mean()
    print(
        f"\n## {name}: {wide.height} rows of {users} users, {len(tests)} test cutoffs, churn rate {rate:.3f}"
    )
    print(choices.select(pl.selectors.exclude(pl.List, pl.Struct)))
    show(figures, work / name / "table.csv")
    print("\n".join(verdicts(figures)), flush=True)


def written(kind: str, n_users: int, n_days: int, seed: int, folder: Path) -> Settings:
    """Write the world there; its study."""
    extracts.write(extracts.WORLDS[kind](n_users, n_days, seed), folder, "table")
    return load(folder / "churn.toml")


def skills(wide: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Ceiling skill of every model: model, skill."""
    both = wide.join(truth, on=["user_id", "cutoff"])
    true = both["truth"].to_numpy()
    names = wide.columns[3:]
    return pl.DataFrame(
        {
            "model": names,
            "skill": [
                probability_.ceiling_skill(both[n].to_numpy(), true) for n in names
            ],
        }
    )


def reachable(store: Store, task: Task, truth: pl.DataFrame) -> float:
    """Ceiling skill when the same rows are learned with their true probabilities: all
    that the features carry.
    """
    names = peers.inputs(task.plan)["ours"]
    past, now = (
        part.join(truth, on=["user_id", "cutoff"]) for part in (task.past, task.judged)
    )
    p = peers.soft(
        fitting.matrix(past, names),
        past["truth"].to_numpy(),
        fitting.matrix(now, names),
        SEED,
    )
    return probability_.ceiling_skill(p, now["truth"].to_numpy())


def simulated(
    kind: str, seed: int, n_users: int, n_days: int, work: Path, fed: Sequence[str]
) -> dict[str, Any]:
    """Table of one world at its newest mature cutoff; returns ours and what the
    features could reach.

    ``fed``: the features that peers get, none for ours alone.
    """
    with tempfile.TemporaryDirectory() as home:
        settings = written(kind, n_users, n_days, seed, Path(home))
        store = filled(settings)
        truth = pl.read_parquet(Path(home) / "truth.parquet").rename(
            {"probability": "truth"}
        )
        newest = Calendar.of(store).newest_mature()
        if not fed:
            mine, _ = ours(store, [newest])
            skill = skills(
                mine.select("user_id", "cutoff", "churned", ours="probability"), truth
            )["skill"][0]
            return {
                "world": f"{kind}:{seed}",
                "users": n_users,
                "rows": mine.height,
                "skill": skill,
            }
        wide, _ = judged(store, [newest], work / f"{kind}-{seed}-{n_users}", fed)
        limit = reachable(store, next(tasks(store, [newest])), truth)
    figures = table(wide).join(skills(wide, truth), on="model", maintain_order="left")
    print(
        f"\n## {kind}:{seed}: {wide.height} of {n_users} users, churn rate {wide['churned'].mean():.3f}"
    )
    show(figures, work / f"{kind}-{seed}-{n_users}" / "table.csv")
    mine = figures["skill"][0]
    parts = {
        "skill": mine,
        "features_reach": limit,
        "finite_sample": limit - mine,
        "features": 1 - limit,
    }
    return {"world": f"{kind}:{seed}", "users": n_users, "rows": wide.height, **parts}


def curve(sizes: Sequence[int], n_days: int, work: Path) -> pl.DataFrame:
    """Ceiling skill on Markov worlds by number of users; small worlds are averaged over
    up to ten seeds.
    """
    rows = []
    for n_users in sizes:
        seeds = range(max(1, min(10, 20_000 // n_users)))
        rows += [
            simulated("markov", seed, n_users, n_days, work, fed=()) for seed in seeds
        ]
    spread = [
        pl.col("skill").min().alias("lowest"),
        pl.col("skill").max().alias("highest"),
    ]
    return pl.DataFrame(rows).group_by("users", maintain_order=True).agg(
        pl.len().alias("worlds"), pl.col("rows").mean(), pl.col("skill").mean(), *spread
    )  # fmt: skip


def timing(n_users: int, n_days: int) -> pl.DataFrame:
    """Seconds per million user-cutoffs to choose and fit, and to score, on one matrix:
    ours beside LightGBM.
    """
    with tempfile.TemporaryDirectory() as home:
        settings = written("markov", n_users, n_days, SEED, Path(home))
        store = filled(settings)
        task = next(tasks(store, [Calendar.of(store).end]))
        now = snapshots.observe(store.under(settings), [task.cutoff], task.plan)
    names = peers.inputs(task.plan)["ours"]

    def timed(rows: int, run: Any) -> tuple[Any, float]:
        started = time.perf_counter()
        return run(), (time.perf_counter() - started) * 1e6 / rows

    learned, train = timed(
        task.past.height, lambda: training.learn(task.past, task.plan, settings)
    )
    x, y = fitting.matrix(task.past, names), fitting.target(task.past)
    booster, fit = timed(len(y), lambda: peers.lightgbm(SEED).fit(x, y))
    _, score = timed(now.height, lambda: fitting.predict(learned.model, now))
    _, predict = timed(
        now.height, lambda: booster.predict_proba(fitting.matrix(now, names))
    )
    rows = [
        ("ours", train, score),
        ("LightGBM", fit, predict),
        ("ratio", train / fit, score / predict),
    ]
    return pl.DataFrame(
        rows,
        schema=["what", "train_s_per_million", "score_s_per_million"],
        orient="row",
    )


def show(frame: pl.DataFrame, file: Path) -> None:
    """Print, and keep for reports."""
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.write_csv(file)
    print(frame, flush=True)


def main() -> None:
    """Print what was asked for; without an option, the real logs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=real_logs.DATA)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "quality"
    )
    parser.add_argument(
        "--logs", nargs="*", default=list(real_logs.LOGS), choices=list(real_logs.LOGS)
    )
    parser.add_argument("--worlds", nargs="+", default=[], metavar="KIND:SEED")
    parser.add_argument(
        "--features",
        nargs="*",
        default=["RFM", "ours"],
        help="what peers get; worlds: none, no peers",
    )
    parser.add_argument("--users", type=int, default=30_000)
    parser.add_argument("--days", type=int, default=240)
    parser.add_argument("--curve", type=int, nargs="+", default=[], metavar="USERS")
    parser.add_argument("--timing", action="store_true")
    given = parser.parse_args()
    with pl.Config(tbl_cols=30, tbl_rows=60, tbl_width_chars=250, tbl_hide_dataframe_shape=True, float_precision=4,
                   tbl_hide_column_data_types=True, fmt_str_lengths=40):  # fmt: skip
        if given.worlds:
            named = [part.split(":") for part in given.worlds]
            sizes = (given.users, given.days, given.work, given.features)
            show(
                pl.DataFrame(
                    [simulated(kind, int(seed), *sizes) for kind, seed in named]
                ),
                given.work / "worlds.csv",
            )
        if given.curve:
            show(curve(given.curve, given.days, given.work), given.work / "curve.csv")
        if given.timing:
            show(timing(given.users, given.days), given.work / "timing.csv")
        if not (given.worlds or given.curve or given.timing):
            for name in given.logs:
                real(name, given.data, given.work, given.features)


if __name__ == "__main__":
    main()
