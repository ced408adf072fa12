"""The engine of processes of this machine."""

from __future__ import annotations

import os
import time
import warnings
from typing import TYPE_CHECKING, Any

from churn.cluster import Groups, Work
from churn.errors import ClusterError

if TYPE_CHECKING:
    from churn.settings import Cluster

ATTEMPTS = 4
"""Number of times that processes may be killed before the work is given up."""

REPLACED = "A worker stopped while some jobs"
"""How loky begins its warning about a process that it replaces as its memory grew."""


def results(
    work: Work,
    groups: Groups,
    cluster: Cluster,
    what: str,
) -> list[Any]:
    """See ``cluster.map_buckets``. If a process is killed, its groups are done again."""
    from joblib.externals import loky

    until = time.monotonic() + 60 * cluster.wait_minutes
    threads = str(max(1, loky.cpu_count() // cluster.processes))
    own = {"POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS", threads)}
    done: dict[int, Any] = {}
    for _ in range(ATTEMPTS):
        pool = loky.get_reusable_executor(cluster.processes, env=own)
        futures: dict[Any, int] = {}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=REPLACED)
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
