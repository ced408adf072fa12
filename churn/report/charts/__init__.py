"""The charts of the reports, each a function of frames."""

from churn.report import theme
from churn.report.charts.delivery import scores, segments, transitions
from churn.report.charts.forecast import (
    calibration,
    learning,
    lift,
    metric_by_cutoff,
    profit,
)
from churn.report.charts.history import definitions, events_per_day, retention, returns
from churn.report.charts.monitor import (
    drift,
    levels,
    promised,
    segments_came_true,
)
from churn.report.charts.users import before_leaving, user_days

__all__ = [
    "before_leaving",
    "calibration",
    "definitions",
    "drift",
    "events_per_day",
    "learning",
    "levels",
    "lift",
    "metric_by_cutoff",
    "profit",
    "promised",
    "retention",
    "returns",
    "scores",
    "segments",
    "segments_came_true",
    "transitions",
    "user_days",
]

theme.register()
