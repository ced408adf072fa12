"""How good a model would have been: the result of a backtest."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from churn.evaluation import (
    backtest,
    calibration,
    intervals,
    learning_curve,
    metrics,
    next_period,
    scorecard,
    thresholds,
    weekdays,
)
from churn.report import forecast_sentences as sentences
from churn.report import forecast_verdicts as verdicts
from churn.report import money_sentences, runs, tables, weekday_sentences
from churn.report.threshold_slider import ThresholdSlider
from churn.report.verdict import Verdict
from churn.store import Store


@dataclass(frozen=True)
class Backtest:
    """Past cutoffs played through as they would have been scored.

    ``predictions`` has the columns user_id, cutoff, churned, model and probability.
    """

    store: Store
    done: backtest.Backtest

    @property
    def predictions(self) -> pl.DataFrame:
        """A row per user, test cutoff and model."""
        return self.done.predictions

    @cached_property
    def newest(self) -> pl.DataFrame:
        """The chosen model's predictions at the newest test cutoff."""
        return metrics.newest(self.predictions)

    @cached_property
    def figures(self) -> pl.DataFrame:
        """AUC, log loss and their like by model and cutoff; cutoff null: all of them."""
        return metrics.by_cutoff(self.predictions)

    @cached_property
    def levels(self) -> pl.DataFrame:
        """Forecast and actual rate by test cutoff, with calibration intervals."""
        return calibration.by_cutoff(self.predictions)

    @cached_property
    def next_period(self) -> pl.DataFrame:
        """What to expect of the next scoring: figure, estimate, low, high.

        The limits are null where history is too short to know them.
        """
        return next_period.forecast(self.store, self.predictions)

    def verdict(
        self,
        value_per_saved: float = 0.0,
        cost_per_contact: float = 0.0,
        save_rate: float = 0.0,
    ) -> Verdict:
        """Whether the forecasts can be used, for what, and how far to trust them.

        The stakes are those of ``profit``; without a value no profit is named.
        """
        found = verdicts.Evidence(
            self.figures, self.gains(), self.levels, self._intervals, self.newest
        )
        stakes = (value_per_saved, cost_per_contact, save_rate)
        return verdicts.evaluation(
            found, self.store.settings, stakes, self.store.covered_until
        )

    def outlook(self) -> str:
        """What to expect next, and whether the newest probabilities were right."""
        limit = self.store.settings.gates.max_calibration_shift
        expected = sentences.next_period(self.next_period)
        return f"{expected}\n\n{sentences.calibration(self.levels, limit)}"

    def by_segment(self) -> pl.DataFrame:
        """Predicted and actual churn rate by the study's segments."""
        return tables.rates(scorecard.by_segment(self.store, self.predictions))

    def by_platform(self) -> pl.DataFrame:
        """Predicted and actual churn rate by platform."""
        return tables.rates(scorecard.by_platform(self.store, self.predictions))

    @cached_property
    def _tenths(self) -> pl.DataFrame:
        revenue = scorecard.revenue(self.store, self.newest)
        return scorecard.tenths(self.newest, revenue)

    def tenths(self) -> pl.DataFrame:
        """Ten groups by risk at the newest cutoff, with their revenue at risk."""
        return tables.tenths(self._tenths, self.store.settings.activity.currency)

    def revenue_at_risk(self) -> str:
        """How much revenue is at risk, and where most of it lies."""
        currency = self.store.settings.activity.currency
        return money_sentences.revenue_at_risk(self._tenths, currency)

    def profit(
        self, value_per_saved: float, cost_per_contact: float, save_rate: float
    ) -> pl.DataFrame:
        """Assumed profit by share of users contacted: depth, expected, hindsight.

        ``save_rate`` is the share of contacted churners who stay because of it.
        Expected is by probability, hindsight by who then churned; none was earned.
        Without a value the frame is empty.
        """
        return scorecard.profit(
            self.newest, value_per_saved, cost_per_contact, save_rate
        )

    def profit_advice(
        self, value_per_saved: float, cost_per_contact: float, save_rate: float
    ) -> str:
        """Whom it would pay to contact, under which assumptions."""
        stakes = (value_per_saved, cost_per_contact, save_rate)
        currency = self.store.settings.activity.currency
        return money_sentences.profit(self.newest, *stakes, currency)

    def threshold_slider(
        self,
        value_per_saved: float = 0.0,
        cost_per_contact: float = 0.0,
        save_rate: float = 0.05,
    ) -> ThresholdSlider:
        """Users and churners from each threshold on, to be tried in a notebook.

        Its ``table`` has the numbers. The stakes are those of ``profit``; the reader
        can change them.
        """
        settings = self.store.settings
        return ThresholdSlider(
            thresholds.by_threshold(self.predictions),
            settings.segments,
            self.newest["cutoff"][0],
            self.levels.height,
            settings.activity.currency,
            value_per_saved,
            cost_per_contact,
            save_rate,
        )

    def gains(self) -> pl.DataFrame:
        """Share of churners found by share of a cutoff's users contacted.

        Columns: model, depth, capture, the mean over the test cutoffs.
        """
        return metrics.lift_table(self.predictions)

    def calibration_bins(self) -> pl.DataFrame:
        """Predicted and actual churn rate in ten groups per model, over all cutoffs."""
        return metrics.calibration_table(self.predictions)

    def calibration(self) -> pl.DataFrame:
        """Level and slope of the probabilities by test cutoff, with intervals."""
        return tables.calibration(self.levels)

    def summary(self) -> pl.DataFrame:
        """The figures over all test cutoffs, a column per model."""
        return tables.pooled(self.figures)

    def intervals(self) -> pl.DataFrame:
        """AUC and log loss of each model and of each pair's difference, 95 %.

        The intervals are for other users in other periods like the tested ones.
        """
        return tables.intervals(self._intervals)

    @cached_property
    def _intervals(self) -> pl.DataFrame:
        settings = self.store.settings
        horizon_days = settings.windows.horizon_days
        return intervals.bootstrap(
            self.predictions, horizon_days, settings.random_state
        )

    def evidence(self) -> str:
        """On how many independent periods the figures rest, in a sentence."""
        cutoffs = self.done.choices["cutoff"].to_list()
        return sentences.evidence(cutoffs, self.store.settings.windows.horizon_days)

    def by_cutoff(self) -> pl.DataFrame:
        """The main figures at every test cutoff."""
        return tables.by_cutoff(self.figures)

    @cached_property
    def _weekdays(self) -> pl.DataFrame:
        return weekdays.by_weekday(self.predictions)

    def by_weekday(self) -> pl.DataFrame:
        """Forecast and actual rate, and log loss, by weekday of scoring."""
        return tables.weekdays(self._weekdays)

    def weekday_answer(self) -> str:
        """On which weekdays the level is off, and which were not tested."""
        return weekday_sentences.answer(self._weekdays)

    def choices(self) -> pl.DataFrame:
        """With which weights and correction each cutoff was predicted."""
        return tables.choices(self.done.choices)

    def ceiling_skill(self, truth: str) -> float | None:
        """Share of what could be known; null without a file of true probabilities."""
        return metrics.against_truth(self.predictions, truth)

    def ceiling(self, truth: str) -> str:
        """What the ceiling skill means, in a sentence; empty without the truth."""
        return sentences.ceiling(self.ceiling_skill(truth))

    def learning_curve(self) -> pl.DataFrame:
        """Figures at the newest test cutoff with less to learn from; trains a dozen."""
        return learning_curve.curve(self.store, self.newest["cutoff"][0])

    def learning_advice(self, curve: pl.DataFrame | None) -> str:
        """From where on more data gains little, in a sentence."""
        known = learning_curve.EMPTY if curve is None else curve
        return sentences.learning_curve(known)

    def record(
        self,
        truth: str = "",
        curve: pl.DataFrame | None = None,
    ) -> None:
        """Put the figures into the executed notebook."""
        shift = ("intercept", "intercept_low", "intercept_high", "slope")
        figures: dict[str, Any] = {
            **metrics.headline(self.figures),
            **next_period.headline(self.next_period),
            "n_test_cutoffs": self.done.choices.height,
            "ceiling_skill": self.ceiling_skill(truth),
            "newest_calibration": self.levels.select(shift).row(-1, named=True),
            "learning_curve": [] if curve is None else curve.to_dicts(),
        }
        runs.record(**figures)
