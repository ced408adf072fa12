"""What the figures mean, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from churn.explore import definitions
from churn.explore.definitions import Rule
from churn.explore.retention import shortest_horizon
from churn.settings import Settings

if TYPE_CHECKING:
    from churn.events.ingest import Ingest
    from churn.model.fitting import Model

SLOPES = (0.8, 1.25)


def calibration(table: pl.DataFrame, limit: float) -> str:
    """Whether the newest test cutoff's probabilities can be taken at their word, and if
    not, what to do.

    ``limit``: see ``calibration_finding``.
    """
    from churn.scoring.score_gates import calibration_finding

    row = table.row(-1, named=True)
    forecast, came = row["forecast_churn_rate"], row["churn_rate"]
    said = f"At {row['cutoff']} a churn rate of {forecast:.1%} was forecast, {came:.1%} came"
    if not calibration_finding(row["intercept_low"], row["intercept_high"], limit)[
        "passed"
    ]:
        return (
            f"{said}. **OUT OF BOUNDS: the level of the probabilities is off**, so read them as a ranking, not as "
            "rates; train again on newer cutoffs, and cut segments by share rather than by probability until it holds."
        )
    if row["slope_low"] > SLOPES[1] or row["slope_high"] < SLOPES[0]:
        way = "too extreme" if row["slope"] < 1 else "too timid"
        return f"{said}. **OUT OF BOUNDS: high and low probabilities are {way}**; read them as a ranking, not as rates."
    if row["intercept_low"] > 0 or row["intercept_high"] < 0:
        way = "low" if came > forecast else "high"
        return f"{said}: too {way} by more than chance, but not by enough to warn of."
    return f"{said}: nothing speaks against taking the probabilities at their word."


def answer(predictions: pl.DataFrame, horizon_days: int) -> str:
    """What the chosen model is good for, in two sentences, over all test cutoffs."""
    chosen = predictions.filter(pl.col("model") == "chosen").sort(
        "probability", descending=True
    )
    y = chosen["churned"].to_numpy()
    fifth, tenth = (y[: max(1, len(y) // part)] for part in (5, 10))
    return (
        f"**Of the riskiest tenth {tenth.mean():.0%} did not come back within {horizon_days} days, of all users "
        f"{y.mean():.0%}.** "
        f"Contacting the riskiest fifth would have reached {fifth.sum() / max(1, y.sum()):.0%} of those who left."
    )


def ceiling(skill: float | None) -> str:
    """What a ceiling skill means, in one sentence; nothing where the truth is
    unknown.
    """
    if skill is None:
        return ""
    return f"This app is simulated: the model knows {skill:.0%} of what could be known (100 % is the true probability)."


def training(model: Model, settings: Settings) -> str:
    """What a model learned from, and how the level of its probabilities is corrected."""
    most = settings.backtest.max_training_rows
    rows = f"{model.n_rows:,} rows (at most {most:,}) of {len(model.cutoffs)} cutoffs"
    return (
        f"**{model.model_id}** learned from {rows}; {model.churn_rate:.1%} of them "
        f"churned. Correction of the level: {model.correction.kind}."
    )


def profit(
    predictions: pl.DataFrame,
    value_per_saved: float,
    cost_per_contact: float,
    save_rate: float,
    currency: str,
) -> str:
    """Whom it would have paid to contact, what was expected of it and what it would
    have come to.
    """
    from churn.evaluation.scorecard import profit_threshold

    if value_per_saved * save_rate <= 0:
        return "Not shown: state what a saved user is worth with `-p value_per_saved=…` (and cost_per_contact, save_rate)."
    at = profit_threshold(value_per_saved, cost_per_contact, save_rate)
    who = predictions.filter(pl.col("probability") > at)
    expected, realised = (
        float((who[name] * save_rate * value_per_saved - cost_per_contact).sum())
        for name in ("probability", "churned")
    )
    return (
        f"A contact pays from a probability of {at:.1%}: {who.height:,} of {predictions.height:,} users. "
        f"Expected profit {expected:,.0f} {currency}; by who then churned, {realised:,.0f} {currency}."
    )


def revenue_at_risk(table: pl.DataFrame, currency: str) -> str:
    """How much of the revenue is at risk, and in which group most of it lies."""
    total, at_risk = float(table["revenue"].sum()), float(table["at_risk"].sum())
    if total <= 0:
        return "The log holds no revenue of these 30 days, so none is at risk."
    worst = table.sort("at_risk", descending=True).row(0, named=True)
    return (
        f"{at_risk:,.0f} of {total:,.0f} {currency} ({at_risk / total:.0%}) were at risk, most of it in group "
        f"{worst['group']} ({worst['at_risk']:,.0f} {currency})."
    )


def next_period(stated: pl.DataFrame) -> str:
    """The statement for readers.

    >>> stated = pl.DataFrame({"figure": ["auc", "log_loss"], "estimate": [0.83, 0.5]})
    >>> stated = stated.with_columns(low=pl.Series([0.8, 0.4]), high=pl.Series([0.86, 0.6]))
    >>> next_period(stated)[:53]
    'At the next scoring expect AUC 0.830 (0.800 to 0.860)'
    """
    from churn.evaluation.next_period import COVERAGE

    auc, loss = (
        f"{r['estimate']:.3f} ({r['low']:.3f} to {r['high']:.3f})"
        for r in stated.iter_rows(named=True)
    )
    return (
        f"At the next scoring expect AUC {auc}, how often a churner is ranked above one who stays, and log loss "
        f"{loss}, lower is better. {COVERAGE:.0%} of such intervals are meant to hold."
    )


def learning_curve(table: pl.DataFrame) -> str:
    """From where on more gains less than 0.005 of log loss, or that more may still
    help.
    """
    if table.is_empty():
        return "Not run, since it trains a dozen models: `churn run evaluate -p learning_curve=true`."
    return " ".join(
        _enough(part) for part in table.partition_by("what", maintain_order=True)
    )


def _enough(part: pl.DataFrame) -> str:
    from churn.evaluation.learning_curve import ENOUGH

    what = part["what"][0]
    known = part.drop_nulls("log_loss")
    if known.height < 2:
        return f"Too few {what} to say how many are enough."
    enough = known.filter(pl.col("log_loss") <= pl.col("log_loss").last() + ENOUGH)[
        "n"
    ][0]
    if enough == known["n"][-1]:
        return f"More {what} than the {enough:,} there are may still help."
    return f"{enough:,} {what} are enough: all {known['n'][-1]:,} gain less than {ENOUGH} of log loss over them."


def silence(curve: pl.DataFrame, settings: Settings, max_return_rate: float) -> str:
    """The shortest horizon beside the study's, in one sentence."""
    horizon = shortest_horizon(curve, max_return_rate)
    ours = settings.windows.horizon_days
    rates = curve.filter(pl.col("silence_days") <= ours)["return_rate"]
    now = (
        f"After the study's {ours} days {rates[-1]:.0%} still return."
        if len(rates)
        else ""
    )
    if horizon is None:
        return f"After no silence seen here do fewer than {max_return_rate:.0%} still return. {now}"
    return f"After {horizon} days of silence fewer than {max_return_rate:.0%} still return. {now}"


def definition(table: pl.DataFrame, settings: Settings, rule: Rule) -> str:
    """The chosen definition in a sentence with its lines for churn.toml, or that none
    fits and what the nearest misses.

    ``table`` is that of ``definitions.compare``.
    """
    if table.is_empty():
        return (
            "The log is too short to judge any definition: each needs five cutoffs whose horizon is over, one of them"
            " a horizon before the last four, and as many days again to see who comes back."
        )
    chosen = definitions.choose(table)
    return _chosen(chosen, table, settings) if chosen else _nearest(table, rule)


def _chosen(row: dict[str, Any], table: pl.DataFrame, settings: Settings) -> str:
    horizon, eligible = row["horizon_days"], row["eligible_days"]
    same = table.filter(pl.col("horizon_days") == horizon)["chosen_rate"].sum()
    longer = (
        {"observation_days": eligible}
        if eligible > settings.windows.observation_days
        else {}
    )
    lines = {**longer, "eligible_days": eligible, "horizon_days": horizon}
    return (
        f"Judge who was active in the last {eligible} days and call it churn if the next {horizon} bring no activity:"
        f" {row['churn_rate']:.0%} churn and {row['return_rate']:.0%} of them come back anyway; even a simple score has"
        f" an AUC of {row['auc']:.2f} and is {row['head_start_days']} days ahead of the silence. With the users drawn"
        f" anew the rule chooses this horizon in {same:.0%} of draws, this very definition in"
        f" {row['chosen_rate']:.0%}.\n\n"
        + "\n".join(
            [
                "```toml",
                "[windows]",
                *(f"{name} = {days}" for name, days in lines.items()),
                "```",
            ]
        )
    )


def _nearest(table: pl.DataFrame, rule: Rule) -> str:
    near = table.sort(
        pl.col("misses").str.count_matches(","), "return_rate", "horizon_days"
    ).row(0, named=True)
    wanted = {
        "return rate": f"{near['return_rate']:.1%} of the churned come back anyway (limit {rule.max_return_rate:.0%})",
        "churn rate": f"{near['churn_rate']:.1%} churn (not {rule.min_churn_rate:.0%} to {rule.max_churn_rate:.0%})",
        "AUC": f"the AUC is {near['auc']:.2f} (limit {rule.min_auc})",
        "head start": f"a score is {near['head_start_days'] or 0} days ahead (limit {rule.min_head_start_days})",
    }
    missed = " and ".join(wanted[what] for what in near["misses"].split(", "))
    judged = table["horizon_days"].to_list()
    longer = (
        " (this log can't judge longer ones)"
        if max(judged) < max(definitions.HORIZONS)
        else ""
    )
    return (
        f"No definition with a horizon of up to {max(judged)} days fits{longer}. The nearest, active in the last"
        f" {near['eligible_days']} and not in the next {near['horizon_days']}: {missed}. With the users drawn anew some"
        f" definition fits in {table['chosen_rate'].sum():.0%} of draws."
    )


def ingest(arrived: Ingest) -> list[str]:
    """What one ingest did, one line each: files, rows, faults, people and coverage."""
    n_known = arrived.files.height - arrived.n_new_files
    totals = [f"{name} {n:,}" for name, n in arrived.totals.items()]
    lines = [
        f"{arrived.n_new_files} new file(s), {n_known} already known",
        "  ".join(totals),
    ]
    for reason, n in arrived.reasons.iter_rows():
        lines.append(f"  quarantined {reason}: {n:,}")
    if arrived.waiting:
        lines.append(
            f"{len(arrived.waiting)} file(s) wait until their hour has a _SUCCESS marker"
        )
    lines.append(
        f"{arrived.people['users']:,} users,"
        f" {arrived.people['anonymous']:,} people without a user id"
    )
    if arrived.n_requests:
        lines.append(
            f"{arrived.n_requests} row(s) ask for a person's erasure:"
            " churn forget --requested"
        )
    return [*lines, f"complete until {arrived.covered_until or '(no events yet)'}"]
