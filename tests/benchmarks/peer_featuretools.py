"""An end-to-end peer: featuretools makes features from the raw events, LightGBM with
its defaults learns from them.

    uv venv peers && uv pip install -p peers featuretools lightgbm "pandas<3" pyarrow
    peers/bin/python tests/benchmarks/peer_featuretools.py WORK/oulad_vle/featuretools

It runs in an environment of its own (featuretools 1.31 does not work with pandas 3) and
shares no code with the package. quality.py leaves the folder: a task file per test
cutoff holds the rows to learn from and to predict, and plan.json says where the events
are and how long the observation window is. Predictions go back there.

Features: deep feature synthesis at each row's own cutoff, which is excluded, over the
observation window. To the default aggregations come the times since the first and last
event and between events, without which nothing would tell how long a user has been
silent. Counts and times since the last event are also made for each of the twelve
commonest event names. Rows of one user, instant and event are summed beforehand, as
those of oulad_vle have a day's resolution.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

NUMBERS = ["revenue", "sum_click", "quantity", "n_lines", "n_products"]
DEFAULTS = [
    "sum",
    "std",
    "max",
    "skew",
    "min",
    "mean",
    "count",
    "percent_true",
    "num_unique",
    "mode",
]
SILENCE = ["time_since_last", "time_since_first", "avg_time_between"]
N_NAMES = 12


def events(path: str) -> Any:
    """One row per user, instant and event: the sums of its numbers, and the number of
    rows that were summed.
    """
    import pandas as pd

    read = pd.read_parquet(path)
    numbers = [name for name in NUMBERS if name in read and read[name].notna().any()]
    keys = ["user_id", "time", "event"]
    rows = (
        read.assign(rows=1.0)
        .groupby(keys, observed=True)[["rows", *numbers]]
        .sum()
        .reset_index()
    )
    rows["time"] = rows["time"].dt.tz_localize(None).astype("datetime64[ns]")
    return rows.assign(event_id=range(len(rows)))


def entities(rows: Any) -> Any:
    """Events and their users."""
    import featuretools as ft

    kinds = {"event": "Categorical", "user_id": "Categorical"}
    made = ft.EntitySet("log")
    made.add_dataframe(
        dataframe_name="events",
        dataframe=rows,
        index="event_id",
        time_index="time",
        logical_types=kinds,
    )
    made.normalize_dataframe("events", "users", index="user_id")
    common = rows["event"].value_counts().head(N_NAMES).index.tolist()
    made.add_interesting_values(dataframe_name="events", values={"event": common})
    made.add_last_time_indexes()
    return made


def synthesise(made: Any, asked: Any, days: int) -> Any:
    """One row of features per user and cutoff in ``asked``."""
    import featuretools as ft

    found, _ = ft.dfs(
        entityset=made,
        target_dataframe_name="users",
        cutoff_time=asked.rename(columns={"cutoff": "time"}),
        training_window=f"{days} days",
        include_cutoff_time=False,
        agg_primitives=DEFAULTS + SILENCE,
        where_primitives=["count", "time_since_last"],
        cutoff_time_in_index=True,
    )
    found = found.reset_index().rename(columns={"time": "cutoff"})
    names = [name for name in found if name not in ("user_id", "cutoff")]
    # LightGBM takes no brackets in names.
    found.columns = [
        f"f{names.index(name)}" if name in names else name for name in found
    ]
    return found


def predict(task: Any, features: Any) -> Any:
    """The test rows of a task with their probability."""
    from lightgbm import LGBMClassifier

    rows = task.merge(features, on=["user_id", "cutoff"], how="left")
    names = [name for name in features if name not in ("user_id", "cutoff")]
    past, now = rows[~rows["is_test"]], rows[rows["is_test"]]
    learner = LGBMClassifier(random_state=0, n_jobs=1, verbose=-1).fit(
        past[names], past["churned"].astype(int)
    )
    return now[["user_id", "cutoff"]].assign(
        probability=learner.predict_proba(now[names])[:, 1]
    )


def main() -> None:
    """Predict every task in the folder that has no predictions yet."""
    import pandas as pd

    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    plan = json.loads((folder / "plan.json").read_text())
    files = {
        file: file.with_name(file.name.replace("task-", "done-"))
        for file in sorted(folder.glob("task-*.parquet"))
    }
    tasks = {
        done: pd.read_parquet(task) for task, done in files.items() if not done.exists()
    }
    for task in tasks.values():
        task["cutoff"] = pd.to_datetime(task["cutoff"]).astype("datetime64[ns]")
    asked = pd.concat(tasks.values())[["user_id", "cutoff"]].drop_duplicates()
    features = synthesise(
        entities(events(plan["events"])), asked, plan["observation_days"]
    )
    for file, task in tasks.items():
        found = predict(task, features)
        found.assign(cutoff=found["cutoff"].dt.date).to_parquet(file, index=False)
        print(file.stem, len(found), flush=True)


if __name__ == "__main__":
    main()
