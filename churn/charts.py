"""The charts of the notebooks, each drawn from what a step of a study returned.

Altair is loaded when the first chart is drawn. In JupyterLab charts are live, in a
report they are still pictures.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from churn.results import (
        Backtest,
        Definitions,
        Export,
        Inventory,
        Monitor,
        Scores,
        Silence,
    )


def setup() -> None:
    """First call of a notebook: how its frames and charts look."""
    from churn.report import display

    display.setup()


def _drawing() -> Any:
    from churn.report import charts

    return charts


def events_per_day(inventory: "Inventory") -> Any:
    """Events per day, stacked by kind."""
    return _drawing().events_per_day(inventory.events_per_day())


def retention(cohorts: "pl.DataFrame") -> Any:
    """Share of each monthly cohort still active, by months since first seen."""
    return _drawing().retention(cohorts)


def returns(silence: "Silence") -> Any:
    """Share of users who still come back after n days of silence."""
    horizon_days = silence.shortest_horizon_days
    return _drawing().returns(silence.curve, silence.max_return_rate, horizon_days)


def definitions(candidates: "Definitions") -> Any:
    """Definitions of churn by the share of churned users who come back anyway."""
    return _drawing().definitions(candidates.table)


def before_leaving(inventory: "Inventory") -> Any:
    """Events in the last weeks of those who left, beside those who stayed."""
    return _drawing().before_leaving(inventory.before_leaving())


def user_days(days: "pl.DataFrame") -> Any:
    """One user's events by day; ``days`` from Inventory.user_days."""
    return _drawing().user_days(days)


def gains(backtest: "Backtest") -> Any:
    """Share of all churners found by contacting the riskiest users."""
    return _drawing().lift(backtest.gains())


def profit(backtest: "Backtest", *stakes: float) -> Any:
    """Profit by share of users contacted; ``stakes`` as in Backtest.profit."""
    currency = backtest.store.settings.activity.currency
    return _drawing().profit(backtest.profit(*stakes), currency)


def calibration(backtest: "Backtest") -> Any:
    """Predicted against actual churn rate in ten groups."""
    return _drawing().calibration(backtest.calibration_bins())


def metric_by_cutoff(
    backtest: "Backtest",
    metric: str,
    title: str,
) -> Any:
    """One figure, such as auc or log_loss, at every test cutoff."""
    return _drawing().metric_by_cutoff(backtest.figures, metric, title)


def learning_curve(curve: "pl.DataFrame | None") -> Any:
    """Log loss by amount of training data; no chart if ``curve`` is null."""
    return None if curve is None else _drawing().learning(curve)


def segments(scores: "Scores") -> Any:
    """Users per segment."""
    return _drawing().segments(scores.segments().rename({"users": "n"}))


def probabilities(scores: "Scores") -> Any:
    """Histogram of the probability of churn, with the boundaries of the segments."""
    return _drawing().scores(scores.table["probability"], scores.thresholds())


def transitions(export: "Export") -> Any:
    """Users by the segment that Braze has and the new one."""
    return _drawing().transitions(export.transitions(), export.segments)


def came_true(
    monitor: "Monitor",
    figure: str,
    title: str,
) -> Any:
    """A figure, auc or log_loss, by past scoring, over what was stated beforehand."""
    return _drawing().promised(monitor.closed, figure, title)


def levels(monitor: "Monitor") -> Any:
    """Forecast and actual share of users who did not come back, by past scoring."""
    return _drawing().levels(monitor.closed)


def segments_came_true(monitor: "Monitor") -> Any:
    """Share of each segment's users who did not come back, by past scoring."""
    order = [segment.name for segment in monitor.store.settings.segments]
    return _drawing().segments_came_true(monitor.by_segment(), order)


def drift(monitor: "Monitor") -> Any:
    """How far the newest users are from those the model learned from, by kind."""
    from churn.monitoring.judgement import DRIFTED

    return _drawing().drift(monitor.drift(), DRIFTED)
