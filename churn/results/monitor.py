"""What came true: past scores against their outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Self

import polars as pl

from churn.errors import ChurnError
from churn.features.cutoffs import Calendar
from churn.model import champion, due
from churn.monitoring import ages, early, judgement, outcomes, promises
from churn.monitoring.judgement import Judgement
from churn.monitoring.promises import Promise
from churn.report import monitor_tables, monitor_verdict, runs
from churn.report.parameters import parse_now
from churn.report.verdict import Verdict
from churn.scoring import scores, segments
from churn.store import Store


@dataclass(frozen=True)
class Monitor:
    """Past scores compared with what then happened.

    ``closed`` has a row per scored cutoff whose outcome is known, with the columns of
    ``monitoring.outcomes.SCHEMA``.
    """

    store: Store
    closed: pl.DataFrame
    now: datetime | None = None

    @classmethod
    def of(
        cls,
        store: Store,
        now: str = "",
    ) -> Self:
        """Compute the figures of newly closed cutoffs, and keep them.

        ``now`` (UTC): the time that the judgement bears; by default that of the clock.
        """
        return cls(store, outcomes.update(store), parse_now(now))

    @cached_property
    def judgement(self) -> Judgement:
        """Whether to go on sending, and why."""
        model_id = champion.current(self.store.place)
        facts = champion.stored(self.store.place).get(model_id)
        windows = self.store.settings.windows
        return judgement.judge(
            self.closed,
            self._drift,
            self.store.settings.gates,
            model_id,
            due.learned_until(facts) if facts else None,
            windows.lead_days + windows.horizon_days,
        )

    @cached_property
    def _newest(self) -> pl.DataFrame:
        """The scores of the newest cutoff; empty without any."""
        try:
            return scores.read(self.store)[0]
        except ChurnError:
            return pl.DataFrame(schema={"cutoff": pl.Date})

    @property
    def _promise(self) -> Promise | None:
        """What was kept of the newest scoring."""
        if self._newest.is_empty():
            return None
        return promises.read(self.store, self._newest["cutoff"][0])

    @property
    def _drift(self) -> dict[str, float]:
        """Index by kind of feature, and of the scores, at the newest scoring."""
        promise = self._promise
        if promise is None or "probability" not in promise.drift:
            return dict(promise.kinds) if promise else {}
        return {**promise.kinds, "scores": promise.drift["probability"]}

    @property
    def first_outcome(self) -> date | None:
        """When the first outcome will be known; null without scores."""
        scored = scores.cutoffs(self.store)
        if not scored:
            return None
        return Calendar.of(self.store).horizon(scored[0])[1]

    def verdict(self) -> Verdict:
        """Send, send with a warning, or hold."""
        return monitor_verdict.monitor(
            self.judgement, self.closed, self.first_outcome, self.store.covered_until
        )

    def save(self) -> int:
        """Leave the judgement for the gate, and remove scores that are too old.

        Returns of how many cutoffs the scores were removed.
        """
        judgement.write(self.store.place, self.judgement, self.now)
        return promises.remove_old(self.store, outcomes.compared(self.store))

    def figures(self) -> pl.DataFrame:
        """By closed cutoff: users, forecast and actual rate, AUC and log loss.

        The error of the level is its 95 % interval, in log-odds. Newest first.
        """
        return monitor_tables.figures(self.closed)

    def held(self) -> pl.DataFrame:
        """How often a promised interval held: figure, dates, held_rate; 80 % were to."""
        held = judgement.promises_held(self.closed)
        names = {"auc": "AUC", "log_loss": "log loss"}
        return held.with_columns(pl.col("figure").replace(names)).rename({"n": "dates"})

    def by_segment(self) -> pl.DataFrame:
        """Forecast and actual rate by segment at each closed cutoff.

        Columns: cutoff, segment, n, mean_probability, churn_rate.
        """
        long = self.closed.select("cutoff", "segments").explode("segments")
        return self._in_order(long.drop_nulls().unnest("segments"))

    def early(self) -> pl.DataFrame:
        """Who is back so far in open horizons, against those expected by then."""
        found = self._in_order(early.outcomes(self.store, self.closed))
        return found.rename({"n": "users"})

    def _in_order(
        self,
        table: pl.DataFrame,
    ) -> pl.DataFrame:
        """Rows by cutoff, and the segments of each as the study lists them."""
        names = segments.names(self.store.settings)
        return table.sort("cutoff", segments.place("segment", names))

    def drift(self) -> pl.DataFrame:
        """How far the newest users are from those learned from: kind, index, worst.

        ``index``: mean population stability index of the kind's features; about 0.1 is
        usual, 0.25 a lot. The scores are a kind of their own. Empty where the model was stored by an earlier version.
        """
        table = pl.DataFrame(
            list(self._drift.items()),
            schema={"kind": pl.String, "index": pl.Float64},
            orient="row",
        )
        return table.sort("index", descending=True)

    def cost_of_drift(self) -> pl.DataFrame:
        """By closed cutoff the drift at scoring and what the forecast then lost.

        Columns: cutoff, drift_of_one_kind (the largest), drift_of_scores, log_loss,
        above_promised (log loss less the expected one), level_error (log-odds).
        """
        table = self.closed.select(
            "cutoff",
            "log_loss",
            drift_of_one_kind="drift",
            drift_of_scores="score_drift",
            above_promised=pl.col("log_loss") - pl.col("log_loss_expected"),
            level_error="shift",
        )
        order = ["cutoff", "drift_of_one_kind", "drift_of_scores", "log_loss"]
        columns = [*order, "above_promised", "level_error"]
        return table.select(columns).sort("cutoff", descending=True)

    def by_age(self) -> pl.DataFrame:
        """Users of the newest closed scoring, otherwise of the newest, by days known."""
        scored = self._newest
        if self.closed.height:
            scored = scores.read(self.store, self.closed["cutoff"][-1])[0]
        if scored.is_empty():
            return pl.DataFrame()
        learned = champion.stored(self.store.place).get(scored["model_id"][0])
        newest = max(learned["cutoffs"]) if learned else None
        known = date.fromisoformat(newest) if newest else scored["cutoff"][0]
        table = ages.by_age(self.store, scored, known)
        return table.rename({"n": "users", "met_rate": "share_known_to_the_model"})

    def age_of_forecasts(self) -> str:
        """From when until when there are outcomes, in a sentence."""
        return monitor_verdict.span(self.closed, self.first_outcome)

    def record(self) -> None:
        """Put the judgement and the newest figures into the executed notebook."""
        horizon = timedelta(days=self.store.settings.windows.horizon_days)
        held = dict(
            judgement.promises_held(self.closed)
            .select("figure", "held_rate")
            .iter_rows()
        )
        newest = self.closed.tail(1).to_dicts()
        kept = ("cutoff", "n", "churn_rate", "mean_probability", "auc", "log_loss")
        runs.record(
            decision=self.judgement.decision,
            reasons=self.judgement.reasons,
            n_closed=self.closed.height,
            n_open=len(scores.cutoffs(self.store)) - self.closed.height,
            horizon_days=horizon.days,
            promises_held=held,
            newest={name: newest[0][name] for name in kept} if newest else {},
        )
