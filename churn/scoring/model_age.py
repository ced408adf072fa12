"""The gate on the age of the model, which may neither be old nor know the outcome."""

from datetime import date
from typing import Any

from churn.model.fitting import Model
from churn.scoring.gate import Case, verdict
from churn.settings import Settings


def stale_model(settings: Settings, cutoff: date, model: Model) -> dict[str, Any]:
    """Fails if the model is older than the limit, or learned from the cutoff's future.

    The age is the number of days from the end of the newest horizon that the model
    learned from to the scored cutoff. A model that learned from outcomes of that cutoff
    or later has already seen part of what it is to forecast: its scores look better
    than any that a real night could have made.
    """
    limit = settings.gates.max_model_age_days
    until = model.learned_until
    age = (cutoff - until).days
    cases = []
    cure = "Train a new one by `churn run train`"
    if age > limit:
        seen = f"it learned from outcomes until {until}, {age:,} days before the cutoff"
        cases = [Case(f"model {model.model_id}", str(cutoff), seen)]
        cure += ", every week for instance"
    elif age < 0:
        seen = f"it learned from outcomes until {until}, which it would forecast here"
        cases = [Case(f"model {model.model_id}", str(cutoff), seen)]
        cure += (
            " with an earlier `cutoff` and score with that one; "
            "`churn run evaluate` does so for past cutoffs"
        )
    return verdict(
        cutoff,
        "stale_model",
        cases,
        expected=f"outcomes that end 0 to {limit} days before the cutoff",
        cure=cure,
        all_clear=f"the model learned from outcomes until {until}",
    )
