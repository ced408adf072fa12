"""Amounts of which no one says in which currency they are."""

import polars as pl

from churn.settings import Settings


def taken_for_own(tally: pl.DataFrame, settings: Settings) -> list[str]:
    """A sentence for each extract with amounts that are taken for the study's currency.

    ``tally`` has the rows of all events in the log (schemas.Tally).
    """
    is_filled = pl.col("measure") == "column"
    counts = (
        tally.filter(is_filled)
        .group_by("extract")
        .agg(
            n_amounts=pl.col("n").filter(pl.col("value") == "revenue").sum(),
            n_stated=pl.col("n").filter(pl.col("value") == "currency").sum(),
        )
    )
    unstated = counts.filter(pl.col("n_stated") < pl.col("n_amounts")).sort("extract")
    own = settings.activity.currency
    return [
        f"extract {extract}: {n_amounts - n_stated:,} of {n_amounts:,} amounts state no "
        f"currency and are taken for {own}; if they are in another, set currency in "
        "the extract"
        for extract, n_amounts, n_stated in unstated.iter_rows()
    ]
