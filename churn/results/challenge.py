"""A trained model against the one that scores now."""

from dataclasses import dataclass, replace
from typing import Any, Self

import polars as pl

from churn.errors import ModelError, TrainingError
from churn.evaluation import backtest, promotion
from churn.evaluation.promotion import CHALLENGER, CHAMPION, Decision, Margins
from churn.features.cutoffs import Calendar
from churn.model import champion, due, storage
from churn.model.fitting import Model
from churn.report import runs
from churn.store import Store

MEANWHILE = "a person made another model the champion while they were compared"

BY_USERS_ALONE = (
    "The intervals hold for other users only: one date shows nothing of other periods."
)


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
        before: str,
    ) -> Self:
        """Compare a stored model with the champion, and promote it if the rule says so.

        ``before``: the id of the champion before it was stored; empty if there was
        none. Without a champion that can score, nothing is compared. Otherwise both are
        tested at the study's past test cutoffs, which trains as often as an evaluation.
        """
        decision = _decide(store, challenger, before)
        # Comparing takes minutes, in which a person may have promoted a third model.
        if before and champion.current(store.place) != before:
            decision = replace(decision, promote=False, why=MEANWHILE)
        if decision.promote:
            champion.promote(store.place, challenger.model_id, decision.why)
        made = cls(store, challenger.model_id, before, decision)
        champion.write_challenge(store.place, challenger.model_id, made.facts())
        return made

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
        """What the decision rests on, in a sentence or two."""
        if not self.decision.differences:
            return "Nothing was compared."
        auc, loss = self.decision.differences
        n = self.decision.n_cutoffs
        dates = f"{n} past dates" if n > 1 else "one past date"
        compared = (
            f"On the same users at {dates} it gained {auc.gain:+.4f} of AUC (95 % "
            f"interval {auc.low:+.4f} to {auc.high:+.4f}) and {loss.gain:+.4f} of log "
            f"loss ({loss.low:+.4f} to {loss.high:+.4f}); a gain below 0 is a loss."
        )
        if not self.decision.by_users_alone:
            return compared
        return f"{compared} {BY_USERS_ALONE}"

    def table(self) -> pl.DataFrame:
        """Gains of the challenger: figure, gain, low, high; empty if not compared."""
        columns = ("figure", "gain", "low", "high")
        rows = [
            [getattr(d, name) for name in columns] for d in self.decision.differences
        ]
        types = dict.fromkeys(columns, pl.Float64) | {"figure": pl.String}
        return pl.DataFrame(rows, schema=types, orient="row")

    def facts(self) -> dict[str, Any]:
        """The decision as plain values."""
        return {
            "promoted": self.decision.promote,
            "challenger_id": self.challenger_id,
            "champion_id": self.champion_id,
            "promotion": self.decision.why,
            "gains": {
                d.figure: [d.gain, d.low, d.high] for d in self.decision.differences
            },
        }

    def record(self) -> None:
        """Put the decision into the executed notebook."""
        runs.record(**self.facts())


def _decide(
    store: Store,
    challenger: Model,
    before: str,
) -> Decision:
    if before == challenger.model_id:
        return promotion.without_comparison("it is the champion already")
    facts = champion.stored(store.place).get(before)
    if facts is None:
        return promotion.without_comparison("there was no champion before it")
    until, calendar = challenger.learned_until, Calendar.of(store)
    if unusable := due.gives_way(facts, until, calendar, store.settings):
        return promotion.without_comparison(f"model {before} {unusable}")
    try:
        rival = storage.load(store, before)
    except ModelError as error:
        return promotion.without_comparison(f"model {before} can't be used ({error})")
    old = due.is_old(facts, until, store.settings)
    return _compare(store, rival, old)


def _compare(
    store: Store,
    rival: Model,
    old: bool,
) -> Decision:
    """The decision by a backtest of both; by age alone where history is too short."""
    try:
        tested = backtest.backtest(store, progress=False, champion=rival)
    except TrainingError as error:
        return promotion.by_age_alone(old, str(error))
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
