"""The engine of processes of this machine."""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from churn.cluster import Groups, Work
from churn.errors import ClusterError

if TYPE_CHECKING:
    from churn.settings import Cluster

ATTEMPTS = 4
"""Number of times that processes may be killed before the work is given up."""


def keep() -> None:
    """Let this process live on when its memory grows, as libraries and models do once.

    loky would take 300 MB for a leak, and start another process in its place.
    """
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize


def start(cluster: Cluster, module: str) -> None:
    """Start the processes, which then import a module while this one goes on."""
    pool = _pool(cluster)
    for _ in range(cluster.processes):
        pool.submit(_import, module)


def _import(module: str) -> None:
    importlib.import_module(module)


def _pool(cluster: Cluster) -> Any:
    """The processes, which are started unless they run already."""
    from joblib.externals import loky

    threads = str(max(1, loky.cpu_count() // cluster.processes))
    own = {"POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS", threads)}
    return loky.get_reusable_executor(
        cluster.processes,
        initializer=keep,
        env=own,
    )


def results(
    work: Work,
    groups: Groups,
    cluster: Cluster,
    what: str,
) -> list[Any]:
    """See ``cluster.map_buckets``. If a process is killed, its groups are done again."""
    from joblib.externals import loky

    until = time.monotonic() + 60 * cluster.wait_minutes
    done: dict[int, Any] = {}
    for _ in range(ATTEMPTS):
        pool = _pool(cluster)
        futures: dict[Any, int] = {}
        try:
            missing = [n for n in range(len(groups)) if n not in done]
            futures = {pool.submit(work, groups[n]): n for n in missing}
            for future in loky.as_completed(futures, until - time.monotonic()):
                done[futures[future]] = future.result()
            return [done[n] for n in range(len(groups))]
        except loky.BrokenProcessPool:
            continue
        except (TimeoutError, KeyboardInterrupt):
            pool.shutdown(wait=False, kill_workers=True)
            raise
        except Exception:
            # Groups that wait are given up; those that run must end before their files
            # are cleared away.
            running = [future for future in futures if not future.cancel()]
            loky.wait(running, until - time.monotonic())
            raise
    lost = f"processes were killed {ATTEMPTS} times; out of memory?"
    raise ClusterError(f"{what}: {lost}")
