"""Results about the past: what came in, who is in the log, which silence is churn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from churn.events import coverage, erasure, ingest
from churn.events.ingest import Ingest as Ingested
from churn.explore import definitions, inventory, leaving, one_user, retention
from churn.report import history_sentences as sentences
from churn.report import history_verdicts as verdicts
from churn.report import people_sentences, runs
from churn.report.parameters import parse_now
from churn.report.verdict import Verdict
from churn.scoring import age_gate
from churn.settings import Settings
from churn.store import Store, create_or_open


@dataclass(frozen=True)
class Ingest:
    """What one ingest did with the new and changed extract files."""

    done: Ingested
    store: Store
    present: date

    @classmethod
    def run(cls, settings: Settings, now: str) -> Ingest:
        """Read the files; ``now`` is the present time in UTC, empty for the clock."""
        at = parse_now(now)
        done = ingest.ingest(settings, at, progress=False)
        return cls(done, create_or_open(settings), age_gate.today(settings, at))

    def verdict(self) -> Verdict:
        """Whether the log is complete, and until when."""
        volume = self.store.scan("volume").collect()
        settings = self.store.settings
        missing = coverage.missing_days(volume, settings)
        until = self.done.covered_until or self.present
        cutoff = until + timedelta(days=1)
        age = age_gate.stale_data(volume, settings, cutoff, self.present)
        return verdicts.ingest(self.done, missing, age)

    def summary(self) -> str:
        """Counts of files and rows, reasons of quarantine, coverage; a line each."""
        return "\n".join(sentences.ingest(self.done))

    def by_extract(self) -> pl.DataFrame:
        """Files read now by extract: n_files, rows, kept, duplicate, quarantined."""
        return inventory.ingested(self.done.files)

    def reasons(self) -> pl.DataFrame:
        """Why rows were kept out of the log: reason, n."""
        return self.done.reasons

    def examples(self) -> pl.DataFrame:
        """Some of these rows: reason, source_file, source_row, value (if it is known).

        The value is the cell that was refused, without what may name a person.
        """
        return self.done.examples

    def names(self) -> pl.DataFrame:
        """New events that most people have: event, kind, n_events, n_people, n_days.

        Where rows of the log were replaced, they are those of the whole log.
        """
        return self.done.seen.names

    def record(self) -> None:
        """Put the counts into the executed notebook."""
        runs.record(
            **self.done.totals,
            n_new_files=self.done.n_new_files,
            n_again=self.done.n_again,
            n_waiting=len(self.done.waiting),
            n_gone=len(self.done.gone),
            n_added=self.done.n_added,
            n_replaced=self.done.n_replaced,
            n_removed=self.done.n_removed,
            covered_until=self.done.covered_until,
            **self.done.people,
        )


@dataclass(frozen=True)
class Inventory:
    """What the whole log holds."""

    store: Store

    def by_extract(self) -> pl.DataFrame:
        """Events per extract: first and last day, days without events, counts."""
        return inventory.totals(self.store)

    def events_per_day(self) -> pl.DataFrame:
        """Events per day and kind: date, kind, n."""
        return inventory.events_per_day(self.store)

    def last_days(self, n: int = 14) -> pl.DataFrame:
        """Events on the last days, a column per extract."""
        return inventory.last_days(self.store, n)

    def commonest_events(self, n: int = 20) -> pl.DataFrame:
        """The commonest event names with their kind: event, kind, n_events."""
        return inventory.commonest_events(self.store, n)

    def outsized_users(self, with_ids: bool = False) -> pl.DataFrame:
        """Users with an outsized share of all events, such as crawlers.

        Columns: user, n_events, share, times (as a multiple of the other users' mean)
        and n_days. ``user`` is a pseudonym, since reports are read by many, or with
        ``with_ids`` the user id, which identity.not_a_user takes.
        """
        users = inventory.outsized_users(self.store)
        pseudonym = erasure.pseudonym(self.store.salt)
        user = pl.col("user_id") if with_ids else pseudonym
        return users.select(user.alias("user"), pl.exclude("user_id"))

    def people(self) -> pl.DataFrame:
        """Users by source and platform, and people without a user id."""
        return inventory.people(self.store)

    @cached_property
    def _before_leaving(self) -> pl.DataFrame:
        return leaving.before_leaving(self.store)

    def before_leaving(self) -> pl.DataFrame:
        """Events per user in the last weeks of those who left, beside those who stayed.

        Columns: event, weeks_before (0: the week of the last activity), leavers,
        stayers, n_leavers, n_stayers. Empty with too few of either.
        """
        return self._before_leaving

    def before_leaving_answer(self) -> str:
        """Which event became rarer most, in a sentence."""
        return people_sentences.before_leaving(self._before_leaving)

    def user_days(self, user_id: str = "") -> pl.DataFrame:
        """What a user did on each of the newest 90 days: user, date, event, n.

        ``user`` is a pseudonym. By default it is a typical user, one with the median
        number of active days.
        """
        days = one_user.user_days(self.store, user_id)
        pseudonym = erasure.pseudonym(self.store.salt)
        return days.select(pseudonym, pl.exclude("user_id"))

    def ids(self) -> pl.DataFrame:
        """Ids known to be a user's, by type, and how many of them are shared."""
        return inventory.ids(self.store)


@dataclass(frozen=True)
class Silence:
    """How many users still come back after n days of silence.

    ``curve`` is that of ``retention.return_curve``. ``return_rate`` is the share of
    users who were active on a second day; null with too few users.
    """

    settings: Settings
    curve: pl.DataFrame
    max_return_rate: float
    return_rate: float | None = None

    @classmethod
    def of(cls, store: Store, max_return_rate: float) -> Silence:
        """Measure it on a store's log."""
        curve = retention.return_curve(store)
        rate = retention.second_day_rate(store)
        return cls(store.settings, curve, max_return_rate, rate)

    @property
    def shortest_horizon_days(self) -> int | None:
        """The shortest silence after which too few return to be worth waiting for."""
        return retention.shortest_horizon(self.curve, self.max_return_rate)

    def advice(self) -> str:
        """That horizon beside the study's own, in one sentence."""
        return sentences.silence(
            self.curve,
            self.settings,
            self.max_return_rate,
            self.return_rate,
        )


@dataclass(frozen=True)
class Definitions:
    """Candidate definitions of churn under a rule; see ``definitions.compare``.

    ``return_rate`` is the share of users who were active on a second day.
    """

    settings: Settings
    table: pl.DataFrame
    rule: definitions.Rule
    return_rate: float | None = None
    log_days: tuple[date, date] | None = None

    @classmethod
    def of(cls, store: Store, rule: definitions.Rule | None) -> Definitions:
        """Compare them on a store's log, by default under the usual limits."""
        limits = rule or definitions.Rule()
        table = definitions.compare(store, limits)
        rate = retention.second_day_rate(store)
        first, until = store.first_date, store.covered_until
        log_days = (first, until) if first and until else None
        return cls(store.settings, table, limits, rate, log_days)

    def verdict(self) -> Verdict:
        """Whether a definition fits this log, and whether the study uses it."""
        return verdicts.definition(
            self.table,
            self.settings,
            self.rule,
            self.return_rate,
            self.log_days,
        )

    @cached_property
    def chosen(self) -> dict[str, Any]:
        """The definition that the rule chooses; empty if none fits."""
        return definitions.choose(self.table) or {}

    def advice(self) -> str:
        """The choice in a sentence, with its lines for churn.toml."""
        return sentences.definition(
            self.table,
            self.settings,
            self.rule,
            self.return_rate,
            self.log_days,
        )

    def record(
        self,
        silence: Silence,
        held: Inventory,
    ) -> None:
        """Put the choice and what it rests on into the executed notebook."""
        runs.record(
            covered_until=held.store.covered_until,
            n_events=held.by_extract()["n_events"].sum(),
            horizon_days=self.settings.windows.horizon_days,
            shortest_horizon_days=silence.shortest_horizon_days,
            max_return_rate=silence.max_return_rate,
            second_day_rate=self.return_rate,
            chosen_horizon_days=self.chosen.get("horizon_days"),
            chosen_eligible_days=self.chosen.get("eligible_days"),
            chosen_rate=self.chosen.get("chosen_rate"),
        )
