"""The front door: a study and the steps of the work as its methods.

study = churn.open()            the nearest study whose store holds events
study.ingest()                  new and changed extract files into the event log
study.events()                  the event log, a LazyFrame
study.definitions()             which silence to call churn
study.snapshot()                features and label, for a model of your own
study.train().save()            learn and store a model
study.backtest()                how good it would have been, cutoff by cutoff
study.score().save()            probabilities, segments, reasons, gates
study.export(send=True)         write to Braze what changed
study.monitor()                 past scores against what came true
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn import results
from churn.settings import Settings, candidates, demos, find, load
from churn.store import Store, create_or_open, open_filled

if TYPE_CHECKING:
    import polars as pl

    from churn.explore.definitions import Rule
    from churn.features.cutoffs import Calendar
    from churn.model.fitting import Model


@dataclass(frozen=True)
class Study:
    """One study: its settings, and the store that was made from its extracts.

    Cutoffs are dates or texts such as "2026-03-01"; an empty text means the default
    cutoff of that step. Every step opens the store once and reads it as of that moment,
    whatever an ingest commits meanwhile.
    """

    file: Path
    settings: Settings

    def __repr__(self) -> str:
        return f"Study({str(self.file)!r})"

    @property
    def store(self) -> Store:
        """The store as it is now. Raises StoreError while it holds no events."""
        return open_filled(self.settings)

    @property
    def calendar(self) -> Calendar:
        """Which cutoffs the log allows, and which of them have a known outcome."""
        from churn.features.cutoffs import Calendar

        return Calendar.of(self.store)

    @property
    def is_simulated(self) -> bool:
        """Whether the users were invented by `churn demo` or `churn simulate`."""
        return self.settings.is_simulated

    # The event log

    def ingest(self, now: str = "") -> results.Ingest:
        """Add every new extract file to the event log, and replace changed ones.

        ``now`` (UTC) is the time after which events count as being from the future; by
        default it is the present time. Raises InputError for a file that can't be read,
        before anything is stored.
        """
        return results.Ingest.run(self.settings, now)

    def events(self) -> pl.LazyFrame:
        """The event log, with one row per event (schemas.Events)."""
        return self.store.scan("events")

    def activity(self) -> pl.LazyFrame:
        """Daily activity by user, event and the day it was known.

        A key may occur in several rows, so sum over them.
        """
        return self.store.scan("activity")

    def users(self) -> pl.LazyFrame:
        """When each user was first seen, by source and platform.

        A first event that arrived late adds a row, so take the earliest.
        """
        return self.store.scan("users")

    def quarantine(self) -> pl.DataFrame:
        """Rows kept out of the log: source, file, row number and reason."""
        columns = ("source", "source_file", "source_row", "reason")
        return (
            create_or_open(self.settings).scan("quarantine").select(columns).collect()
        )

    def inventory(self) -> results.Inventory:
        """What the whole log holds: days, events, users and ids."""
        return results.Inventory(self.store)

    def check_active_events(self) -> None:
        """Raise StudyError if counts_as_active names an event that the log lacks."""
        from churn.features import snapshots

        snapshots.check_active_events(self.store)

    # The definition of churn

    def retention(self) -> pl.DataFrame:
        """Share of each monthly cohort active n months after it was first seen."""
        from churn.explore import retention

        return retention.retention(self.store)

    def return_curve(self, max_return_rate: float = 0.1) -> results.Silence:
        """How many users still come back after n days of silence."""
        return results.Silence.of(self.store, max_return_rate)

    def definitions(self, rule: Rule | None = None) -> results.Definitions:
        """Candidate definitions of churn, compared under a rule."""
        return results.Definitions.of(self.store, rule)

    # A model

    def snapshot(
        self,
        *cutoffs: str | date,
        n_users: int | None = None,
    ) -> pl.DataFrame:
        """Features and label of the users eligible at each cutoff.

        Columns: user_id, cutoff, the features, and ``churned`` (null while the outcome
        isn't known). Features that no row has a value for are left out: scikit-learn's
        boosting can't take them. Without a cutoff: the newest whose outcome is known
        and around which no days are missing from the log. ``n_users``: only the rows of
        about so many of all users ever seen, always the same ones; null for all, which
        takes 1.7 GB per million rows.

            snapshot = study.snapshot()
            X, y = snapshot.drop("user_id", "cutoff", "churned"), snapshot["churned"]
        """
        from churn.features import snapshots
        from churn.features.cutoffs import Calendar

        store = self.store
        chosen = [day for day in map(_cutoff, cutoffs) if day]
        chosen = chosen or [Calendar.of(store).newest_whole()]
        plan = snapshots.plan(store, max(chosen))
        share = 1.0 if n_users is None else n_users / store.n_rows("users")
        observed = snapshots.observe(store, chosen, plan, min(share, 1.0))
        snapshot = snapshots.label(observed, store).drop("return_days")
        empty = [c.name for c in snapshot if c.null_count() == snapshot.height]
        return snapshot.drop(name for name in empty if name != "churned")

    def train(
        self, cutoff: str = "", cutoffs: Sequence[str] = (), model: Any = None
    ) -> results.Training:
        """Learn a model from past cutoffs whose outcome is known.

        ``cutoff`` is the newest to learn from, ``cutoffs`` an explicit list instead.
        Cutoffs around missing days are left out, and refused in a list.
        ``model`` is an unfitted scikit-learn classifier of your own that takes the
        place of the blend; save() stores it for scoring like ours.
        """
        from churn.model import training

        listed = sorted({day for day in map(_cutoff, cutoffs) if day})
        store = self.store
        newest = _cutoff(cutoff)
        chosen = listed or training.training_cutoffs(store, newest)
        left_out = [] if listed else training.left_out(store, newest)
        trained = training.train(store, chosen, model, left_out)
        return results.Training(store, trained)

    def model(self, model_id: str = "") -> Model:
        """A stored model, by default the champion."""
        from churn.model import storage

        return storage.load(self.store, model_id)

    def backtest(
        self, cutoff: str = "", models: Mapping[str, Any] | None = None
    ) -> results.Backtest:
        """Score past cutoffs as of their own day, and compare the scores with outcomes.

        ``cutoff`` is the newest test cutoff. ``models`` are unfitted scikit-learn
        classifiers by name, learned and scored on the same rows and days as ours.
        """
        from churn.evaluation import backtest

        newest = _cutoff(cutoff)
        store = self.store
        done = backtest.backtest(store, newest, models, progress=False)
        return results.Backtest(store, done)

    # Scores and delivery

    def score(
        self, cutoff: str = "", model_id: str = "", now: str = ""
    ) -> results.Scores:
        """Score every user eligible at a cutoff, by default the newest possible one.

        ``now`` (UTC) is the time by which the data's age is judged; default: the clock.
        """
        return results.Scores.make(self.store, _cutoff(cutoff), model_id, now)

    def scores(self, cutoff: str = "") -> results.Scores:
        """Stored scores with their findings, by default those of the newest cutoff."""
        from churn.scoring import scores

        store = self.store
        table, findings = scores.read(store, _cutoff(cutoff))
        return results.Scores(store, table, findings)

    def monitor(self, now: str = "") -> results.Monitor:
        """Past scores against what came true; ``now`` as in ``score``."""
        return results.Monitor.of(self.store, now)

    def export(
        self,
        cutoff: str = "",
        *,
        send: bool = False,
        accept: Sequence[str] = (),
        what_if: str = "",
        run_id: str = "",
        now: str = "",
    ) -> results.Export:
        """Write to Braze what changed since it last acknowledged; a dry run by default.

        ``accept`` names the failed gates and exceeded limits to ignore. ``what_if`` is
        another study file, whose segments and attributes are tried in a dry run on the
        same scores. ``now`` as in ``score``. Raises StudyError for invented users that
        would be sent to anything but a sandbox on this machine.
        """
        if send and not what_if:
            self.settings.refuse_invented_users()
        return results.Export.run(
            self.store,
            cutoff,
            send,
            accept,
            what_if,
            run_id,
            now,
        )


def open(path: str | Path | None = None, *, holds_events: bool = True) -> Study:
    """Open a study.

    ``path`` is its file. Without one, the study that CHURN_STUDY names, else the first
    churn.toml from the working folder upward whose store holds events, else that of
    `churn demo`, if there is one. The path of the chosen file is printed. With
    ``holds_events=False``, which a first ingest needs, the first churn.toml is taken
    even if its store is empty; the demo's only if its extracts have no file either.

    Raises StudyError if there is none, or if it has faults.
    """
    is_named = path or os.environ.get("CHURN_STUDY")
    is_free = not is_named and holds_events
    nearby = [*candidates(), *demos()] if is_free else []
    file = next(filter(_holds_events, nearby), None) or find(path)
    if not (is_named or holds_events or _holds_events(file)):
        from churn.events.sources.find import has_files

        if not has_files(load(file)):
            file = next(filter(_holds_events, demos()), file)
    study = Study(file, load(file))
    if not path:
        print(f"study: {file}{_remark(study)}")
    return study


def _remark(study: Study) -> str:
    """What a person should know of a study that was found, not named."""
    if not study.is_simulated:
        return ""
    is_below = study.file in demos() and study.file not in candidates()
    why = "the demo, since no study of yours holds data: " if is_below else ""
    return f" ({why}invented users, sent to a sandbox only)"


def _holds_events(file: Path) -> bool:
    return create_or_open(load(file)).first_date is not None


def _cutoff(value: str | date) -> date | None:
    from churn.report.parameters import parse_cutoff

    return value if isinstance(value, date) else parse_cutoff(value)
