"""Other processes, of this machine, Dask or Spark, compute what one process does."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from distributed import LocalCluster
from joblib.externals.loky import process_executor
from polars.testing import assert_frame_equal

from churn.cluster import map_buckets, start
from churn.errors import ClusterError, StoreError, StudyError
from churn.events import erasure, ingest
from churn.features import by_group, snapshots
from churn.features.catalogue import Plan
from churn.model import baseline, fitting, storage
from churn.model.fitting import Model
from churn.model.pipelines import Recipe
from churn.scoring import by_group as scored
from churn.scoring import scores
from churn.settings import Cluster, Settings
from churn.store import Store, grouped, open_filled

from .conftest import DAY0, random_log
from .object_server import Server

CUTOFFS = [DAY0 + timedelta(days=day) for day in (60, 90)]
PLAN = Plan(28, vocabulary=("open", "search"))
GROUPS = [range(0, 8), range(8, 20), range(20, 32)]
GROUP_ROWS = 4_000
Work = Callable[..., Any]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even the tests' small logs are divided."""
    monkeypatch.setattr(grouped, "MIN_ROWS", GROUP_ROWS)


def on(store: Store, cluster: Cluster) -> Store:
    """The same store, read by these processes."""
    settings = store.settings.model_copy(update={"cluster": cluster})
    return replace(store, settings=settings)


def killed_once(work: Work, folder: Path) -> Work:
    """The same work, whose process is killed at the second group when it comes first.

    Every start leaves a file in the folder, whose name begins with the group's bucket.
    """

    def wrapped(store: Store, group: Sequence[int], *rest: Any) -> Any:
        folder.joinpath(f"{group[0]}-{uuid4()}").touch()
        if group[0] == 8 and len(list(folder.glob("8-*"))) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(store, group, *rest)

    return wrapped


def test_features_are_the_same(filled: Store, cluster: Cluster) -> None:
    """Same rows in the same order, floats within 1e-9, and no file is left over."""
    expected = snapshots.observe(filled, CUTOFFS, PLAN, share=0.7)
    assert expected.height > 100
    spread = on(filled, cluster)
    assert len(grouped.groups(spread, filled.n_rows("activity"))) > 1
    found = snapshots.observe(spread, CUTOFFS, PLAN, share=0.7)
    assert_frame_equal(found, expected, rel_tol=1e-9, abs_tol=0)
    assert not filled.place.names(grouped.PARTS)


def test_a_process_that_is_killed_costs_its_groups_again(
    filled: Store, cluster: Cluster, tmp_path: Path
) -> None:
    """The group at which it was killed is computed again, with the same result."""
    reading = by_group.reading(filled, CUTOFFS, PLAN)
    work = partial(by_group._eligible_users, reading=reading)
    expected = [work(filled, group) for group in GROUPS]
    starts = tmp_path / "starts"
    starts.mkdir()
    dying = killed_once(work, starts)
    found = grouped.frames(on(filled, cluster), dying, GROUPS, "users")
    for one, other in zip(found, expected, strict=True):
        assert_frame_equal(one, other)
    assert len(list(starts.glob("8-*"))) == 2


def test_labels_and_event_names_are_the_same(filled: Store, cluster: Cluster) -> None:
    """Who returned, and which names are counted one by one."""
    users = snapshots.eligible_users(filled, CUTOFFS, PLAN)
    spread = on(filled, cluster)
    assert_frame_equal(snapshots.label(users, spread), snapshots.label(users, filled))
    assert snapshots.plan(spread, CUTOFFS[0]) == snapshots.plan(filled, CUTOFFS[0])


@pytest.fixture
def fitted(filled: Store) -> Model:
    """A model of the small app, trained on its first cutoff."""
    plan = snapshots.plan(filled, CUTOFFS[0])
    rows = snapshots.build(filled, CUTOFFS[:1], plan)
    return fitting.fit(rows, plan, filled.settings, Recipe({"logistic": 1.0}))


def test_scores_are_the_same(filled: Store, cluster: Cluster, fitted: Model) -> None:
    """Segments and reasons, which take over from earlier scores; floats within 1e-9.

    The model comes from the store, and drift is counted alike.
    """
    storage.save(fitted, filled, {})
    rows = snapshots.observe(filled, CUTOFFS, fitted.plan).with_columns(churned=True)
    bins = baseline.of_training(rows, fitted.features, rows.clear()).bins
    before = scores.make(filled, fitted, CUTOFFS[1] - timedelta(days=7))
    findings = scores.check(filled, before, fitted)
    scores.write(filled, before, findings, findings["gate"].to_list())
    expected, counts = scores.counted(filled, fitted, CUTOFFS[1], bins)
    found, counted = scores.counted(on(filled, cluster), fitted, CUTOFFS[1], bins)
    assert_frame_equal(found, expected, rel_tol=1e-9, abs_tol=0)
    assert counts is not None
    assert counts.equals(counted)
    assert not filled.place.names(grouped.PARTS)


def test_a_process_that_is_killed_while_it_scores_costs_its_group_again(
    filled: Store, cluster: Cluster, fitted: Model, tmp_path: Path
) -> None:
    """The group is scored anew with what its users had before, with the same result.

    The model, which the store lacks, is sent.
    """
    before = scores.make(filled, fitted, CUTOFFS[0]).select(scored.BEFORE)
    reading = by_group.reading(filled, CUTOFFS[1:], fitted.plan)
    level = by_group.level(filled, reading)
    scoring = scored.Scoring(reading, level, fitted, None)
    work = partial(scored._scored, scoring=scoring)
    expected = grouped.results(filled, work, GROUPS, "scores", before)
    starts = tmp_path / "starts"
    starts.mkdir()
    dying = killed_once(work, starts)
    found = grouped.results(on(filled, cluster), dying, GROUPS, "scores", before)
    for (one, _), (other, _) in zip(found, expected, strict=True):
        assert_frame_equal(one, other, rel_tol=1e-9, abs_tol=0)
    assert len(list(starts.glob("8-*"))) == 2


def test_an_error_of_the_work_is_raised_as_it_is(cluster: Cluster) -> None:
    """Its class and sentence arrive, and the work isn't tried again."""

    def work(group: Sequence[int]) -> int:
        raise StoreError(f"bucket {group[0]} is damaged")

    with pytest.raises(StoreError, match=r"bucket \d+ is damaged"):
        map_buckets(work, GROUPS, cluster, "counts")


def test_a_time_out_of_the_work_is_not_that_of_the_wait(cluster: Cluster) -> None:
    """A connection that timed out somewhere says nothing of how long a step takes."""

    def work(group: Sequence[int]) -> int:
        raise TimeoutError("the read operation timed out")

    with pytest.raises(ClusterError, match=r"^counts: the read operation timed out"):
        map_buckets(work, GROUPS, cluster, "counts")


def test_a_wait_ends(cluster: Cluster) -> None:
    """After wait_minutes an error says what was waited for, and where."""
    hasty = cluster.model_copy(update={"wait_minutes": 0.001})

    def work(group: Sequence[int]) -> int:
        time.sleep(3)
        return group[0]

    with pytest.raises(ClusterError, match=r"waited 0\.001 minutes for counts"):
        map_buckets(work, GROUPS, hasty, "counts")


def test_spark_ends_what_nobody_waits_for(spark: Cluster) -> None:
    """After a time-out the cluster is free again, long before the work would end."""
    from pyspark import SparkContext

    hasty = spark.model_copy(update={"wait_minutes": 0.05})

    def work(group: Sequence[int]) -> None:
        time.sleep(600)

    with pytest.raises(ClusterError, match="for counts"):
        map_buckets(work, GROUPS, hasty, "counts")
    tracker = SparkContext.getOrCreate().statusTracker()
    until = time.monotonic() + 60
    while tracker.getActiveJobsIds() and time.monotonic() < until:
        time.sleep(0.1)
    assert not tracker.getActiveJobsIds()


def test_processes_started_ahead_have_loaded_the_module() -> None:
    """The work then finds them, and what they loaded."""
    cluster = Cluster(processes=2)
    assert "tabnanny" not in sys.modules
    start(cluster, "tabnanny")
    found = map_buckets(_has_tabnanny, range(50), cluster, "modules")
    assert any(found)


def _has_tabnanny(number: int) -> bool:
    return "tabnanny" in sys.modules


def test_a_process_whose_memory_grows_is_kept() -> None:
    """It has loaded libraries and a model, which another one would have to load again."""
    assert process_executor._MAX_MEMORY_LEAK_SIZE < 10**9

    def work(number: int) -> int:
        return process_executor._MAX_MEMORY_LEAK_SIZE

    assert min(map_buckets(work, range(4), Cluster(processes=2), "limits")) > 10**12


def test_work_that_kills_every_process_ends() -> None:
    """As if memory did not suffice: after four attempts an error says so."""

    def work(group: Sequence[int]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ClusterError, match="killed 4 times"):
        map_buckets(work, GROUPS, Cluster(processes=2), "counts")


def test_the_store_may_be_an_object_store(
    server: Server, make_study: Callable[..., Settings], tmp_path: Path
) -> None:
    """Other processes read it, and leave their parts there, as their environment allows."""
    random_log(n_users=60, n_days=90).write_parquet(tmp_path / "events.parquet")
    settings = make_study(
        extracts=[{"source": "table", "path": "events.parquet"}],
        store="s3://exports/store",
    )
    ingest.ingest(settings, progress=False)
    store = open_filled(settings)
    reading = by_group.reading(store, CUTOFFS[:1], PLAN)
    expected = by_group.level(store, reading)
    found = by_group.level(on(store, Cluster(processes=2)), reading)
    assert_frame_equal(found, expected)
    assert not store.place.names(grouped.PARTS)


def test_another_process_reads_the_same_commit(filled: Store) -> None:
    """A commit meanwhile changes nothing for a reader that was sent its store before."""
    pinned = grouped.Pinned.of(filled)
    n_rows = filled.n_rows("users")
    filled.overwrite("users", filled.rows_of("users", [0]).collect()).commit()
    assert pinned.open().n_rows("users") == n_rows
    assert pinned.open().reopened().n_rows("users") < n_rows


def test_what_a_crash_left_behind_is_removed(filled: Store) -> None:
    """After a day by the next step, and at once when somebody is erased."""
    old, new = "20260101T000000-a-0000.parquet", "99990101T000000-b-0000.parquet"
    for name in (old, new):
        filled.place.write(f"{grouped.PARTS}/{name}", b"")
    spread = on(filled, Cluster(processes=2))
    by_group.level(spread, by_group.reading(filled, CUTOFFS, PLAN))
    assert filled.place.names(grouped.PARTS) == [f"{grouped.PARTS}/{new}"]
    erasure.erase(filled)
    assert not filled.place.names(grouped.PARTS)


def test_a_scheduler_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error says which address gave no answer, and a later attempt may succeed."""
    monkeypatch.setattr("churn.cluster.dask.CONNECT_SECONDS", 0.2)
    cluster = Cluster(engine="dask", address="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"Dask at tcp://127\.0\.0\.1:9") as raised:
        map_buckets(len, GROUPS, cluster, "counts")
    assert raised.value.exit_code == 4


def test_a_scheduler_that_is_lost_in_the_middle_is_named(tmp_path: Path) -> None:
    """The wait ends soon, and not only after all the minutes it may take."""
    begun = tmp_path / "begun"
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
    ) as running:

        def lose() -> None:
            while not begun.exists():
                time.sleep(0.05)
            running.close()

        loser = Thread(target=lose)
        loser.start()
        cluster = Cluster(engine="dask", address=running.scheduler_address)
        with pytest.raises(ClusterError, match=r"^counts: Dask at .* is gone$"):
            map_buckets(partial(_endless, begun), GROUPS, cluster, "counts")
        loser.join()


def _endless(begun: Path, group: Sequence[int]) -> None:
    begun.touch()
    time.sleep(600)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    cluster = Cluster(engine="spark", address="local[2]")
    with pytest.raises(StudyError, match=r"churn-to-braze\[spark\]"):
        map_buckets(len, GROUPS, cluster, "counts")


@pytest.mark.parametrize(
    ("cores", "free", "limit", "expected"),
    [
        (8, 100, "max", 8),
        (8, 9, "max", 4),
        (8, 100, str(5 * 10**9), 2),
        (8, 1, "max", 1),
    ],
)
def test_as_many_processes_as_fit(
    make_study: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cores: int,
    free: int,
    limit: str,
    expected: int,
) -> None:
    """Cores, free memory (in GB) and the limit of a container each may be what is short."""
    memory = SimpleNamespace(available=free * 10**9)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    file = tmp_path / "memory.max"
    file.write_text(f"{limit}\n")
    monkeypatch.setattr("churn.settings.cluster.MEMORY_LIMIT", file)
    assert make_study(cluster={"processes": "auto"}).cluster.processes == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": "dask"},
        {"engine": "spark", "processes": "auto"},
        {"processes": "many"},
        {"address": "tcp://scheduler:8786"},
        {"engine": "dask", "address": "tcp://me:secret@scheduler:8786"},
        {"engine": "ray"},
    ],
)
def test_a_study_with_a_faulty_cluster_is_refused(
    make_study: Callable[..., Settings], wrong: dict[str, str]
) -> None:
    """Such as Dask without an address, or a password in one."""
    with pytest.raises(StudyError, match="cluster"):
        make_study(cluster=wrong)
