"""Gates on simulated apps: false alarms, and the gates that catch planted faults.

python -m tests.benchmarks.gates [--apps 50]

``gates_nights.py`` plays weekly nights on real logs and on an app with campaigns.
"""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from churn.scoring import gates
from churn.settings import Settings, parse
from churn.simulate import appsflyer, markov
from churn.simulate.events import events
from churn.store.schemas import Files

from .common import parser

STUDY = parse({"extracts": [{"source": "table", "path": "x"}]}, Path())
DAY = pl.col("time").dt.date()


def app(
    n_users: int, n_days: int, seed: int, late: bool = False
) -> tuple[pl.DataFrame, date]:
    """The log of a simulated app, and the day after its last.

    Columns: user_id, platform, country, event, time, revenue, currency, known_date.
    With ``late`` half of the rows are known on the next day, a tenth three days later;
    without it known_date is null.
    """
    world = markov.markov(n_users, n_days, seed)
    rng = np.random.default_rng([seed, 3])
    people = pl.DataFrame(
        {
            "user": np.arange(n_users),
            "user_id": appsflyer.user_ids(n_users),
            "platform": np.where(rng.random(n_users) < 0.45, "ios", "android"),
            "country": np.where(rng.random(n_users) < 0.99, "DE", ""),
        }
    ).with_columns(pl.col("country").replace("", None))
    rows = events(world).join(people, on="user", maintain_order="left")
    currency = pl.when(pl.col("revenue").is_not_null()).then(pl.lit("USD"))
    lag = pl.Series(rng.choice([0, 1, 3], rows.height, p=[0.4, 0.5, 0.1]))
    known_date = DAY + pl.duration(days=pl.lit(lag)) if late else pl.lit(None, pl.Date)
    return rows.with_columns(
        currency=currency, known_date=known_date
    ), world.start + timedelta(days=n_days)


def counted(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Volume and tally of a log, as an ingest would count them."""
    rows = rows.with_columns(date=DAY, extract=pl.lit("x"))
    if "kind" not in rows.columns:
        rows = rows.with_columns(kind=pl.lit("in_app"))
    without = pl.col("user_id").is_null().sum().cast(pl.Int64)
    key = ["extract", "platform", "date", "known_date", "event", "kind"]
    volume = rows.group_by(key).agg(n=_n(), n_without_user=without)
    per_hour = rows.group_by(
        "extract", "date", pl.col("time").dt.hour().cast(pl.String).alias("value")
    ).agg(n=_n())
    columns = ["user_id", "platform", "country", "revenue", "currency"]
    filled = rows.group_by("extract", "date").agg(
        pl.col(columns).count().cast(pl.Int64)
    )
    per_column = filled.unpivot(
        columns, index=["extract", "date"], variable_name="value", value_name="n"
    )
    per_currency = (
        rows.drop_nulls("revenue")
        .group_by("extract", "date", pl.col("currency").alias("value"))
        .agg(n=_n())
    )
    equal = rows.filter(~pl.struct(rows.columns).is_first_distinct())
    per_copy = equal.group_by("extract", "date").agg(n=_n(), value=pl.lit("equal row"))
    measures = {
        "hour": per_hour,
        "copy": per_copy,
        "column": per_column.filter(pl.col("n") > 0),
        "currency": per_currency,
    }
    tally = pl.concat(
        part.select("extract", "date", pl.lit(measure).alias("measure"), "value", "n")
        for measure, part in measures.items()
    )
    return volume, tally


def _n() -> pl.Expr:
    return pl.len().cast(pl.Int64)


def failed(
    rows: pl.DataFrame, cutoff: date, settings: Settings = STUDY
) -> dict[str, str]:
    """The gates that fail at a cutoff, each with its sentence."""
    findings = gates.data(*counted(rows), Files.create_empty(), settings, cutoff)
    return {f["gate"]: f["sentence"] for f in findings if not f["passed"]}


def _set(rows: pl.DataFrame, condition: pl.Expr, **values: pl.Expr) -> pl.DataFrame:
    return rows.with_columns(
        **{k: pl.when(condition).then(v).otherwise(k) for k, v in values.items()}
    )


def faults(
    rows: pl.DataFrame, day: date, cutoff: date
) -> dict[tuple[str, str], pl.DataFrame]:
    """Logs with one fault each, by the fault and the gate that must catch it.

    The fault is on ``day``, from ``day`` on, or in the last days before the cutoff.
    """
    on, last = day == DAY, cutoff - timedelta(days=1) == DAY
    ahead, empty = pl.col("time") + timedelta(hours=8), pl.lit(None, pl.String)
    behind = pl.col("time") - timedelta(hours=8)
    return {
        ("a day removed", "missing_day"): rows.filter(~on),
        ("half a day removed", "missing_day"): rows.filter(
            ~(on & (pl.col("time").dt.hour() >= 13))
        ),
        ("a platform lost for a day", "missing_day"): rows.filter(
            ~(on & (pl.col("platform") == "ios"))
        ),
        ("a day doubled", "excess_day"): pl.concat([rows, rows.filter(on)]),
        ("an event renamed on the last day", "vanished_event"): _set(
            rows, last & (pl.col("event") == "af_login"), event=pl.lit("login_v2")
        ),
        ("a clock 8 hours ahead for a day", "clock_shift"): _set(rows, on, time=ahead),
        ("a clock 8 hours ahead from a day on", "clock_shift"): _set(
            rows, day <= DAY, time=ahead
        ),
        ("a clock 8 hours behind for a day", "clock_shift"): _set(
            rows, on, time=behind
        ),
        ("a clock 8 hours behind from a day on", "clock_shift"): _set(
            rows, day <= DAY, time=behind
        ),
        ("no user ids in the last week", "unknown_users"): _set(
            rows, cutoff - timedelta(days=7) <= DAY, user_id=empty
        ),
        ("a column lost on the last day", "schema_change"): _set(
            rows, last, country=empty
        ),
    }


def false_alarms(n_apps: int, n_users: int, late: bool = False) -> Counter[str]:
    """Number of clean apps that fail each gate; each app has 120 days, 28 checked."""
    return Counter(
        gate
        for seed in range(n_apps)
        for gate in failed(*app(n_users, 120, seed, late))
    )


def main() -> None:
    """Print the false alarms, then the gates that fail with each fault."""
    command = parser(__doc__)
    command.add_argument("--apps", type=int, default=50)
    n_apps = command.parse_args().apps
    for n_users, late in ((2000, False), (2000, True), (500, False), (500, True)):
        alarms = false_alarms(n_apps, n_users, late)
        lateness = ", most rows known late" if late else ""
        which = f"{n_apps} clean apps of {n_users:,} users{lateness}"
        print(f"{which}: {alarms.total()} false alarms {dict(alarms) or ''}")
    rows, cutoff = app(5000, 240, seed=0)
    print(f"\n{'fault':38}{'gate due':16}{'caught':8}gates that fail")
    for (fault, due), faulty in faults(
        rows, cutoff - timedelta(days=10), cutoff
    ).items():
        gates_failed = failed(faulty, cutoff)
        caught = "yes" if due in gates_failed else "NO"
        names = ", ".join(gates_failed) or "none"
        print(f"{fault:38}{due:16}{caught:8}{names}")


if __name__ == "__main__":
    main()
