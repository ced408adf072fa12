"""Work on groups of buckets or files by other processes: of this machine, of Dask or of Spark.

An engine may do a group's work twice, even at the same time, since it can't know how
far a lost worker had come: the results must be the same, and replace those before.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from churn.errors import ChurnError, ClusterError, StudyError

if TYPE_CHECKING:
    from churn.settings import Cluster

ATTEMPTS = 4  # of local work whose process was killed; other engines count their own
CONNECT_SECONDS = 30
Work = Callable[[Any], Any]
Groups = Sequence[Any]


def map_buckets(work: Work, groups: Groups, cluster: Cluster, what: str) -> list[Any]:
    """What ``work`` returns for each group, in the groups' order.

    ``work`` is a module's function, or a partial of one with plain values. ``what``
    names it in errors: ClusterError if the engine can't be reached, loses its workers
    or takes longer than ``wait_minutes``, StudyError if its library is missing. A
    ChurnError of the work itself is raised as it is.
    """
    if cluster.is_one_process:
        return [work(group) for group in groups]
    engine = {"local": _local, "dask": _dask, "spark": _spark}[cluster.engine]
    try:
        results = engine(partial(_answer, work), groups, cluster, what)
    except TimeoutError:
        waited = f"waited {cluster.wait_minutes:g} minutes for {what}"
        raise ClusterError(f"{waited} from {cluster.name}: look at its log") from None
    if error := next((r for r in results if isinstance(r, ChurnError)), None):
        raise error
    return results


def _answer(work: Work, group: Any) -> Any:
    try:
        return work(group)
    except ChurnError as error:  # returned, as trying again would not help
        return error


def _local(work: Work, groups: Groups, cluster: Cluster, what: str) -> list[Any]:
    from joblib.externals import loky

    until = time.monotonic() + 60 * cluster.wait_minutes
    threads = str(max(1, loky.cpu_count() // cluster.processes))
    own = {"POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS", threads)}
    results: dict[int, Any] = {}
    for _ in range(ATTEMPTS):
        pool = loky.get_reusable_executor(cluster.processes, env=own)
        missing = [n for n in range(len(groups)) if n not in results]
        try:
            futures = {pool.submit(work, groups[n]): n for n in missing}
            for future in loky.as_completed(futures, until - time.monotonic()):
                results[futures[future]] = future.result()
            return [results[n] for n in range(len(groups))]
        except loky.BrokenProcessPool:
            continue
        except BaseException:
            pool.shutdown(wait=False, kill_workers=True)
            raise
    raise ClusterError(
        f"{what}: processes were killed {ATTEMPTS} times; out of memory?"
    )


def _dask(work: Work, groups: Groups, cluster: Cluster, what: str) -> list[Any]:
    distributed = _library("distributed", cluster)
    try:
        client = distributed.Client(cluster.address, timeout=CONNECT_SECONDS)
    except OSError as error:
        raise ClusterError(f"{cluster.name} doesn't answer ({error})") from None
    with client:
        futures = client.map(work, groups, pure=False)
        distributed.wait(futures, 60 * cluster.wait_minutes)
        try:
            return list(client.gather(futures))
        except distributed.KilledWorker:
            lost = "its workers die at it: is there memory for it?"
            raise ClusterError(f"{what} on {cluster.name}: {lost}") from None


def _spark(work: Work, groups: Groups, cluster: Cluster, what: str) -> list[Any]:
    pyspark = _library("pyspark", cluster)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = pyspark.SparkConf().setAppName("churn")
    if cluster.address:
        conf.setMaster(cluster.address)
    conf.setIfMissing("spark.ui.showConsoleProgress", "false")
    answer: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            context = pyspark.SparkContext.getOrCreate(conf)
            rows = context.parallelize(groups, len(groups))
            answer.set_result(rows.map(work).collect())
        except Exception as error:
            answer.set_exception(error)

    # In a thread, because Spark waits for a cluster that is busy without an end.
    Thread(target=ask, daemon=True).start()
    try:
        return answer.result(60 * cluster.wait_minutes)
    except TimeoutError:
        raise
    except Exception as error:
        reason = f"{cluster.name} failed ({type(error).__name__}): look at its log"
        raise ClusterError(f"{what}: {reason}") from error


def _library(name: str, cluster: Cluster) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = f"churn-to-braze[{cluster.engine}]"
        raise StudyError(f"cluster.engine: install {package} for it") from None
