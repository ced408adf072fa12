"""Work on groups of buckets or files by other processes: here, on Dask or on Spark.

An engine may do a group's work twice, even at the same time, since it can't know how
far a lost worker had come: both times must give the same result.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from churn.errors import ClusterError, StudyError

if TYPE_CHECKING:
    from churn.settings import Cluster

Work = Callable[[Any], Any]
Groups = Sequence[Any]


def map_buckets(
    work: Work,
    groups: Groups,
    cluster: Cluster,
    what: str,
) -> list[Any]:
    """What ``work`` returns for each group, in the groups' order.

    ``work`` is a module's function, or a partial of one with plain values. ``what``
    names it in errors: ClusterError if the engine can't be reached, loses its workers
    or takes longer than ``wait_minutes``, StudyError if its library is missing. An
    error of the work itself is raised as it is; groups that wait are then given up,
    except by Spark.
    """
    if cluster.is_one_process:
        return [work(group) for group in groups]
    from churn.cluster import dask, local, spark

    task = partial(_done, work, what)
    engines = {"local": local.results, "dask": dask.results, "spark": spark.results}
    try:
        return engines[cluster.engine](task, groups, cluster, what)
    except TimeoutError:
        waited = f"waited {cluster.wait_minutes:g} minutes for {what}"
        raise ClusterError(f"{waited} from {cluster.name}: look at its log") from None


def start(cluster: Cluster, module: str) -> None:
    """Start processes of this machine, which import ``module``, without a wait for them.

    What this process does next takes no longer, and finds them ready for ``map_buckets``.
    Workers of Dask and Spark run already.
    """
    if cluster.engine == "local" and not cluster.is_one_process:
        from churn.cluster import local

        local.start(cluster, module)


def _done(work: Work, what: str, group: Any) -> Any:
    """The result of the work, whose own time-outs are not those of the wait for it."""
    try:
        return work(group)
    except TimeoutError as error:
        raise ClusterError(
            f"{what}: {str(error) or 'a connection timed out'}"
        ) from None


def library(name: str, cluster: Cluster) -> Any:
    """The engine's library. Raises StudyError if it isn't installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = f"churn-to-braze[{cluster.engine}]"
        raise StudyError(f"cluster.engine: install {package} for it") from None
