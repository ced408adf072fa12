"""The feature catalogue as data: each feature's name, expression, meaning and kind.

The catalogue drives the computation, the tables of the reports and the documentation.
A window of w days holds the days with an age of 1 to w, where the day just before the
cutoff has age 1.
"""

from dataclasses import dataclass

import polars as pl

from churn.features import activity_features, app_week, event_features, habit_features

WINDOWS = (1, 3, 7, 14, 28, 60, 90, 180, 365)
"""Windows in days over which activity is counted, as far as the observation window."""

KINDS = {
    "silence": "how long the user has been away, compared with the user's own habit",
    "activity": "how much the user does",
    "trend": "whether activity grows or fades",
    "rhythm": "how regular the activity is, and on which days",
    "depth": "how much the user does on an active day",
    "variety": "which events, and how many different ones",
    "purchases": "what the user buys",
    "messages": "which messages the user received, and how the user responded",
    "tenure": "how long the user has been known",
}
"""Kinds of features, with the subject of each; reasons of a score name a kind."""


@dataclass(frozen=True)
class Plan:
    """The choices that determine the feature columns.

    The plan is stored with the model, so that scoring computes the same columns as the
    training.

    - ``observation_days``: length of the observation window.
    - ``counts_as_active``: as in the settings; if empty, events that users cause count.
    - ``vocabulary``: event names that are counted one by one, commonest first.
    - ``properties``: numeric properties that are summed one by one, commonest first.
    - ``sources``: sources in order of precedence where several report the same event.
    - ``timezone``: the study's time zone, in which the hours of events are read.
    """

    observation_days: int
    counts_as_active: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    timezone: str = "UTC"


@dataclass(frozen=True)
class Feature:
    """An aggregation over the days of a user, its one-line meaning and its kind.

    The kind is a key of ``KINDS``.
    """

    expr: pl.Expr
    meaning: str
    kind: str


def catalogue(plan: Plan) -> dict[str, Feature]:
    """Every feature of a plan by name, in column order.

    Variety comes first, so that an event named like another feature's column does not
    replace that feature.
    """
    whole = plan.observation_days
    windows = [w for w in WINDOWS if w < whole] + [whole]
    vocabulary, properties = plan.vocabulary, plan.properties
    groups = {
        "variety": event_features.variety(vocabulary, properties, whole),
        "silence": habit_features.silence() | app_week.silence(),
        "activity": activity_features.activity(windows)
        | event_features.any_event(whole),
        "trend": activity_features.trend(whole),
        "rhythm": habit_features.rhythm() | app_week.place(),
        "depth": activity_features.depth(),
        "purchases": event_features.purchases(whole),
        "messages": event_features.messages(whole),
        "tenure": activity_features.tenure(),
    }
    return {
        name: Feature(expr, meaning, kind)
        for kind, group in groups.items()
        for name, (expr, meaning) in group.items()
    }
