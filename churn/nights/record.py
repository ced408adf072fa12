"""What the newest night has done so far: a file in the store, read by the next one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from churn.errors import FAILED
from churn.report.runs import dump, plain
from churn.store import Place

FILE = "nights/newest.json"

OVER = ("done", "skipped")
"""Statuses of a stage that needn't be done again."""

STATUSES = {0: "done", 1: "failed", 3: "decide", 4: "later"}
"""Status of a stage or night by its exit code; any other code means failed."""


@dataclass(frozen=True)
class Stage:
    """What came of one stage.

    - ``status``: done, skipped, running, failed, decide (a gate or limit asks for a
      decision) or later (try again later).
    - ``counts``: what went in, and what came out.
    - ``findings``: gate and sentence of each gate that failed.
    - ``warnings``: sentences that were logged as warnings.
    - ``run``: the run folder's name; empty for a stage without a notebook.
    - ``reason``: why it was skipped, done or stopped; empty if there is nothing to say.
    - ``inputs``: digest of all it depends on, by which a later night knows it again.
    - ``is_reused``: whether an earlier night did it, and nothing has changed since.
    """

    name: str
    status: str
    seconds: float = 0.0
    counts: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Mapping[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    run: str = ""
    reason: str = ""
    inputs: str = ""
    is_reused: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the stage was done, now or before."""
        return self.status in OVER


@dataclass(frozen=True)
class Night:
    """A night: its id, when it began (UTC), and its stages by name, in their order.

    - ``status``: running, done, failed, decide or later.
    - ``error``: why it stopped; empty otherwise.
    - ``send``: whether it writes to Braze.
    - ``resumes``: the id of the night that stopped and whose stages it takes over.
    - ``earlier``: stages that earlier nights did and that may still serve.
    """

    night: str
    began: str
    status: str = "running"
    error: str = ""
    send: bool = False
    resumes: str = ""
    stages: Mapping[str, Stage] = field(default_factory=dict)
    earlier: Mapping[str, Stage] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """That of the command which did it."""
        codes = {status: code for code, status in STATUSES.items()}
        return codes.get(self.status, FAILED)

    @property
    def done(self) -> dict[str, Stage]:
        """The stages that are over, in this night or in earlier ones."""
        known = {**self.earlier, **self.stages}
        return {name: stage for name, stage in known.items() if stage.is_over}

    def with_stage(self, stage: Stage) -> "Night":
        """The night after one more stage."""
        return replace(self, stages={**self.stages, stage.name: stage})

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        began = datetime.fromisoformat(self.began)
        return (datetime.now(UTC) - began).total_seconds()


def read(place: Place) -> Night | None:
    """The newest night; null without one, or if its file can't be read.

    A night without a readable record is done as a whole, which repeats no delivery.
    """
    content = place.read(FILE)
    try:
        facts = json.loads(content or b"")
        for part in ("stages", "earlier"):
            facts[part] = {name: _stage(one) for name, one in facts[part].items()}
        return Night(**facts)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _stage(facts: dict[str, Any]) -> Stage:
    for name in ("findings", "warnings"):
        facts[name] = tuple(facts[name])
    return Stage(**facts)


def write(
    place: Place,
    night: Night,
) -> None:
    """Keep a night as the newest."""
    place.write(FILE, dump(plain(asdict(night))))
