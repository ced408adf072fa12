"""A simulated world's events as AppsFlyer reports, as the Pull API gives them."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from tqdm.auto import tqdm

from churn.simulate.world import World

HEADER = """
Attributed Touch Type,Attributed Touch Time,Install Time,Event Time,Event Name,
Event Value,Event Revenue,Event Revenue Currency,Event Revenue USD,Event Source,
Is Receipt Validated,Partner,Media Source,Channel,Keywords,Campaign,Campaign ID,Adset,
Adset ID,Ad,Ad ID,Ad Type,Site ID,Sub Site ID,Sub Param 1,Sub Param 2,Sub Param 3,
Sub Param 4,Sub Param 5,Cost Model,Cost Value,Cost Currency,Contributor 1 Partner,
Contributor 1 Media Source,Contributor 1 Campaign,Contributor 1 Touch Type,
Contributor 1 Touch Time,Contributor 2 Partner,Contributor 2 Media Source,
Contributor 2 Campaign,Contributor 2 Touch Type,Contributor 2 Touch Time,
Contributor 3 Partner,Contributor 3 Media Source,Contributor 3 Campaign,
Contributor 3 Touch Type,Contributor 3 Touch Time,Region,Country Code,State,City,
Postal Code,DMA,IP,WIFI,Operator,Carrier,Language,AppsFlyer ID,Advertising ID,IDFA,
Android ID,Customer User ID,IMEI,IDFV,Platform,Device Type,OS Version,App Version,
SDK Version,App ID,App Name,Bundle ID,Is Retargeting,Retargeting Conversion Type,
Attribution Lookback,Reengagement Window,Is Primary Attribution,User Agent,
HTTP Referrer,Original URL
""".replace("\n", "").split(",")
"""The default columns of AppsFlyer's raw-data reports, in their order."""

REPORTS = {
    "in_app": "in_app_events_report",
    "install": "installs_report",
    "uninstall": "uninstall_events_report",
}
"""Beginning of the file name of each report."""

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

COUNTRIES = {
    "US": 0.4,
    "DE": 0.2,
    "FR": 0.15,
    "BR": 0.12,
    "IN": 0.12,
    "NA": 0.01,
}
"""Country codes and their shares; a reader may mistake NA (Namibia) for null."""

MEDIA_SOURCES = {
    "organic": 0.5,
    "example_network_int": 0.4,
    "restricted": 0.1,
}

IOS_RATE = 0.45
"""Share of users on iOS; the others are on Android."""

UUID_BITS = (32, 16, 12, 12, 48)
"""Number of random bits in each part of a version 4 UUID."""


def user_ids(n_users: int) -> list[str]:
    """The customer's own ids, one per user."""
    return [f"cust-{100_000 + i}" for i in range(n_users)]


def write(
    world: World, rows: pl.DataFrame, folder: Path, progress: bool = False
) -> int:
    """Write weekly files of three reports with all columns; return their number.

    ``rows`` is the table of ``events.events``.
    """
    known = rows.join(
        _devices(world),
        on="user",
        maintain_order="left",
    )
    week = (pl.col("time").dt.date() - pl.lit(world.start)).dt.total_days() // 7
    parts = known.with_columns(week=week).partition_by(
        "report", "week", maintain_order=True, as_dict=True
    )
    end = world.start + timedelta(days=world.n_days - 1)
    shown = tqdm(
        parts.items(),
        "writing",
        disable=not progress,
        leave=False,
    )
    for (report, number), part in shown:
        first = world.start + timedelta(days=7 * int(str(number)))
        last = min(first + timedelta(days=6), end)
        name = f"{REPORTS[str(report)]}_{first}_{last}.csv"
        _report(part).write_csv(folder / name)
    return len(parts)


def _devices(world: World) -> pl.DataFrame:
    """One device per user, with the columns that all its rows carry."""
    rng = np.random.default_rng([world.seed, 2])
    n = world.n_users
    is_ios = rng.random(n) < IOS_RATE
    uuids = pl.Series(_uuids(rng, n))
    installed_ms = 1_735_000_000_000 + rng.integers(0, 10**9, n)
    number = rng.integers(10**6, 10**7, n)
    appsflyer_ids = [f"{ms}-{i}" for ms, i in zip(installed_ms, number, strict=True)]
    columns = {
        "user": np.arange(n),
        "user_id": user_ids(n),
        "AppsFlyer ID": appsflyer_ids,
        "IDFV": uuids,
        "Advertising ID": uuids.str.to_lowercase(),
        "Platform": np.where(is_ios, "ios", "android"),
        "OS Version": np.where(is_ios, "18.2", "15"),
        "App ID": np.where(is_ios, "id1500000002", "com.example.meadow"),
        "Country Code": _drawn(rng, COUNTRIES, n),
        "Media Source": _drawn(rng, MEDIA_SOURCES, n),
    }
    on_ios = pl.col("Platform") == "ios"
    return pl.DataFrame(columns).with_columns(
        IDFV=pl.when(on_ios).then("IDFV"),
        **{"Advertising ID": pl.when(~on_ios).then("Advertising ID")},
    )


def _uuids(rng: np.random.Generator, n: int) -> list[str]:
    """Random identifiers in the form of version 4 UUIDs, in upper case."""
    parts = [rng.integers(0, 2**bits, n).tolist() for bits in UUID_BITS]
    return [
        f"{a:08X}-{b:04X}-4{c:03X}-A{d:03X}-{e:012X}"
        for a, b, c, d, e in zip(*parts, strict=True)
    ]


def _drawn(
    rng: np.random.Generator,
    shares: dict[str, float],
    n: int,
) -> np.ndarray:
    return rng.choice([*shares], n, p=[*shares.values()])


def _report(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of one report in the vendor's columns; null where there is no value."""
    has_revenue = pl.col("revenue").is_not_null()
    amount = pl.col("revenue").round(2).cast(pl.String)
    amount = pl.when(has_revenue).then(amount)
    currency = pl.when(has_revenue).then(pl.lit("USD"))
    value = pl.concat_str(
        pl.lit('{"af_revenue": "'), amount, pl.lit('", "af_currency": "USD"}')
    )
    values = {
        "Customer User ID": pl.col("user_id"),
        "Install Time": pl.col("installed_at").dt.strftime(TIME_FORMAT),
        "Event Time": pl.col("time").dt.strftime(TIME_FORMAT),
        "Event Name": pl.col("event"),
        "Event Value": value,
        "Event Revenue": amount,
        "Event Revenue USD": amount,
        "Event Revenue Currency": currency,
        "Event Source": pl.lit("SDK"),
        "App Version": pl.lit("5.2.0"),
        "App Name": pl.lit("Meadow - Simulated App"),
        "Bundle ID": pl.lit("com.example.meadow"),
        "Is Retargeting": pl.lit("false"),
        "Is Primary Attribution": pl.lit("true"),
    }
    filled = rows.with_columns(**values)
    missing = {
        name: pl.lit(None, pl.String) for name in HEADER if name not in filled.columns
    }
    return filled.with_columns(**missing).select(HEADER)
