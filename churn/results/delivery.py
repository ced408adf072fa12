"""Results of a scoring: scores that may be sent, and what the gates say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Self

import polars as pl

from churn.events import addresses
from churn.report import runs
from churn.report.parameters import parse_now
from churn.report.verdict import Verdict
from churn.scoring import age_gate, scores, summary
from churn.store import Store

if TYPE_CHECKING:
    from churn.model.fitting import Model
    from churn.monitoring.promises import Promise
    from churn.report.threshold_slider import ThresholdSlider


@dataclass(frozen=True)
class Scores:
    """Scores of one cutoff with what the gates found.

    ``table`` has a row per user (schemas.Scores), ``findings`` one per gate. ``model``
    is null where the scores were read from the store. ``now`` is the time by which
    their age is told, null for the clock. ``is_past`` says that the cutoff was asked
    for, so that it may be old. ``promise``: what is expected of these scores.
    """

    store: Store
    table: pl.DataFrame
    findings: pl.DataFrame
    model: Model | None = None
    now: datetime | None = None
    is_past: bool = False
    promise: Promise | None = None

    @classmethod
    def make(
        cls,
        store: Store,
        cutoff: date | None,
        model_id: str,
        now: str,
    ) -> Self:
        """Score a cutoff, by default the day after the last complete one."""
        from churn.cluster import start

        # Processes load the libraries of a scoring while this one does so below.
        start(store.settings.cluster, "churn.scoring.reasons")
        from churn.features.cutoffs import Calendar
        from churn.model import baseline, storage
        from churn.monitoring import promises

        at = cutoff or Calendar.of(store).end
        fitted = storage.load(store, model_id)
        seen = baseline.read(store, fitted.model_id)
        bins = seen.bins if seen else None
        table, counted = scores.counted(store, fitted, at, bins)
        present = parse_now(now)
        findings = scores.check(store, table, fitted, present)
        return cls(
            store,
            table,
            findings,
            fitted,
            present,
            is_past=cutoff is not None,
            promise=promises.make(store, fitted, table, seen, counted),
        )

    @property
    def cutoff(self) -> date:
        """The day the scores are for: nothing from it or later was seen."""
        day: date = self.table["cutoff"][0]
        return day

    @property
    def age_days(self) -> int:
        """Number of whole days that have passed since the cutoff."""
        present = age_gate.today(self.store.settings, self.now)
        return (present - self.cutoff).days

    def summary(self) -> str:
        """How many users were scored, for which day, how old that is, by which model."""
        model_id = self.table["model_id"][0]
        n_users = f"{self.table.height:,} users"
        age = age_gate.described(self.age_days)
        return f"{n_users} at {self.cutoff}, {age}, model {model_id}"

    def verdict(self, accept: Sequence[str] = ()) -> Verdict:
        """Whom to message, how sure that is, and whether the gates allow it.

        ``accept``: the gates that ``save`` is to accept.
        """
        from churn.report import delivery_verdicts

        accepted = [*accept, age_gate.GATE] if self.is_past else accept
        return delivery_verdicts.scores(
            self.table,
            self.findings,
            self.store.settings,
            accepted,
            self.model.calibration if self.model else None,
            self.model.calibration_cutoff if self.model else None,
        )

    def save(self, accept: Sequence[str] = (), why: str = "") -> str:
        """Write scores and findings, replacing those of the same cutoff.

        Returns the path or URL of the scores. Raises GateError, and writes nothing, if
        a gate failed that ``accept`` doesn't name. Accepted days are remembered with
        ``why``, so that later nights don't ask for them again. The age of a cutoff that was asked
        for is recorded and does not stop it; it does stop an export.
        """
        accepted = [*accept, age_gate.GATE] if self.is_past else accept
        written = scores.write(self.store, self.table, self.findings, accepted, why)
        if self.promise:
            from churn.monitoring import promises

            promises.keep(self.store, self.promise)
        return written

    def gates(self) -> pl.DataFrame:
        """What each gate says: gate, passed, sentence."""
        return self.findings.select("gate", "passed", "sentence")

    def match(self) -> pl.DataFrame:
        """How many scored users have an identifier of their own, by source and platform.

        Only with a Currents extract does it count whom Braze knows.
        """
        matched = addresses.match_report(self.store, self.table)
        return matched.rename({"n": "users"})

    def segments(self) -> pl.DataFrame:
        """Users per segment, riskiest first: segment, users, share, mean_probability."""
        counts = summary.segment_counts(self.table, self.store.settings)
        return counts.rename({"n": "users"})

    def thresholds(self) -> dict[str, float]:
        """Probability at which each segment begins."""
        return summary.thresholds(self.table, self.store.settings)

    def threshold_slider(self) -> ThresholdSlider:
        """Users, and churners to expect, from each threshold on."""
        from churn.evaluation import thresholds
        from churn.report.threshold_slider import ThresholdSlider

        settings = self.store.settings
        return ThresholdSlider(
            thresholds.of_scores(self.table["probability"]),
            settings.segments,
            self.cutoff,
            0,
            settings.activity.currency,
        )

    def reasons(self) -> pl.DataFrame:
        """Users per first reason, the commonest first."""
        return summary.reason_counts(self.table).rename({"n": "users"})

    def reason_examples(self) -> pl.DataFrame:
        """Somebody for each first reason, under a pseudonym, with reasons in words."""
        if self.model is None:
            raise ValueError("stored scores have no model at hand: score them again")
        from churn.report import reason_words

        return reason_words.examples(self.store, self.model, self.table)

    @cached_property
    def _stability(self) -> pl.DataFrame:
        previous = scores.previous(self.store, self.cutoff)
        return summary.stability(self.table, previous, self.store.settings)

    def stability(self) -> pl.DataFrame:
        """Users whose segment changed since the scoring before, and without a band."""
        return self._stability.rename({"n_top": "in_highest_segment"})

    def record(self) -> None:
        """Put the counts into the executed notebook."""
        segments = self.segments().select("segment", "users").iter_rows()
        failed = self.findings.filter(~pl.col("passed"))
        runs.record(
            cutoff=self.cutoff,
            data_age_days=self.age_days,
            model_id=self.table["model_id"][0],
            n_scored=self.table.height,
            mean_probability=self.table["probability"].mean(),
            n_changed=self._stability["n_changed"][0],
            n_changed_without_hysteresis=self._stability["n_changed"][1],
            segments=dict(segments),
            failed_gates=failed["gate"].to_list(),
            findings=failed.select("gate", "sentence").to_dicts(),
            expected=self.promise.expected if self.promise else {},
        )
