"""What figures by weekday of scoring mean, in Markdown sentences for readers."""

from collections.abc import Sequence

import polars as pl

from churn.evaluation import weekdays

MIN_CUTOFFS = 2
"""Fewest test cutoffs of a weekday whose level is judged."""


def answer(table: pl.DataFrame) -> str:
    """On which weekdays the level is off, and which were not tested.

    ``table``: that of ``weekdays.by_weekday``. A weekday with a single test cutoff isn't
    judged: what is off there may be the period and not the weekday.

    >>> figures = {"weekday": [1, 4], "predicted_rate": [0.3, 0.2]}
    >>> figures |= {"n_cutoffs": [2, 2]}
    >>> figures |= {"churn_rate": [0.2, 0.2], "off_low": [0.3, -0.1]}
    >>> answer(pl.DataFrame(figures | {"off_high": [0.7, 0.1]})).split(":")[0]
    '**On Monday the probabilities are too high by more than chance'
    """
    judged = table.filter(pl.col("n_cutoffs") >= MIN_CUTOFFS)
    is_off = (pl.col("off_low") > 0) | (pl.col("off_high") < 0)
    parts = [_off(row) for row in judged.filter(is_off).iter_rows(named=True)]
    if parts:
        which = "that weekday" if len(parts) == 1 else "these weekdays"
        parts.append(f"Scores of {which} are a ranking, not rates.")
    elif judged.is_empty():
        parts.append(
            "Each weekday was tested at one date only, which can't tell the weekday "
            "from the period; a larger backtest.n_test_cutoffs can."
        )
    else:
        parts.append("On no weekday judged is the level off by more than chance.")
    missing = weekdays.untested(table)
    if missing:
        parts.append(f"Not tested: {_listed(missing)}.")
    return " ".join(parts)


def _off(row: dict[str, float]) -> str:
    way = "high" if row["off_low"] > 0 else "low"
    return (
        f"**On {weekdays.NAMES[int(row['weekday']) - 1]} the probabilities are too "
        f"{way} by more than chance: {row['predicted_rate']:.1%} were forecast to "
        f"churn, and {row['churn_rate']:.1%} did.**"
    )


def _listed(names: Sequence[str]) -> str:
    """Names as a list in a sentence.

    >>> _listed(["Monday"]), _listed(["Monday", "Friday", "Sunday"])
    ('Monday', 'Monday, Friday and Sunday')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
