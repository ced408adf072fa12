"""With which versions a model was stored, and whether it can be used with these.

scikit-learn promises nothing for a model that another version of it stored: such a
model may not open, or open and predict something else. So may a model whose features
have since come to mean something else.
"""

import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from churn.errors import ModelError
from churn.model.own import NAME as OWN

FEATURES = 2
"""Raise it when a feature keeps its name and comes to mean something else."""

OF_OURS = ("scikit-learn", "numpy", "scipy", "skops")
"""Distributions whose code every model of ours was stored by or holds types of."""

EXACT = ("numpy", "scipy", "skops")
"""Those of them that other versions can read; they only explain why one can't."""


def present(types: Iterable[str]) -> dict[str, str]:
    """Versions to store with a model: features, and each distribution that it holds.

    ``types``: names of the types in the model beyond the usual ones, such as those of a
    library for a user's own classifier. A module that nothing installed has no version.
    """
    names = {name.split(".")[0] for name in types} - {"numpy", "sklearn", "churn"}
    homes: Mapping[str, list[str]] = metadata.packages_distributions() if names else {}
    others = sorted({home for name in names for home in homes.get(name, [])})
    versions = {name: metadata.version(name) for name in (*OF_OURS, *others)}
    return {"features": str(FEATURES), **versions}


def differences(stored: Mapping[str, str]) -> dict[str, str]:
    """What was stored with another version, as a sentence by name.

    >>> differences({"scikit-learn": "1.0.2"})["scikit-learn"][:31]
    'stored with scikit-learn 1.0.2,'
    """
    found = {}
    for name, version in stored.items():
        now = str(FEATURES) if name == "features" else _installed(name)
        if version != now:
            found[name] = f"stored with {name} {version}, this is {now}"
    if "features" in found:
        found["features"] = "stored by a churn whose features meant something else"
    return found


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "an environment without it"


def reason_to_train(facts: Mapping[str, Any]) -> str:
    """Why a model must be trained anew after an upgrade; empty if it can be used.

    ``facts``: those of model.json. Versions that differ only in their last part, such
    as 1.9.0 and 1.9.1, can be used.
    """
    stored = _stored(facts)
    grave = []
    for name, sentence in differences(stored).items():
        is_close = _line(stored[name]) == _line(_installed(name))
        if name == "features" or not (name in EXACT or is_close):
            grave.append(sentence)
    return "; ".join(grave)


def _stored(facts: Mapping[str, Any]) -> dict[str, str]:
    """Versions by name; earlier models state at most that of scikit-learn."""
    if "versions" in facts:
        return dict(facts["versions"])
    named = {"features": "1"}
    if "scikit_learn" in facts:
        named["scikit-learn"] = facts["scikit_learn"]
    return named


def _line(version: str) -> list[str]:
    """The first two parts of a version, within which a library keeps its promises."""
    return re.split(r"[.+]", version)[:2]


def check(
    model_id: str,
    facts: Mapping[str, Any],
) -> None:
    """Raise ModelError for a model that another version stored."""
    if reason := reason_to_train(facts):
        raise ModelError(f"model {model_id} was {reason}: {advice(facts)}")


def hint(facts: Mapping[str, Any]) -> str:
    """What to add to the error of a model that can't be opened; empty if nothing."""
    found = differences(_stored(facts))
    if not found:
        return ""
    return f" It was {'; '.join(found.values())}: if that is why, {advice(facts)}."


def is_own(facts: Mapping[str, Any]) -> bool:
    """Whether the model is a user's own classifier, which a training would replace."""
    return OWN in facts.get("recipe", {}).get("weights", {})


def advice(facts: Mapping[str, Any]) -> str:
    """How to train such a model anew."""
    if is_own(facts):
        return "train your classifier again, `study.train(model=…).save()`"
    return "run `churn run train`"
