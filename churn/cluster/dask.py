"""The engine of a Dask cluster, which is there already and has an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from churn.cluster import Groups, Work, library
from churn.errors import ClusterError

if TYPE_CHECKING:
    from churn.settings import Cluster

CONNECT_SECONDS = 30


def results(
    work: Work,
    groups: Groups,
    cluster: Cluster,
    what: str,
) -> list[Any]:
    """See ``cluster.map_buckets``. The scheduler gives a dead worker's groups to others."""
    distributed = library("distributed", cluster)
    try:
        client = distributed.Client(cluster.address, timeout=CONNECT_SECONDS)
    except OSError as error:
        raise ClusterError(f"{cluster.name} doesn't answer ({error})") from None
    with client:
        futures = client.map(work, groups, pure=False)
        try:
            ended = distributed.as_completed(
                futures,
                with_results=True,
                timeout=60 * cluster.wait_minutes,
            )
            done = {future.key: result for future, result in ended}
            if any(future.cancelled() for future in futures):
                lost = "it has dropped the work, or its scheduler is gone"
                raise ClusterError(f"{what}: {cluster.name}: {lost}")
        except distributed.KilledWorker:
            lost = "its workers die at it: is there memory for it?"
            raise ClusterError(f"{what} on {cluster.name}: {lost}") from None
        finally:
            # After an error or a time-out, groups that have not begun never do.
            client.cancel(futures)
    return [done[future.key] for future in futures]
