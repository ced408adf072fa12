"""What a model learned: the result of a training."""

from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from churn.model import baseline, champion, importance, selection, storage
from churn.model.fitting import Model
from churn.model.training import Trained
from churn.report import forecast_sentences as sentences
from churn.report import forecast_verdicts as verdicts
from churn.report import people_sentences, runs, tables
from churn.report.verdict import Verdict
from churn.results.challenge import Challenge
from churn.scoring import drivers
from churn.store import Store


@dataclass(frozen=True)
class Training:
    """A model learned from past cutoffs, not yet stored."""

    store: Store
    trained: Trained

    @property
    def model(self) -> Model:
        """The fitted model."""
        return self.trained.model

    @property
    def choice(self) -> selection.Choice:
        """Which recipe and correction were chosen, and how each member did."""
        return self.trained.choice

    def save(self) -> str:
        """Store the model and let it score from now on; returns its folder.

        That is a path or a URL. The model becomes the champion without a comparison,
        see ``challenge``.
        """
        folder = self._store()
        why = "saved by study.train().save()"
        champion.promote(self.store.place, self.model.model_id, why)
        return folder

    def challenge(self) -> Challenge:
        """Store the model, and let it score from now on if the champion is no better.

        The first model, or one whose champion can't score any more, always does. See
        ``evaluation.promotion.decide`` for the rule.
        """
        before = champion.keep(self.store.place)
        self._store()
        return Challenge.of(self.store, self.model, before)

    def _store(self) -> str:
        if self.trained.baseline:
            baseline.write(self.store, self.model.model_id, self.trained.baseline)
        return storage.save(
            self.model, self.store, selection.choice_metrics(self.choice)
        )

    def summary(self) -> str:
        """What the model learned from, and what it borrowed, in a few sentences."""
        learned = sentences.training(self.model, self.store.settings)
        return f"{learned} {sentences.borrowed(self.choice)}".strip()

    def verdict(self, challenge: Challenge | None = None) -> Verdict:
        """What was learned, and whether it did better than a simple rule.

        ``challenge``: whether it takes the champion's place, if that is known.
        """
        until = self.store.covered_until
        found = verdicts.training(self.model, self.choice, until)
        if challenge is None:
            return found
        sentences = (*found.sentences, challenge.sentence())
        return replace(found, sentences=sentences, action=challenge.action())

    def members(self) -> pl.DataFrame:
        """Log loss of each member and of the blend by validation fold, and weights."""
        return tables.members(self.choice)

    @cached_property
    def _importance(self) -> pl.DataFrame:
        return importance.measure(self.trained, self.store.settings)

    def importance(self) -> pl.DataFrame:
        """How much log loss rises without each kind and each feature.

        Columns: what (kind or feature), name, kind, meaning, log_loss_increase. Empty
        where history is too short for a validation fold.
        """
        return self._importance

    def kinds(self) -> pl.DataFrame:
        """The kinds of features, the most important first; empty if not measured."""
        kinds = self._importance.filter(pl.col("what") == "kind")
        return kinds.select("name", "meaning", "log_loss_increase")

    @cached_property
    def _drivers(self) -> pl.DataFrame:
        return drivers.measure(self.trained)

    def drivers(self) -> pl.DataFrame:
        """Which kinds of features push forecasts up or down, for how many users.

        Columns: kind, meaning, share_with_higher_risk, mean_rise_rate,
        share_with_lower_risk, mean_fall_rate; empty where history is too short.
        """
        return self._drivers

    def drivers_answer(self) -> str:
        """What raises and what lowers the forecasts most, in a sentence."""
        return people_sentences.drivers(self._drivers)

    def features(self) -> pl.DataFrame:
        """Every feature that the model sees, the most important first.

        Columns: feature, kind, meaning, log_loss_increase (null: not measured).
        """
        measured = self._importance.filter(pl.col("what") == "feature")
        weights = measured.select(feature="name", log_loss_increase="log_loss_increase")
        table = tables.features(self.model).join(
            weights,
            on="feature",
            how="left",
        )
        order = ["log_loss_increase", "feature"]
        return table.sort(
            order,
            descending=[True, False],
            nulls_last=True,
        )

    def record(self) -> None:
        """Put the model's facts into the executed notebook."""
        runs.record(
            model_id=self.model.model_id,
            candidate=self.model.candidate,
            weights=dict(self.model.recipe.weights),
            rounds=self.model.recipe.rounds,
            correction=self.model.correction.kind,
            calibration=self.model.calibration,
            n_rows=self.model.n_rows,
            n_churned=self.model.n_churned,
            churn_rate=self.model.churn_rate,
            cutoffs=self.model.cutoffs,
            missing=self.model.missing,
            left_out=self.model.left_out,
            inner=selection.choice_metrics(self.choice),
        )
