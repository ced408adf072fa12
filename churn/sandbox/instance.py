"""One running sandbox: its address, its key and its state."""

from dataclasses import dataclass, field

from churn.sandbox.faults import Faults
from churn.sandbox.limits import Limiter
from churn.sandbox.state import State


@dataclass
class Sandbox:
    """A running sandbox, whose ``state`` tests may read and change."""

    key: str = field(repr=False)
    url: str = ""
    # Whether a 401 repeats the key that was offered, as Braze does.
    echo_key: bool = False
    state: State = field(default_factory=State)
    faults: Faults = field(default_factory=Faults)
    limiter: Limiter = field(init=False)

    def __post_init__(self) -> None:
        """Pass the state's options to the other parts."""
        self.limiter = Limiter(self.state.options)
        self.echo_key = self.echo_key or self.state.options.echo_key

    def permissions(self, authorization: str) -> frozenset[str] | None:
        """The permissions of an Authorization header's key; None for an unknown key."""
        scheme, _, key = authorization.partition(" ")
        if scheme != "Bearer":
            return None
        if key == self.key:
            return self.state.options.permissions
        return self.state.options.more_keys.get(key)
