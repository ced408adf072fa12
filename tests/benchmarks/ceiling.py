"""Ceiling skill of the default model on the Markov world: how much of what could be known it knows.

    python tests/benchmarks/ceiling.py [--users 30000] [--days 240] [--seeds 0 1 2]

Everything is chosen and fitted from what was known by the newest mature cutoff, which is then scored once. Log losses
are in expectation under the true probabilities, so they carry no noise of the outcomes.
"""

import argparse
import tempfile
import time
from pathlib import Path

import polars as pl

from churn import evaluate, events, metrics, simulate, simulate_exports, store
from churn.study import load


def one(n_users: int, n_days: int, seed: int, folder: Path) -> dict[str, object]:
    """Figures of one world."""
    simulate_exports.write(simulate.markov(n_users, n_days, seed), folder, "table")
    file = folder / "churn.toml"
    file.write_text(file.read_text() + "\n[backtest]\nn_test_cutoffs = 1\n")
    study = load(file)
    started = time.perf_counter()
    n_events = events.ingest(study, progress=False).n_added
    ingested = time.perf_counter()
    tested = evaluate.backtest(store.open_filled(study), study, progress=False)
    seconds = {"ingest_s": ingested - started, "backtest_s": time.perf_counter() - ingested}
    truth = pl.read_parquet(folder / "truth.parquet").rename({"probability": "truth"})
    both = tested.predictions.join(truth, on=["user_id", "cutoff"])
    known = {m: both.filter(pl.col("model") == m) for m in ("chosen", "recency")}
    skill = {
        f"skill_{m}": metrics.ceiling_skill(f["probability"].to_numpy(), f["truth"].to_numpy())
        for m, f in known.items()
    }
    candidate = tested.choices["candidate"][0]
    return {
        "seed": seed,
        "events": n_events,
        "users": known["chosen"].height,
        "candidate": candidate,
        **skill,
        **seconds,
    }


def main() -> None:
    """Print one row per seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--users", type=int, default=30_000)
    parser.add_argument("--days", type=int, default=240)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    rows = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(one(given.users, given.days, seed, Path(folder)))
    with pl.Config(tbl_cols=20, tbl_hide_dataframe_shape=True, float_precision=3):
        print(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
