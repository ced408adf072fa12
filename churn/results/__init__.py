"""What the steps of a study return: small objects with tables, sentences and record().

Tables are polars frames ready to be read, sentences are Markdown text, and record()
puts a step's figures into the executed notebook.
"""

from churn.results.delivery import Export, Scores
from churn.results.forecast import Backtest, Training
from churn.results.history import Definitions, Ingest, Inventory, Silence

__all__ = [
    "Backtest",
    "Definitions",
    "Export",
    "Ingest",
    "Inventory",
    "Scores",
    "Silence",
    "Training",
]
