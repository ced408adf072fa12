"""What the steps of a study return: small objects with tables, sentences and record().

Tables are polars frames ready to be read, sentences are Markdown text, and record()
puts a step's figures into the executed notebook.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from churn.results.challenge import Challenge
    from churn.results.delivery import Scores
    from churn.results.export import Export
    from churn.results.forecast import Backtest
    from churn.results.history import Definitions, Ingest, Inventory, Silence
    from churn.results.monitor import Monitor
    from churn.results.training import Training

__all__ = [
    "Backtest",
    "Challenge",
    "Definitions",
    "Export",
    "Ingest",
    "Inventory",
    "Monitor",
    "Scores",
    "Silence",
    "Training",
]

_MODULES = {
    "Backtest": "churn.results.forecast",
    "Challenge": "churn.results.challenge",
    "Definitions": "churn.results.history",
    "Export": "churn.results.export",
    "Ingest": "churn.results.history",
    "Inventory": "churn.results.history",
    "Monitor": "churn.results.monitor",
    "Scores": "churn.results.delivery",
    "Silence": "churn.results.history",
    "Training": "churn.results.training",
}


def __getattr__(name: str) -> Any:
    """Load a result on first use, so that an ingest loads nothing of the forecast."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'churn.results' has no attribute {name!r}")
