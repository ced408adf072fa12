"""What people do before they leave, and what moves their forecasts, in sentences."""

import polars as pl

from churn.explore.leaving import WEEKS
from churn.report.numbers import percent

LEAST = 0.02
"""Fewest events per user and week in the first of the weeks to speak of a fall."""


def before_leaving(table: pl.DataFrame) -> str:
    """Which event became rarer most before users left, beside those who stayed.

    ``table``: that of ``explore.leaving.before_leaving``.
    """
    first = table.filter(pl.col("weeks_before") == WEEKS - 1)
    last = table.filter(pl.col("weeks_before") == 0)
    both = last.join(first, on="event", suffix="_first")
    fall = (pl.col("leavers") / pl.col("leavers_first")) / (
        pl.col("stayers") / pl.col("stayers_first")
    )
    is_usual = pl.min_horizontal("leavers_first", "stayers_first", "stayers") > LEAST
    falls = both.filter(is_usual).with_columns(fall=fall).sort("fall", "event")
    if falls.is_empty():
        return (
            "Too few users left, or stayed, to compare what they did before: at least "
            "20 of each are needed, with some weeks behind them."
        )
    row = falls.row(0, named=True)
    opening = f"`{row['event']}` became rarest, beside those who stayed"
    if row["fall"] >= 1:
        opening = f"No event became rarer; `{row['event']}` grew least"
    return (
        f"**{opening}:** {row['leavers_first']:.2f} times per user {WEEKS - 1} weeks "
        f"before the last activity, {row['leavers']:.2f} in the week of it. Of those who "
        f"stayed it was {row['stayers_first']:.2f} and {row['stayers']:.2f}. "
        f"{row['n_leavers']:,} users who left are compared with {row['n_stayers']:,} who "
        "stayed."
    )


def drivers(table: pl.DataFrame) -> str:
    """Which kinds of features raise and lower most forecasts, and how far.

    ``table``: that of ``scoring.drivers.measure``.
    """
    if table.is_empty():
        return "History is too short to say what moves the forecasts."
    up = _strongest(table, "share_with_higher_risk", "mean_rise_rate")
    down = _strongest(table, "share_with_lower_risk", "mean_fall_rate")
    return f"Raised most by {up}. Lowered most by {down}."


def _strongest(table: pl.DataFrame, share: str, push: str) -> str:
    moved = table.filter(pl.col(share) > 0)
    ordered = moved.sort(pl.col(share) * pl.col(push), descending=True).head(2)
    parts = [
        f"**{row['meaning']}** (for {percent(row[share])} of users, by "
        f"{100 * row[push]:.0f} points on average)"
        for row in ordered.iter_rows(named=True)
    ]
    return " and ".join(parts) or "nothing"
