"""The table [receive] of churn.toml: where postbacks go, and how many are taken."""

from pydantic import Field

from churn.settings.values import Address, Section

MIB = 2**20


class Receive(Section):
    """Where `churn receive` writes postbacks, and what it takes at a time.

    ``path`` is a folder or an address in an object store. ``spool`` is a folder on this
    machine, which holds what isn't there yet.
    """

    path: Address = "data/raw/postbacks"
    spool: str = "data/receive"
    file_bytes: int = Field(default=32 * MIB, ge=MIB, le=1024 * MIB)
    max_body_bytes: int = Field(default=MIB, ge=1024, le=16 * MIB)
    max_waiting_bytes: int = Field(default=32 * MIB, ge=16 * MIB, le=4096 * MIB)
    max_connections: int = Field(default=800, ge=1, le=100_000)
    max_per_second: float = Field(default=2000, gt=0)
