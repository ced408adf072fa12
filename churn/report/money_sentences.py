"""What messages would bring in, and what revenue is at risk, in sentences.

A profit never stands without the assumptions that it rests on.
"""

import polars as pl

from churn.evaluation.scorecard import (
    break_even_save_rate,
    profit_threshold,
    worth_of_a_leaver,
)
from churn.report.numbers import one_in


def revenue_at_risk(table: pl.DataFrame, currency: str) -> str:
    """How much of the revenue is at risk, and in which group most of it lies."""
    total = float(table["revenue"].sum())
    at_risk = float(table["at_risk"].sum())
    if total <= 0:
        return "The log holds no revenue for these 30 days, so none is at risk."
    worst = table.sort("at_risk", descending=True).row(0, named=True)
    return (
        f"{at_risk:,.0f} of {total:,.0f} {currency} ({at_risk / total:.0%}) were at "
        f"risk, most of it in group {worst['group']} "
        f"({worst['at_risk']:,.0f} {currency})."
    )


def profit(
    predictions: pl.DataFrame,
    value_per_saved: float,
    cost_per_contact: float,
    save_rate: float,
    currency: str,
) -> str:
    """Whom it would pay to contact under stated assumptions, and when it breaks even."""
    worth = worth_of_a_leaver(value_per_saved, save_rate)
    if worth <= 0:
        return (
            "Not shown: state what a saved user is worth with `-p value_per_saved=…` "
            "(and cost_per_contact, save_rate)."
        )
    assumed = _assumed(value_per_saved, cost_per_contact, save_rate, currency)
    threshold = profit_threshold(value_per_saved, cost_per_contact, save_rate)
    contacted = predictions.filter(pl.col("probability") > threshold)
    stakes = (value_per_saved, cost_per_contact)
    if contacted.is_empty():
        riskiest = predictions.sort("probability").tail(1)
        needed = break_even_save_rate(riskiest, *stakes)
        return f"{assumed}, no contact pays. {_needed('the riskiest user', needed)}"
    cost = contacted.height * cost_per_contact
    expected = float(contacted["probability"].sum()) * worth - cost
    hindsight = float(contacted["churned"].sum()) * worth - cost
    needed = break_even_save_rate(contacted, *stakes)
    return (
        f"{assumed}, then a contact pays from a probability of {threshold:.1%}: "
        f"{contacted.height:,} of {predictions.height:,} users, for an expected profit "
        f"of {expected:,.0f} {currency}, or of {hindsight:,.0f} {currency} by who then "
        f"left. {_needed('them', needed)} Nothing of this was earned: how many "
        "stay because of a contact is an assumption until a holdout has measured it."
    )


def _needed(whom: str, save_rate: float) -> str:
    if save_rate > 1:
        return f"Contacting {whom} would not pay even if all leavers stayed."
    if save_rate <= 0:
        return f"Contacting {whom} costs nothing."
    return f"Contacting {whom} breaks even if {one_in(save_rate)} of the leavers stays."


def profit_in_short(
    predictions: pl.DataFrame,
    value_per_saved: float,
    cost_per_contact: float,
    save_rate: float,
    currency: str,
) -> str:
    """The same in two sentences, for the top of a page."""
    worth = worth_of_a_leaver(value_per_saved, save_rate)
    if worth <= 0:
        return (
            "What messages would bring in is not known: state what a user who stays is "
            "worth (`value_per_saved`, and cost_per_contact and save_rate beside it)."
        )
    assumed = _assumed(value_per_saved, cost_per_contact, save_rate, currency)
    threshold = profit_threshold(value_per_saved, cost_per_contact, save_rate)
    chosen = predictions.filter(pl.col("probability") > threshold)
    if chosen.is_empty():
        return f"{assumed}, no contact pays."
    expected = float(chosen["probability"].sum()) * worth
    earned = expected - chosen.height * cost_per_contact
    needed = break_even_save_rate(chosen, value_per_saved, cost_per_contact)
    least = f"; it breaks even at {one_in(needed)}" if needed > 0 else ""
    return (
        f"{assumed}, then contacting {chosen.height:,} of {predictions.height:,} users "
        f"would bring in {earned:,.0f} {currency}{least}. Only a group without messages "
        "shows how many really stay."
    )


def _assumed(
    value_per_saved: float,
    cost_per_contact: float,
    save_rate: float,
    currency: str,
) -> str:
    return (
        f"If {one_in(save_rate)} contacted leavers stays because of a message, worth "
        f"{value_per_saved:,g} {currency} each, and a contact costs "
        f"{cost_per_contact:,g} {currency}"
    )
