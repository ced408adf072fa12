"""Whether a training is due, and why."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import date
from typing import Any

from churn.features.catalogue import Plan, catalogue
from churn.features.cutoffs import Calendar
from churn.model import champion, versions
from churn.settings import Settings, Windows
from churn.stats.probability import level_holds
from churn.store import Place, Store

VERDICT = "monitor/verdict.json"
"""File in which the monitor says whether a training would help."""

RETRY_DAYS = 7
"""Days of new outcomes before the next try where no training is due by age."""


def reason(store: Store) -> str:
    """Why a training is due; empty if none is.

    A user's own classifier as champion is never retrained, since a training of the
    blend would replace it.
    """
    models = champion.stored(store.place)
    model_id = champion.current(store.place)
    facts = models.get(model_id)
    if facts is None:
        return "there is no model yet"
    if versions.is_own(facts):
        return ""
    calendar = Calendar.of(store)
    until = _learnable_until(calendar)
    if unusable := gives_way(facts, until, calendar, store.settings):
        return f"model {model_id} {unusable}"
    newest = _newest_judged(store, models, model_id)
    n_days = (until - newest).days
    every = store.settings.nightly.train_every_days
    if every and n_days >= every:
        return f"{n_days} days of outcomes are known that no model has learned from"
    # Where a challenger was kept back, the next one is no different a day later.
    was_tried = newest > learned_until(facts)
    if n_days < (every or RETRY_DAYS if was_tried else 1):
        return ""
    if level_is_off(facts, store.settings):
        return f"the level of model {model_id} was off, and newer outcomes are known"
    if _monitor_asks(store, model_id):
        return "the monitor asks for it, and newer outcomes are known"
    return ""


def _newest_judged(
    store: Store,
    models: Mapping[str, Mapping[str, Any]],
    model_id: str,
) -> date:
    """The day of the newest outcome of the champion and of all judged challengers.

    A challenger that was stored and never judged is that of a training which was
    killed: it counts as not trained.
    """
    own = learned_until(models[model_id])
    promoted = {entry.model_id for entry in champion.promotions(store.place)}
    days = {name: learned_until(facts) for name, facts in models.items()}
    judged = [
        day
        for name, day in days.items()
        if day > own and (name in promoted or champion.challenge_of(store.place, name))
    ]
    return max([own, *judged])


def unfit(
    facts: Mapping[str, Any],
    settings: Settings,
) -> str:
    """Why a stored model can't score for these settings; empty if it can.

    ``facts``: those of model.json.
    """
    if because := versions.reason_to_train(facts):
        return f"was {because}"
    if "recipe" not in facts:
        return "was stored by an earlier version"
    if set(facts["plan"]) - {field.name for field in fields(Plan)}:
        return "was stored by another version"
    plan = Plan(**{k: _tuple(v) for k, v in facts["plan"].items()})
    if set(facts["features"]) - set(catalogue(plan)):
        return "uses features that are no longer computed"
    learned = (facts["windows"], list(plan.counts_as_active), plan.timezone)
    wanted = (
        settings.windows.model_dump(),
        list(settings.activity.counts_as_active),
        settings.timezone,
    )
    return "" if learned == wanted else "was trained for another definition of churn"


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def learned_until(facts: Mapping[str, Any]) -> date:
    """The day by which every outcome that a stored model learned from was known."""
    newest = max(date.fromisoformat(day) for day in facts["cutoffs"])
    return Windows(**facts["windows"]).horizon(newest)[1]


def gives_way(
    facts: Mapping[str, Any],
    until: date,
    calendar: Calendar,
    settings: Settings,
) -> str:
    """Why a stored model can't score, and a new one can; empty if that isn't so.

    ``until``: the day by which the new one's outcomes are known. A model may have
    learned from too long ago, or from days that the log no longer covers.
    """
    if because := unfit(facts, settings):
        return because
    learned = learned_until(facts)
    age = (calendar.end - learned).days
    is_too_old = age > settings.gates.max_model_age_days and until > learned
    return f"learned from outcomes until {learned}" if is_too_old or age < 0 else ""


def _learnable_until(calendar: Calendar) -> date:
    """The day until which a training would learn from outcomes; else the earliest date.

    Cutoffs around missing days don't count, since a training leaves them out; otherwise
    a hole in the log would cause a training every night.
    """
    newest = calendar.series(calendar.newest_mature(), 1)
    return calendar.horizon(newest[0])[1] if newest else date.min


def is_old(
    facts: Mapping[str, Any],
    until: date,
    settings: Settings,
) -> bool:
    """Whether a newer model that is as good should take the place of a stored one.

    ``until``: the day by which the newer one's outcomes were known. It should if it
    knows ``nightly.train_every_days`` more of them, if the level of the stored one was
    off, or if that one is older than the gates allow.
    """
    n_days = (until - learned_until(facts)).days
    limit = settings.nightly.train_every_days or settings.gates.max_model_age_days
    return n_days >= limit or level_is_off(facts, settings)


def level_is_off(
    facts: Mapping[str, Any],
    settings: Settings,
) -> bool:
    """Whether the gate on the level of the forecasts fails for a stored model."""
    calibration = facts["calibration"]
    if calibration is None:
        return False
    low, high = calibration
    return not level_holds(low, high, settings.gates.max_calibration_shift)


def verdict(place: Place) -> dict[str, Any]:
    """What the monitor left; empty if that is nothing, or can't be read."""
    content = place.read(VERDICT)
    try:
        found = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _monitor_asks(
    store: Store,
    model_id: str,
) -> bool:
    """Whether the monitor asks for a training since this model scored badly."""
    found = verdict(store.place)
    return bool(found.get("train")) and found.get("model_id", model_id) == model_id
