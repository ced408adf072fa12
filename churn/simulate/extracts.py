"""A simulated world's events as files: AppsFlyer reports as the Pull API gives them, or
one table.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from tqdm.auto import tqdm

from churn.errors import InputError
from churn.settings import Windows
from churn.simulate import random_worlds
from churn.simulate.bgnbd import bgnbd
from churn.simulate.markov import markov
from churn.simulate.world import LAST_SECOND, World, truth

# The default columns of AppsFlyer's raw-data reports, in their order.
HEADER = """
Attributed Touch Type,Attributed Touch Time,Install Time,Event Time,Event Name,Event Value,
Event Revenue,Event Revenue Currency,Event Revenue USD,Event Source,Is Receipt Validated,Partner,
Media Source,Channel,Keywords,Campaign,Campaign ID,Adset,Adset ID,Ad,Ad ID,Ad Type,Site ID,
Sub Site ID,Sub Param 1,Sub Param 2,Sub Param 3,Sub Param 4,Sub Param 5,Cost Model,Cost Value,
Cost Currency,Contributor 1 Partner,Contributor 1 Media Source,Contributor 1 Campaign,
Contributor 1 Touch Type,Contributor 1 Touch Time,Contributor 2 Partner,Contributor 2 Media Source,
Contributor 2 Campaign,Contributor 2 Touch Type,Contributor 2 Touch Time,Contributor 3 Partner,
Contributor 3 Media Source,Contributor 3 Campaign,Contributor 3 Touch Type,Contributor 3 Touch Time,
Region,Country Code,State,City,Postal Code,DMA,IP,WIFI,Operator,Carrier,Language,AppsFlyer ID,
Advertising ID,IDFA,Android ID,Customer User ID,IMEI,IDFV,Platform,Device Type,OS Version,
App Version,SDK Version,App ID,App Name,Bundle ID,Is Retargeting,Retargeting Conversion Type,
Attribution Lookback,Reengagement Window,Is Primary Attribution,User Agent,HTTP Referrer,Original URL
""".replace("\n", "").split(",")
PRICES = np.array([0.99, 2.99, 4.99, 9.99, 19.99])
REPORTS = {
    "in_app": "in_app_events_report",
    "install": "installs_report",
    "uninstall": "uninstall_events_report",
}


# By the names the command line gives them: (n_users, n_days, seed) → a world.
WORLDS: dict[str, Callable[[int, int, int], World]] = {
    "markov": markov,
    "bgnbd": bgnbd,
    "random": random_worlds.world,
}


def write(
    world: World,
    out: Path,
    source: str,
    windows: Windows | None = None,
    progress: bool = False,
) -> dict[str, int]:
    """Write OUT/raw (the export), OUT/truth.parquet and OUT/churn.toml; returns how
    many users, events and files.

    Raises InputError if OUT already holds a raw folder: extracts are never overwritten.
    """
    windows = windows or Windows()
    raw = out / "raw"
    if raw.exists():
        raise InputError(f"{raw} exists already; choose another folder or remove it")
    raw.mkdir(parents=True)
    rows = events(world)
    n_files = {"appsflyer": write_appsflyer, "table": write_table}[source](
        world, rows, raw, progress
    )
    ids = pl.DataFrame(
        {"user": np.arange(world.n_users), "user_id": user_ids(world.n_users)}
    )
    known = truth(world, windows, progress).join(ids, on="user", maintain_order="left")
    known.select("user_id", "cutoff", "probability").write_parquet(
        out / "truth.parquet"
    )
    (out / "churn.toml").write_text(_study(source, windows), encoding="utf-8")
    return {
        "users": world.n_users,
        "events": rows.filter(report="in_app").height,
        "files": n_files,
    }


def user_ids(n_users: int) -> list[str]:
    """The customer's own ids, one per user."""
    return [f"cust-{100_000 + i}" for i in range(n_users)]


def _study(source: str, windows: Windows) -> str:
    days = "\n".join(
        f"{name} = {value}" for name, value in windows.model_dump().items()
    )
    return f"""# Study of a simulated app; truth.parquet beside it holds the true churn probabilities.
store = "store"
reports = "reports"

[[extracts]]
source = "{source}"
path = "raw"
settling_days = 0

[windows]
{days}

[braze]
ledger = "sqlite:///store/ledger.db"
"""


def events(world: World) -> pl.DataFrame:
    """Every row of the log, sorted by time: user (index), report, event, time, revenue,
    installed_at.

    No two rows of a user share a second, since vendors' rows have no id and equal ones
    would count as copies.
    """
    rng = np.random.default_rng([world.seed, 1])
    install_second, in_app = world.moments(rng)
    rows = pl.concat(
        [
            _in_app(world, rng, in_app),
            _installs(world, install_second),
            _uninstalls(world, rng),
        ]
    )
    midnight = datetime.combine(world.start, datetime.min.time(), UTC)
    seconds = pl.duration(seconds=pl.col("day") * 86_400 + pl.col("second"))
    installed = pl.DataFrame(
        {"user": np.arange(world.n_users), "i": world.arrival * 86_400 + install_second}
    )
    timed = rows.join(installed, on="user").with_columns(
        time=pl.lit(midnight) + seconds,
        installed_at=pl.lit(midnight) + pl.duration(seconds=pl.col("i")),
    )
    return timed.drop("day", "second", "i").sort("time", "user", "event")


def _in_app(
    world: World, rng: np.random.Generator, moments: pl.DataFrame
) -> pl.DataFrame:
    names = pl.Series(world.names)
    frame = moments.with_columns(
        pl.Series("revenue", rng.choice(PRICES, moments.height)),
        event=names.gather(moments["name"]),
    ).sort("user", "day", "second", "name", maintain_order=True)
    # Push a user's events of one second apart: the running maximum of (second −
    # position), plus position.
    position = pl.int_range(pl.len())
    apart = ((pl.col("second") - position).cum_max() + position).over("user", "day")
    bought = pl.when(pl.col("event") == "af_purchase").then("revenue")
    return _rows(frame.with_columns(second=apart, revenue=bought), "in_app")


def _installs(world: World, install_second: np.ndarray) -> pl.DataFrame:
    columns = {
        "user": np.arange(world.n_users),
        "day": world.arrival,
        "second": install_second,
    }
    return _rows(pl.DataFrame(columns).with_columns(event=pl.lit("install")), "install")


def _uninstalls(world: World, rng: np.random.Generator) -> pl.DataFrame:
    who = np.flatnonzero(world.uninstall >= 0)
    columns = {
        "user": who,
        "day": world.uninstall[who],
        "second": rng.integers(0, LAST_SECOND, len(who)),
    }
    return _rows(
        pl.DataFrame(columns).with_columns(event=pl.lit("af_uninstall")), "uninstall"
    )


def _rows(frame: pl.DataFrame, report: str) -> pl.DataFrame:
    if "revenue" not in frame.columns:
        frame = frame.with_columns(revenue=pl.lit(None, pl.Float64))
    typed = frame.with_columns(
        pl.col("user", "day", "second").cast(pl.Int64), report=pl.lit(report)
    )
    return typed.select("user", "day", "second", "report", "event", "revenue")


def write_table(
    world: World, rows: pl.DataFrame, folder: Path, progress: bool = False
) -> int:
    """One events.parquet: user_id, event, time, revenue; installs and uninstalls by
    those names.
    """
    names = pl.col("event").replace({"af_uninstall": "uninstall"})
    known = rows.join(
        _people(world).select("user", "user_id"), on="user", maintain_order="left"
    )
    known.select("user_id", names, "time", "revenue").write_parquet(
        folder / "events.parquet"
    )
    return 1


def write_appsflyer(
    world: World, rows: pl.DataFrame, folder: Path, progress: bool = False
) -> int:
    """Weekly files of three reports with all 81 columns; returns how many."""
    known = rows.join(_people(world), on="user", maintain_order="left")
    week = (pl.col("time").dt.date() - pl.lit(world.start)).dt.total_days() // 7
    parts = known.with_columns(week=week).partition_by(
        "report", "week", maintain_order=True, as_dict=True
    )
    for (report, number), part in tqdm(
        parts.items(), "writing", disable=not progress, leave=False
    ):
        first = world.start + timedelta(days=7 * int(str(number)))
        last = min(
            first + timedelta(days=6), world.start + timedelta(days=world.n_days - 1)
        )
        _report(part).write_csv(folder / f"{REPORTS[str(report)]}_{first}_{last}.csv")
    return len(parts)


def _people(world: World) -> pl.DataFrame:
    rng = np.random.default_rng([world.seed, 2])
    n = world.n_users
    ios = rng.random(n) < 0.45
    device = [
        f"{a:08X}-{b:04X}-4{c:03X}-A{d:03X}-{e:012X}"
        for a, b, c, d, e in _hex_parts(rng, n)
    ]
    installed_ms = 1_735_000_000_000 + rng.integers(0, 10**9, n)
    return pl.DataFrame(
        {
            "user": np.arange(n),
            "user_id": user_ids(n),
            "AppsFlyer ID": [
                f"{ms}-{r}"
                for ms, r in zip(
                    installed_ms, rng.integers(10**6, 10**7, n), strict=True
                )
            ],
            "IDFV": [d if i else None for d, i in zip(device, ios, strict=True)],
            "Advertising ID": [
                None if i else d.lower() for d, i in zip(device, ios, strict=True)
            ],
            "Platform": np.where(ios, "ios", "android"),
            "OS Version": np.where(ios, "18.2", "15"),
            "App ID": np.where(ios, "id1500000002", "com.example.meadow"),
            "Country Code": rng.choice(
                ["US", "DE", "FR", "BR", "IN", "NA"],
                n,
                p=[0.4, 0.2, 0.15, 0.12, 0.12, 0.01],
            ),
            "Media Source": rng.choice(
                ["organic", "example_network_int", "restricted"], n, p=[0.5, 0.4, 0.1]
            ),
        }
    )


def _hex_parts(rng: np.random.Generator, n: int) -> list[tuple[int, ...]]:
    bits = [32, 16, 12, 12, 48]
    return list(zip(*[rng.integers(0, 2**b, n).tolist() for b in bits], strict=True))


def _report(rows: pl.DataFrame) -> pl.DataFrame:
    has_revenue = pl.col("revenue").is_not_null()
    amount = pl.when(has_revenue).then(pl.col("revenue").round(2).cast(pl.String))
    value = pl.concat_str(
        pl.lit('{"af_revenue": "'), amount, pl.lit('", "af_currency": "USD"}')
    )
    filled = rows.with_columns(
        pl.col("user_id").alias("Customer User ID"),
        pl.col("installed_at").dt.strftime("%Y-%m-%d %H:%M:%S").alias("Install Time"),
        pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S").alias("Event Time"),
        pl.col("event").alias("Event Name"),
        value.alias("Event Value"),
        amount.alias("Event Revenue"),
        amount.alias("Event Revenue USD"),
        pl.when(has_revenue).then(pl.lit("USD")).alias("Event Revenue Currency"),
        pl.lit("SDK").alias("Event Source"),
        pl.lit("5.2.0").alias("App Version"),
        pl.lit("Meadow - Simulated App").alias("App Name"),
        pl.lit("com.example.meadow").alias("Bundle ID"),
        pl.lit("false").alias("Is Retargeting"),
        pl.lit("true").alias("Is Primary Attribution"),
    )
    return filled.select(
        (pl.col(c) if c in filled.columns else pl.lit(None, pl.String).alias(c))
        for c in HEADER
    )
