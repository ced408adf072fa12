"""A trained model against the one that scores now."""

from dataclasses import dataclass
from typing import Self

import polars as pl

from churn.errors import TrainingError
from churn.evaluation import backtest, promotion
from churn.evaluation.promotion import CHALLENGER, CHAMPION, Decision, Margins
from churn.model import champion, due, storage
from churn.model.fitting import Model
from churn.report import runs
from churn.store import Store


@dataclass(frozen=True)
class Challenge:
    """Whether a new model takes the champion's place, and what that rests on.

    ``champion_id`` is that of the champion before; empty if there was none.
    """

    store: Store
    challenger_id: str
    champion_id: str
    decision: Decision

    @classmethod
    def of(
        cls,
        store: Store,
        challenger: Model,
    ) -> Self:
        """Compare a stored model with the champion, and promote it if the rule says so.

        Without a champion that can score, nothing is compared. Otherwise both are
        tested at the study's past test cutoffs, which trains as often as an evaluation.
        """
        before = champion.current(store.place)
        if before == challenger.model_id:
            decision = promotion.without_comparison("it is the champion already")
            return cls(store, challenger.model_id, before, decision)
        decision = _decide(store, challenger, before)
        if decision.promote:
            champion.promote(store.place, challenger.model_id, decision.why)
        return cls(store, challenger.model_id, before, decision)

    def sentence(self) -> str:
        """Which model scores from now on, and why."""
        why = self.decision.why
        if not self.champion_id or self.champion_id == self.challenger_id:
            return f"It scores from now on: {why}."
        if self.decision.promote:
            return f"**It takes the place of model {self.champion_id}:** {why}."
        return f"**Model {self.champion_id} goes on scoring**, this one is kept: {why}."

    def action(self) -> str:
        """What to do next."""
        if self.decision.promote:
            return (
                "Run `3_evaluate`, which says whether the forecasts can be used."
                if not self.champion_id
                else "Go on with `4_score`; `churn model rollback` takes this back."
            )
        return (
            f"Go on with `4_score`; `churn model promote {self.challenger_id}` takes "
            "the new one all the same."
        )

    def summary(self) -> str:
        """The decision, and what it rests on, in a few sentences."""
        return f"{self.sentence()} {self._rests_on()}"

    def _rests_on(self) -> str:
        """What the decision rests on, in a sentence."""
        if not self.decision.differences:
            return "Nothing was compared."
        auc, loss = self.decision.differences
        chance = "other users" if self.decision.by_users_alone else "other periods"
        return (
            f"On the same users at {self.decision.n_cutoffs} past dates its AUC was "
            f"higher by {auc.gain:+.4f} (95 %: {auc.low:+.4f} to {auc.high:+.4f}) and "
            f"its error lower by {loss.gain:+.4f} ({loss.low:+.4f} to "
            f"{loss.high:+.4f}); the intervals hold for {chance}."
        )

    def table(self) -> pl.DataFrame:
        """Gains of the challenger: figure, gain, low, high; empty if not compared."""
        columns = ("figure", "gain", "low", "high")
        rows = [
            [getattr(d, name) for name in columns] for d in self.decision.differences
        ]
        types = dict.fromkeys(columns, pl.Float64) | {"figure": pl.String}
        return pl.DataFrame(rows, schema=types, orient="row")

    def record(self) -> None:
        """Put the decision into the executed notebook."""
        runs.record(
            promoted=self.decision.promote,
            challenger_id=self.challenger_id,
            champion_id=self.champion_id,
            promotion=self.decision.why,
            gains={
                d.figure: [d.gain, d.low, d.high] for d in self.decision.differences
            },
        )


def _decide(
    store: Store,
    challenger: Model,
    before: str,
) -> Decision:
    facts = champion.stored(store.place).get(before)
    if facts is None:
        return promotion.without_comparison("there was no champion before it")
    if unusable := due.unfit(facts, store.settings):
        return promotion.without_comparison(f"model {before} {unusable}")
    old = due.is_old(facts, challenger.learned_until, store.settings)
    try:
        tested = backtest.backtest(
            store, progress=False, champion=storage.load(store, before)
        )
    except TrainingError as error:
        why = f"history is too short to compare them ({error})"
        return Decision(
            old, f"{why}, and the champion is {'old' if old else 'not old'}"
        )
    names = {backtest.CHOSEN: CHALLENGER, backtest.CHAMPION: CHAMPION}
    pairs = tested.predictions.filter(pl.col("model").is_in(list(names)))
    settings = store.settings
    return promotion.decide(
        pairs.with_columns(pl.col("model").replace_strict(names)),
        settings.windows.horizon_days,
        old,
        Margins(settings.model.max_auc_loss, settings.model.max_log_loss_rise),
        settings.random_state,
    )
