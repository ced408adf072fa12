"""Which stored model scores: the champion. Others are kept as they are.

The store file ``models/champion.json`` holds every promotion, oldest first. A store of an
earlier version has none; there the model that was created last is the champion. What
came of a comparison stands beside the challenger, in ``models/<model_id>/challenge.json``.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from churn import account
from churn.errors import ModelError
from churn.store import Place, Store, locks

FILE = "models/champion.json"

FIRST = "it was the newest model when promotions began to be recorded"


@dataclass(frozen=True)
class Promotion:
    """One promotion: which model, when (UTC), by whom, and why.

    ``undone_at`` is when it was rolled back; empty while it holds.
    """

    model_id: str
    at: str
    by: str
    why: str
    undone_at: str = ""


def promotions(place: Place) -> list[Promotion]:
    """All promotions, oldest first."""
    content = place.read(FILE)
    if content is None:
        return []
    try:
        return [Promotion(**entry) for entry in json.loads(content)["promotions"]]
    except (ValueError, TypeError, KeyError):
        raise ModelError(
            f"{place.below(FILE)} is damaged: remove it, and promote a model by "
            "`churn model promote ID`"
        ) from None


def current(place: Place) -> str:
    """Id of the champion; empty if there is no model."""
    standing = [entry for entry in promotions(place) if not entry.undone_at]
    if standing:
        return standing[-1].model_id
    return newest(place)


def newest(place: Place) -> str:
    """Id of the model that was created last; empty if there is none."""
    numbers = {name: order(facts) for name, facts in stored(place).items()}
    return max(numbers, key=lambda name: numbers[name], default="")


def order(facts: Mapping[str, Any]) -> tuple[int, str]:
    """A key that is larger for the newer of two models.

    It begins with a number counted from 1, since a clock may be set back. Models of an earlier
    version have none and count as older than those that do.
    """
    return facts.get("number", 0), facts["created_at"]


def stored(place: Place) -> dict[str, dict[str, Any]]:
    """What model.json says of each stored model, by its id."""
    found = {}
    for name in place.names("models"):
        parts = name.split("/")
        content = place.read(name) if parts[-1] == "model.json" else None
        if content is not None and len(parts) == 3:
            found[parts[1]] = json.loads(content)
    return found


def keep(place: Place) -> str:
    """Record the champion of a store that has none recorded, so that it stays it.

    Returns its id; empty if there is no model.
    """
    with _alone(place):
        model_id = current(place)
        if model_id and not promotions(place):
            _write(place, [_promotion(model_id, FIRST)])
        return model_id


def promote(
    place: Place,
    model_id: str,
    why: str,
) -> None:
    """Make a stored model the champion, unless it is it already.

    Raises ModelError if there is no such model, and BusyError if another process
    promotes at the same moment.
    """
    models = stored(place)
    if model_id not in models:
        raise ModelError(
            f"there is no model {model_id} in {place.below('models')}; "
            "`churn model list` shows all"
        )
    with _alone(place):
        entries = promotions(place)
        if entries and current(place) == model_id:
            return
        if not entries and len(models) > 1:
            others = {name: order(facts) for name, facts in models.items()}
            del others[model_id]
            before = max(others, key=lambda name: others[name])
            entries = [_promotion(before, FIRST)]
        _write(place, [*entries, _promotion(model_id, why)])


def rollback(place: Place) -> str:
    """Undo the newest promotion that holds; returns the id of the champion then.

    Raises ModelError if there is no earlier champion, or if its folder is gone, and
    BusyError if another process promotes at the same moment.
    """
    with _alone(place):
        entries = promotions(place)
        standing = [n for n, entry in enumerate(entries) if not entry.undone_at]
        if len(standing) < 2:
            raise ModelError("there is no earlier champion to go back to")
        before = entries[standing[-2]].model_id
        if before not in stored(place):
            raise ModelError(
                f"the champion before was {before}, whose folder is gone: "
                "`churn model promote ID` makes another model champion"
            )
        undone = entries[standing[-1]]
        entries[standing[-1]] = replace(undone, undone_at=_now())
        _write(place, entries)
        return before


def write_challenge(
    place: Place,
    model_id: str,
    facts: Mapping[str, Any],
) -> None:
    """Keep beside a challenger what came of its comparison with the champion."""
    content = json.dumps({"at": _now(), **facts}, indent=1)
    place.write(f"models/{model_id}/challenge.json", content.encode())


def challenge_of(place: Place, model_id: str) -> dict[str, Any]:
    """What came of a model's comparison; empty if it was never compared."""
    content = place.read(f"models/{model_id}/challenge.json")
    return dict(json.loads(content)) if content else {}


def _alone(place: Place) -> AbstractContextManager[locks.Held]:
    """Keep other processes from promoting; raises BusyError while one does."""
    return locks.exclusively(place, name=locks.PROMOTION)


def _promotion(
    model_id: str,
    why: str,
) -> Promotion:
    return Promotion(model_id, _now(), account.name(), why)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(
    place: Place,
    entries: list[Promotion],
) -> None:
    content = {"promotions": [asdict(entry) for entry in entries]}
    place.write(FILE, json.dumps(content, indent=1).encode())


def of(store: Store) -> str:
    """Id of the champion. Raises ModelError if there is no model."""
    model_id = current(store.place)
    if not model_id:
        raise ModelError(
            f"there is no model in {store.place.below('models')}; "
            "run `churn run train` first"
        )
    return model_id
