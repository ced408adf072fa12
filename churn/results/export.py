"""Results of an export: what was written to Braze and for audiences, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self

import polars as pl

from churn import forget
from churn.audiences import export as audiences
from churn.braze import delivery, export, id_lists
from churn.report import delivery_tables, runs
from churn.report.parameters import parse_cutoff, parse_now
from churn.report.verdict import Verdict
from churn.scoring import age_gate, scores, segments
from churn.settings import Settings, load
from churn.store import Store


@dataclass(frozen=True)
class Export:
    """What an export wrote to Braze or, in a dry run, would write.

    ``lists``: counts of each audience, see ``churn.audiences.export.counts``.
    """

    done: delivery.Export
    settings: Settings
    cutoff: date
    lists: Sequence[audiences.Counts] = ()

    @classmethod
    def run(
        cls,
        store: Store,
        cutoff: str,
        send: bool,
        accept: Sequence[str],
        what_if: str,
        run_id: str,
        now: str,
    ) -> Self:
        """Export stored scores; with ``what_if`` another study's view of them, dry."""
        table, stored = scores.read(store, parse_cutoff(cutoff))
        volume = store.scan("volume").collect()
        present = age_gate.today(store.settings, parse_now(now))
        findings = age_gate.refreshed(stored, volume, store.settings, present)
        if what_if:
            store, send = store.under(load(what_if)), False
            earlier = scores.previous(store, table["cutoff"][0])
            table = scores.recut(table, store.settings, earlier)
        addressed = scores.addressed(store, table)
        leaving = forget.opted_out_users(store)
        opted_out = forget.identifiers(store, leaving)
        how = delivery.Delivery(
            store.settings,
            run_id=run_id or runs.new_run_id("export"),
            send=send,
            accept=accept,
            opted_out=opted_out,
            progress=False,
        )
        done = export.run(addressed, findings, how)
        if not what_if:
            id_lists.write(addressed, store.settings, opted_out)
        lists = audiences.run(store, table, leaving, send)
        return cls(done, store.settings, table["cutoff"][0], lists)

    def verdict(self) -> Verdict:
        """What was written or, in a dry run, would be, and what to do with it."""
        from churn.report import delivery_verdicts

        return delivery_verdicts.export(
            self.done.summary,
            self.cutoff - timedelta(days=1),
            self.settings.braze,
            self.settings.segments[0].name,
        )

    def destination(self) -> str:
        """Endpoint and workspace, and whether it is a sandbox and not Braze."""
        return delivery_tables.destination(self.done.summary)

    def summary(self) -> pl.DataFrame:
        """Where it went, users, requests and data points; the heading says if dry."""
        return delivery_tables.export_summary(self.done.summary)

    def limits(self) -> str:
        """Which limits of the study the export passes, a line each."""
        passed = self.done.summary["beyond_limits"]
        return "\n".join(passed) or "Within the limits of the study."

    def transitions(self) -> pl.DataFrame:
        """Users by the segment Braze has and the new one: from, to, n.

        In the study's order, riskiest first, then those in no segment.
        """
        by_place = [segments.place(name, self.segments) for name in ("from", "to")]
        return self.done.transitions.sort(*by_place, "from", "to")

    def audiences(self) -> pl.DataFrame:
        """People, ids and changes of each audience, with what to mind, a row each."""
        is_dry = self.done.summary["dry_run"]
        return delivery_tables.audiences(self.lists, is_dry)

    @property
    def segments(self) -> list[str]:
        """The study's segments, riskiest first."""
        return segments.names(self.settings)

    def outcomes(self) -> pl.DataFrame:
        """Users by outcome and reason."""
        return export.outcome_counts(self.done)

    def sample(self) -> str:
        """A request body, ids replaced by pseudonyms."""
        bodies = self.done.sample_bodies
        return bodies[0] if bodies else "nothing to send"

    def record(self) -> None:
        """Put the counts into the executed notebook."""
        runs.record(**self.done.summary, audiences=self.lists)
