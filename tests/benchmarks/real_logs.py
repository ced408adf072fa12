"""Real event logs, trained at stated cutoffs and scored once: the chosen model beside simple references.

    python tests/benchmarks/real_logs.py [--data ../shared/data]

References on the same cutoffs are a logistic regression on recency, frequency and revenue, and one on recency alone, as
measured before this project existed.
"""

import argparse
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from churn import evaluate, events, labels, metrics, model, snapshots, store
from churn.study import parse

LOGS: dict[str, dict[str, Any]] = {
    "oulad_vle": {
        "windows": {"horizon_days": 30, "eligible_days": 30},
        "activity": {},
        "train": ["2013-04-01", "2013-05-01", "2013-06-01", "2013-07-01"],
        "test": "2013-12-15",
        "reference": (0.819, 0.312, 0.800, 0.275),
    },
    "online_retail_ii": {
        "windows": {"horizon_days": 90, "eligible_days": 90, "observation_days": 365},
        "activity": {"currency": "GBP"},
        "train": ["2010-06-01", "2010-09-01", "2010-12-01", "2011-03-01", "2011-06-01"],
        "test": "2011-09-01",
        "reference": (0.758, 0.535, 0.607, 0.648),
    },
    "collegemsg": {
        "windows": {"horizon_days": 14, "eligible_days": 30},
        "activity": {"counts_as_active": ["message_sent"]},
        "train": ["2004-05-15", "2004-05-22", "2004-05-29"],
        "test": "2004-06-15",
        "reference": (0.824, 0.760, 0.781, 0.657),
    },
}


def one(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """Figures of one log."""
    log = LOGS[name]
    extract = {"source": "table", "path": str((data / name / "events.parquet").resolve())}
    study = parse({"extracts": [extract], "windows": log["windows"], "activity": log["activity"]}, folder)
    events.ingest(study, progress=False)
    target = store.open_filled(study)
    cutoffs = [date.fromisoformat(c) for c in log["train"]]
    test = date.fromisoformat(log["test"])
    fitted, _ = evaluate.train(target, study, cutoffs)
    past = snapshots.build(target, study, cutoffs, fitted.plan, labels.horizon(max(cutoffs), study.windows)[1])
    recency = model.fit(past, "recency", fitted.plan, study)
    judged = snapshots.build(target, study, [test], fitted.plan)
    ours, simple = (metrics.figures(model.target(judged), model.predict(m, judged)) for m in (fitted, recency))
    ref = log["reference"]
    return {
        "log": name,
        "n": judged.height,
        "churn_rate": ours["churn_rate"],
        "candidate": fitted.candidate,
        "auc": ours["auc"],
        "log_loss": ours["log_loss"],
        "rfm_auc": ref[0],
        "rfm_log_loss": ref[1],
        "recency_auc": simple["auc"],
        "recency_log_loss": simple["log_loss"],
    }


def main() -> None:
    """Print one row per log."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared/data")
    data = parser.parse_args().data
    with tempfile.TemporaryDirectory() as folder:
        rows = [one(name, data, Path(folder) / name) for name in LOGS]
    with pl.Config(tbl_cols=20, tbl_width_chars=200, tbl_hide_dataframe_shape=True, float_precision=3):
        print(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
