"""The table [cluster] of churn.toml: which processes compute, and where they are."""

from typing import Literal, Self

from pydantic import Field, model_validator

from churn.settings.values import Section, no_credentials


class Cluster(Section):
    """Which processes compute, and where they are.

    ``address`` is that of a Dask scheduler, or the master of Spark; without one, Spark
    takes the session it finds, or the master that spark-submit names. ``processes`` is
    how many compute at once: it decides into how many groups the users are divided.
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
