"""Work on groups of buckets or files by other processes: here, on Dask or on Spark.

An engine may do a group's work twice, even at the same time, since it can't know how
far a lost worker had come: both times must give the same result.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
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

    engines = {"local": local.results, "dask": dask.results, "spark": spark.results}
    try:
        return engines[cluster.engine](work, groups, cluster, what)
    except TimeoutError:
        waited = f"waited {cluster.wait_minutes:g} minutes for {what}"
        raise ClusterError(f"{waited} from {cluster.name}: look at its log") from None


def library(name: str, cluster: Cluster) -> Any:
    """The engine's library. Raises StudyError if it isn't installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = f"churn-to-braze[{cluster.engine}]"
        raise StudyError(f"cluster.engine: install {package} for it") from None
