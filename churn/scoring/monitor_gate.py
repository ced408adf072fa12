"""The gate of the monitor: whether past forecasts came true."""

from datetime import date
from typing import Any

from churn.model import due
from churn.scoring.gate import finding
from churn.store import Place

NAME = "monitor"


def came_true(
    place: Place,
    cutoff: date,
    model_id: str,
) -> dict[str, Any]:
    """Fails if the monitor says hold, and the model is still the one it judged."""
    found = due.verdict(place)
    decision = found.get("decision")
    of_this_model = found.get("model_id") == model_id
    passed = not (decision == "hold" and of_this_model)
    return finding(
        cutoff,
        NAME,
        passed,
        _sentence(found, passed),
        expected="send, or a warning",
        seen=str(decision or "not known"),
    )


def _sentence(
    found: dict[str, Any],
    passed: bool,
) -> str:
    if not found.get("cutoff"):
        return "not known yet: no scores are old enough to have an outcome"
    reasons = "; ".join(found.get("reasons", ())) or "past forecasts came true"
    at = f"on {str(found.get('at'))[:10]}"
    if not passed:
        return (
            f"{at} the monitor said hold, by the scores since {found.get('since')}: "
            f"{reasons}. Train again, or look at `6_monitor` and promote another "
            "model; once the cause is mended, `churn run monitor` judges anew"
        )
    if found.get("decision") == "hold":
        return f"{at} the monitor held another model; this one is newer"
    return f"{at}: {reasons}"
