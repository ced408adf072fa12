"""The engine of a Spark cluster: the session that is there, or one at an address."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from churn.cluster import Groups, Work, library
from churn.errors import ChurnError, ClusterError

if TYPE_CHECKING:
    from churn.settings import Cluster


def results(
    work: Work,
    groups: Groups,
    cluster: Cluster,
    what: str,
) -> list[Any]:
    """See ``cluster.map_buckets``. Spark gives a dead worker's groups to others."""
    pyspark = library("pyspark", cluster)
    job = f"churn-{uuid4()}"
    started: list[Any] = []

    def ask() -> list[Any]:
        context = pyspark.SparkContext.getOrCreate(_conf(pyspark, cluster))
        started.append(context)
        context.setJobGroup(job, what, interruptOnCancel=True)
        rows = context.parallelize(groups, len(groups))
        return list(rows.map(partial(_answer, work)).collect())

    try:
        done = _in_thread(ask).result(60 * cluster.wait_minutes)
    except TimeoutError:
        for context in started:
            context.cancelJobGroup(job)
        raise
    except Exception as error:
        reason = f"{cluster.name} failed ({type(error).__name__}): look at its log"
        raise ClusterError(f"{what}: {reason}") from error
    if failed := next((one for one in done if isinstance(one, ChurnError)), None):
        raise failed
    return done


def _conf(pyspark: Any, cluster: Cluster) -> Any:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    conf = pyspark.SparkConf().setAppName("churn")
    if cluster.address:
        conf.setMaster(cluster.address)
    conf.setIfMissing("spark.ui.showConsoleProgress", "false")
    conf.setIfMissing("spark.executorEnv.POLARS_MAX_THREADS", "1")
    return conf


def _answer(work: Work, group: Any) -> Any:
    try:
        return work(group)
    except ChurnError as error:  # returned, as Spark would try again
        return error


def _in_thread(ask: Callable[[], list[Any]]) -> Future[list[Any]]:
    """The answer to come, since Spark waits for a busy cluster without an end."""
    answer: Future[list[Any]] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    return answer
