"""The table [cluster] of churn.toml: which processes compute, and where they are."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from churn.settings.values import Section, no_credentials

PROCESS_BYTES = 2 * 10**9
"""Memory that a process needs at most, beside what the command itself holds."""

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Where a container says how much memory it may use."""


def fitting_processes() -> int:
    """As many processes as this machine has cores and free memory for, at least one."""
    import joblib
    import psutil

    n_bytes: int = psutil.virtual_memory().available
    if MEMORY_LIMIT.exists() and (limit := MEMORY_LIMIT.read_text().strip()).isdigit():
        n_bytes = min(n_bytes, int(limit))
    n_cores: int = joblib.cpu_count()
    return max(1, min(n_cores, n_bytes // PROCESS_BYTES))


class Cluster(Section):
    """Which processes compute, and where they are.

    ``address`` is that of a Dask scheduler, or the master of Spark; without one, Spark
    takes the session it finds, or the master that spark-submit names. ``processes`` is
    how many compute at once: it decides into how many groups the users are divided.
    For those of this machine it may be "auto", see ``fitting_processes``.
    ``wait_minutes``: the longest wait for one step's groups.
    """

    engine: Literal["local", "dask", "spark"] = "local"
    address: str = ""
    processes: int = Field(
        default=1,
        ge=1,
        le=10_000,
    )
    wait_minutes: float = Field(default=120, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("processes") != "auto":
            return values
        if values.get("engine", "local") != "local":
            raise ValueError(
                'processes = "auto" counts the cores of this machine: of a cluster '
                "write how many processes compute at once"
            )
        return {**values, "processes": fitting_processes()}

    @model_validator(mode="after")
    def _check(self) -> Self:
        no_credentials(self.address)
        if self.engine == "dask" and not self.address:
            raise ValueError(
                "engine dask needs the address of its scheduler, such as "
                "'tcp://scheduler:8786'"
            )
        if self.engine == "local" and self.address:
            raise ValueError(
                "address is for the engines dask and spark; local processes need none"
            )
        return self

    @property
    def name(self) -> str:
        """Where the work is done, for errors."""
        if self.engine == "local":
            return f"{self.processes} processes of this machine"
        at = f" at {self.address}" if self.address else ""
        return f"{self.engine.capitalize()}{at}"

    @property
    def is_one_process(self) -> bool:
        """Whether everything is computed in the process that asks for it."""
        return self.engine == "local" and self.processes == 1
