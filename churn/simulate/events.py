"""The events of a simulated world as one table: in-app events, installs, uninstalls."""

from datetime import UTC, datetime

import numpy as np
import polars as pl

from churn.simulate.world import LAST_SECOND, World

PURCHASE = "af_purchase"
"""Name of the event that carries revenue."""

PRICES = np.array([0.99, 2.99, 4.99, 9.99, 19.99])
"""Possible revenues of a purchase in US dollars, all equally likely."""

DAY = 86_400
"""Seconds of a day."""


def events(world: World) -> pl.DataFrame:
    """Every row of the log, sorted by time.

    Columns: user (an index), report (in_app, install or uninstall), event, time,
    revenue, installed_at. No two rows of a user share a second: vendors' rows have no
    id, so equal rows would count as copies.
    """
    rng = np.random.default_rng([world.seed, 1])
    install_second, moments = world.moments(rng)
    in_app = _in_app(world, rng, moments)
    uninstalls = _uninstalls(world, rng)
    rows = pl.concat([in_app, _installs(world, install_second), uninstalls])
    seconds = world.arrival * DAY + install_second
    installs = pl.DataFrame(
        {"user": np.arange(world.n_users), "installed_second": seconds}
    )
    midnight = pl.lit(datetime.combine(world.start, datetime.min.time(), UTC))
    since_start = pl.duration(seconds=pl.col("day") * DAY + pl.col("second"))
    until_install = pl.duration(seconds=pl.col("installed_second"))
    timed = rows.join(installs, on="user").with_columns(
        time=midnight + since_start, installed_at=midnight + until_install
    )
    columns = timed.drop("day", "second", "installed_second")
    return columns.sort("time", "user", "event")


def _in_app(
    world: World, rng: np.random.Generator, moments: pl.DataFrame
) -> pl.DataFrame:
    """In-app events, those of a user and second moved one second apart."""
    names = pl.Series(world.names)
    prices = pl.Series("revenue", rng.choice(PRICES, moments.height))
    named = moments.with_columns(prices, event=names.gather(moments["name"]))
    ordered = named.sort("user", "day", "second", "name", maintain_order=True)
    # The running maximum of (second − position), plus the position.
    position = pl.int_range(pl.len())
    moved = ((pl.col("second") - position).cum_max() + position).over("user", "day")
    is_purchase = pl.col("event") == PURCHASE
    revenue = pl.when(is_purchase).then("revenue")
    return _rows(ordered.with_columns(second=moved, revenue=revenue), "in_app")


def _installs(world: World, install_second: np.ndarray) -> pl.DataFrame:
    columns = {
        "user": np.arange(world.n_users),
        "day": world.arrival,
        "second": install_second,
    }
    frame = pl.DataFrame(columns).with_columns(event=pl.lit("install"))
    return _rows(frame, "install")


def _uninstalls(world: World, rng: np.random.Generator) -> pl.DataFrame:
    users = np.flatnonzero(world.uninstall >= 0)
    columns = {
        "user": users,
        "day": world.uninstall[users],
        "second": rng.integers(0, LAST_SECOND, len(users)),
    }
    frame = pl.DataFrame(columns).with_columns(event=pl.lit("af_uninstall"))
    return _rows(frame, "uninstall")


def _rows(frame: pl.DataFrame, report: str) -> pl.DataFrame:
    if "revenue" not in frame.columns:
        frame = frame.with_columns(revenue=pl.lit(None, pl.Float64))
    numbers = pl.col("user", "day", "second").cast(pl.Int64)
    typed = frame.with_columns(numbers, report=pl.lit(report))
    return typed.select("user", "day", "second", "report", "event", "revenue")
