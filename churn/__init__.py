"""Churn prediction on your own event data, delivered to Braze.

>>> import churn
>>> study = churn.open("churn.toml")  # doctest: +SKIP
>>> study.score().segments()  # doctest: +SKIP
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from churn.errors import (
    BrazeError,
    BusyError,
    ChurnError,
    ClusterError,
    CutoffError,
    GateError,
    InputError,
    LeakError,
    ModelError,
    NotebookError,
    ParameterError,
    StoreError,
    StudyError,
    TerminalBrazeError,
    TrainingError,
    TransientBrazeError,
)

if TYPE_CHECKING:
    from churn import charts
    from churn.explore.definitions import Rule
    from churn.model.own import linear_classifier
    from churn.study import Study, open

__version__ = "0.1.0"

__all__ = [
    "BrazeError",
    "BusyError",
    "ChurnError",
    "ClusterError",
    "CutoffError",
    "GateError",
    "InputError",
    "LeakError",
    "ModelError",
    "NotebookError",
    "ParameterError",
    "Rule",
    "StoreError",
    "Study",
    "StudyError",
    "TerminalBrazeError",
    "TrainingError",
    "TransientBrazeError",
    "__version__",
    "charts",
    "linear_classifier",
    "open",
]

_LAZY = {
    "Rule": "churn.explore.definitions",
    "Study": "churn.study",
    "linear_classifier": "churn.model.own",
    "open": "churn.study",
}

# scikit-learn loads GNU OpenMP, whose idle threads spin for a long time before they
# sleep. If other programs use the same cores, a training then takes ten times as long.
# A short spin avoids that and costs nothing on an idle machine.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that `churn --help` stays quick."""
    if name == "charts":
        return import_module("churn.charts")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'churn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
