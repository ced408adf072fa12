"""What benchmarks share: ingested studies, backtests, and how tables are printed."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from churn.evaluation import backtest
from churn.evaluation.backtest import Backtest
from churn.events import ingest
from churn.settings import Settings
from churn.store import Store, open_filled

DATA = Path(__file__).resolve().parents[3] / "shared/data"
"""Default folder of the real logs, each in NAME/events.parquet."""


def parser(description: str | None) -> ArgumentParser:
    """A parser whose help is a module's docstring, as it stands."""
    return ArgumentParser(
        description=description, formatter_class=RawDescriptionHelpFormatter
    )


def filled(settings: Settings) -> Store:
    """The store of a study, its extracts ingested; a second time adds nothing."""
    ingest.ingest(settings, progress=False)
    return open_filled(settings)


def tested(store: Store, newest: date, n_test_cutoffs: int) -> Backtest:
    """A backtest of the last cutoffs up to ``newest``, whatever the study's number."""
    update = {"n_test_cutoffs": n_test_cutoffs}
    settings = store.settings.model_copy(
        update={"backtest": store.settings.backtest.model_copy(update=update)}
    )
    return backtest.backtest(store.under(settings), newest, progress=False)


def chosen(predictions: pl.DataFrame) -> pl.DataFrame:
    """The predictions of the default model."""
    return predictions.filter(pl.col("model") == "chosen")


def wide_tables(**options: Any) -> pl.Config:
    """Polars' settings for printing all columns and rows of a table."""
    defaults: dict[str, Any] = {
        "tbl_cols": -1,
        "tbl_rows": -1,
        "tbl_width_chars": 220,
        "tbl_hide_dataframe_shape": True,
        "float_precision": 3,
    }
    return pl.Config(**defaults | options)


def show(frame: pl.DataFrame, file: Path) -> None:
    """Print a table, and write it as CSV."""
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.write_csv(file)
    print(frame, flush=True)
