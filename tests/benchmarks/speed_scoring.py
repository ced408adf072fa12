"""The speed of scoring many users, stage by stage."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from churn.features import by_group, snapshots
from churn.features.cutoffs import Calendar
from churn.model import fitting, storage, training
from churn.scoring import reasons, scores, segments

from . import speed_store
from .speed_measure import Cost, Options, Parts, Row, Work, alternately, cost

SAMPLE_EVENTS = 400_000
"""Events of the log on which the model is trained."""

DAYS = 150
"""Days of the log whose users are scored: its observation window and some more."""

EVENTS_PER_SCORED = 52
"""Events of such a log for every user who is eligible at its end, roughly."""

EXPLAIN = "probabilities and reasons"
"""Name of the stage beside which the prediction alone stands."""

STAGES: dict[str, tuple[Any, str]] = {
    "the app's level": (by_group, "level"),
    "features": (by_group, "features_of"),
    EXPLAIN: (reasons, "explain"),
    "segments": (segments, "cut"),
    "identifiers": (scores, "addressed"),
    "gates": (scores, "check"),
    "write": (scores, "write"),
}
"""The function of each stage, as a module and a name."""


def rows(given: Options) -> Iterator[Row]:
    """Each stage per million users, and all of them together with their memory."""
    folder = given.folder / f"scored-{given.scored}"
    n_events = given.scored * EVENTS_PER_SCORED
    cost(speed_store.made, folder, n_events, DAYS)
    cost(model_stored, given.folder, folder)
    steps = ((scored, folder), (predicted, folder))
    done, peer = alternately(given.repeat, *steps)
    yield from staged(done, peer)


def staged(done: Cost, peer: Cost) -> Iterator[Row]:
    """The rows of one scoring, with the prediction alone beside one stage."""
    n_users = done.parts["users"]
    millions = n_users / 1e6
    what = f"scoring {n_users:,.0f} users"
    unit = "s per million"
    for stage in STAGES:
        name = f"{what}: {stage}"
        seconds = done.parts[stage] / millions
        if stage == EXPLAIN:
            alone = peer.seconds / millions
            yield Row(f"{name}, against probabilities alone", unit, seconds, alone)
        else:
            yield Row(name, unit, seconds)
    total = done.seconds / millions
    yield Row(f"{what}: all", unit, total, megabytes=done.megabytes)


def model_stored(home: Path, folder: Path) -> Work:
    """Work that trains a model on a sample and stores it in the store of a folder.

    The sample and its model stay in ``home``.
    """
    sample = home / f"store-{SAMPLE_EVENTS}"

    def work() -> None:
        speed_store.made(sample, SAMPLE_EVENTS)()
        store = speed_store.opened(sample)
        if not store.place.names("models"):
            trained = training.train(store, training.training_cutoffs(store))
            storage.save(trained.model, store, {})
        model = storage.load(store)
        storage.save(model, speed_store.opened(folder), {})

    return work


def scored(folder: Path) -> Work:
    """Work that scores all eligible users and returns the seconds of each stage."""
    store = speed_store.opened(folder)
    model = storage.load(store)
    cutoff = Calendar.of(store).end

    def work() -> Parts:
        clock = Clock()
        with ExitStack() as patches:
            for stage, (module, name) in STAGES.items():
                timed = clock.timed(stage, getattr(module, name))
                patches.enter_context(mock.patch.object(module, name, timed))
            table = scores.make(store, model, cutoff)
            findings = scores.check(store, table, model)
            # An invented log of last year can't pass every gate.
            failed = findings.filter(~findings["passed"])["gate"].to_list()
            scores.write(store, table, findings, failed)
        return {**clock.seconds, "users": table.height}

    return work


def predicted(folder: Path) -> Work:
    """Work that predicts the probabilities of the same users, without reasons."""
    store = speed_store.opened(folder)
    model = storage.load(store)
    snapshot = snapshots.observe(store, [Calendar.of(store).end], model.plan)

    def work() -> None:
        fitting.predict(model, snapshot)

    return work


@dataclass
class Clock:
    """Processor seconds of functions, each called by some stage.

    A function that another timed function calls counts as part of that.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))
    running: str = ""

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose processor seconds are added to those of the stage."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self.running:
                return function(*args, **kwargs)
            self.running = stage
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[stage] += time.process_time() - started
                self.running = ""

        return timed
