"""Builders that tests share: a study over a table written inline, and a store made from
it.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

os.environ.setdefault("OMP_NUM_THREADS", "1")  # models are small here
# The tests' own clients ask servers on this machine, and no proxy leads there.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "localhost,127.0.0.1,::1"

import polars as pl
import pytest
from hypothesis import settings as hypothesis_settings

from churn.events import ingest, sources
from churn.settings import Cluster, Extract, Settings, parse
from churn.store import Store, objects, open_filled

if TYPE_CHECKING:
    from .object_server import Server

SHARED = Path(__file__).resolve().parents[2] / "shared"
DAY0 = date(2026, 1, 1)

# A property says what holds, not how fast this machine is: it has no deadline.
hypothesis_settings.register_profile("churn", deadline=None)
hypothesis_settings.load_profile("churn")

LONGEST = (
    "braze/test_two_machines.py",
    "nights/test_night.py",
    "braze/test_delivery_faults.py",
    "events/test_two_machines.py",
    "events/test_identity.py",
    "events/test_store_faults.py",
    "events/test_ingest.py",
    "report/test_runner.py",
    "events/test_privacy.py",
    "model/test_challenge.py",
    "docs/test_store_guide.py",
    "report/test_jupyterlab.py",
    "events/test_replacing.py",
    "features/test_real_logs.py",
    "features/test_leakage.py",
    "features/test_snapshots.py",
    "store/test_cleaning.py",
    "store/test_results.py",
    "docs/test_readme.py",
)
"""The files of tests that take longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first, so that none is left for one process at the end."""
    here = Path(__file__).parent
    rank = {here / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def at(day: float) -> datetime:
    """The instant ``day`` days after midnight of 1 January 2026, UTC."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)


def event_log(*rows: dict[str, Any]) -> pl.DataFrame:
    """Event-log rows from short dicts: u (user), day, and where needed event, kind,
    revenue, currency, received.
    """
    return pl.DataFrame(
        {
            "user_id": [r.get("u", "u1") for r in rows],
            "ids": [r.get("ids", []) for r in rows],
            "source": [r.get("source", "table") for r in rows],
            "platform": [r.get("platform") for r in rows],
            "event": [r.get("event", "open") for r in rows],
            "event_kind": [r.get("kind", "in_app") for r in rows],
            "event_time": [at(r["day"]) for r in rows],
            "received_time": [
                None if r.get("received") is None else at(r["received"]) for r in rows
            ],
            "event_time_basis": [r.get("basis", "exact") for r in rows],
            "revenue": [r.get("revenue") for r in rows],
            "currency": [r.get("currency") for r in rows],
            "revenue_usd": [r.get("usd") for r in rows],
        },
        schema={
            "user_id": pl.String,
            "ids": pl.List(pl.String),
            "source": pl.String,
            "platform": pl.String,
            "event": pl.String,
            "event_kind": pl.String,
            "event_time": pl.Datetime("us", "UTC"),
            "received_time": pl.Datetime("us", "UTC"),
            "event_time_basis": pl.String,
            "revenue": pl.Float64,
            "currency": pl.String,
            "revenue_usd": pl.Float64,
        },
    )


def read(path: Path, extract: Extract) -> pl.DataFrame:
    """Canonical rows of one file; damage that only shows on collecting becomes an
    InputError, as ingest does it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return sources.read(path, extract, Path(scratch)).collect()
        except sources.UNREADABLE as error:
            raise sources.unreadable(path, extract, error) from error


def unavailable(what: str) -> NoReturn:
    """Skip a test loudly because this machine lacks something; in CI, where nothing may
    be skipped, fail.
    """
    if os.environ.get("CI"):
        pytest.fail(f"CI must run this test: {what}")
    pytest.skip(f"SKIPPED LOUDLY: {what}")


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Settings]:
    """A study in tmp_path over ``events.csv``; keyword arguments are its tables."""

    def make(**parts: Any) -> Settings:
        extracts = parts.pop("extracts", [{"source": "table", "path": "events.csv"}])
        return parse({"extracts": extracts, **parts}, tmp_path)

    return make


def random_log(n_users: int = 400, n_days: int = 120, seed: int = 7) -> pl.DataFrame:
    """A small app: users with their own daily rate who may leave for good; columns
    user_id, event, time, revenue.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, datetime, float | None]] = []
    for i in range(n_users):
        start, rate = rng.integers(0, 30), rng.uniform(0.05, 0.6)
        end = start + rng.exponential(90)
        for day in range(start, n_days):
            if day > end or rng.random() > rate:
                continue
            name = str(rng.choice(["open", "search", "buy"], p=[0.6, 0.3, 0.1]))
            rows.append(
                (
                    f"user-{i}",
                    name,
                    at(day + rng.random() * 0.99),
                    5.0 if name == "buy" else None,
                )
            )
    return pl.DataFrame(
        rows, schema=["user_id", "event", "time", "revenue"], orient="row"
    )


@pytest.fixture
def filled(make_study: Callable[..., Settings], tmp_path: Path) -> Store:
    """A study with short windows and a store holding the small app's 120 days."""
    random_log().write_parquet(tmp_path / "events.parquet")
    settings = make_study(
        extracts=[{"source": "table", "path": "events.parquet"}],
        windows={"observation_days": 28, "eligible_days": 14, "horizon_days": 14},
        backtest={"n_train_cutoffs": 5, "n_test_cutoffs": 2},
        gates={"max_age_days": 3650},
    )
    ingest.ingest(settings, progress=False)
    return open_filled(settings)


@pytest.fixture(scope="session")
def running() -> "Iterator[Server]":
    """One object store on this machine for all tests."""
    from .object_server import Server

    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(running: "Server", monkeypatch: pytest.MonkeyPatch) -> "Iterator[Server]":
    """The object store with an empty bucket, and the environment that leads to it."""
    running.empty()
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    objects._client.cache_clear()
    yield running
    objects._client.cache_clear()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of an object store in a process of its own, for the bucket "machines".

    Polars keeps its client of a bucket: that of "exports" leads to the other store, and
    after a store has stopped, polars would ask it for three minutes.
    """
    from . import object_server

    with object_server.in_another_process() as address:
        yield address


@pytest.fixture(scope="session")
def dask() -> Iterator[Cluster]:
    """A scheduler and two worker processes of Dask."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
    ) as running:
        address = running.scheduler_address
        yield Cluster(engine="dask", address=address, processes=2)


@pytest.fixture(scope="session")
def spark() -> Iterator[Cluster]:
    """Spark on this machine: two tasks at a time, each tried four times."""
    if not find_spec("pyspark") or not shutil.which("java"):
        unavailable("it needs `uv sync --extra spark` and Java (default-jre-headless)")
    from pyspark import SparkContext

    yield Cluster(engine="spark", address="local[2,4]", processes=2)
    SparkContext.getOrCreate().stop()


@pytest.fixture(params=["local", "dask", "spark"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Two processes of each engine."""
    if request.param == "local":
        return Cluster(processes=2)
    found: Cluster = request.getfixturevalue(request.param)
    return found
