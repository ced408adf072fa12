"""All gates: checks of whether the data and the scores are fit to be sent.

Each gate checks one thing and returns one finding. What they read is small: the tables
volume, tally and files, whose rows are days and files and not users, and the scores.
Only ``match_rate`` reads more, if users are addressed by an id of another kind than
their own: the identity edges of the scored users.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from churn.clocks import known_before
from churn.model.fitting import Model
from churn.scoring import (
    age_gate,
    arrival_gates,
    clock_gates,
    content_gates,
    model_age,
    monitor_gate,
    volume_gates,
)
from churn.scoring.accepted import Accepted, read, without
from churn.scoring.baseline import days_before
from churn.scoring.empty_days import empty_days
from churn.scoring.score_gates import calibrated, match_rate, score_shift
from churn.scoring.silent_hours import silent_hours
from churn.settings import Settings
from churn.store import Store
from churn.store.score_schemas import Findings


def check(
    store: Store,
    cutoff: date,
    scores: pl.DataFrame,
    model: Model,
    present: date,
) -> pl.DataFrame:
    """The findings of every gate for one cutoff, see ``schemas.Findings``.

    ``present`` is the date by which the age of the data is judged.
    """
    settings = store.settings
    findings = [
        *before_scores(store, cutoff, present).iter_rows(named=True),
        model_age.stale_model(settings, cutoff, model),
        score_shift(settings, cutoff, scores, model),
        calibrated(settings, cutoff, scores, model),
        match_rate(store, scores),
        monitor_gate.came_true(store.place, cutoff, model.model_id),
    ]
    return Findings.validate(pl.DataFrame(findings).select(Findings.column_names()))


def before_scores(
    store: Store,
    cutoff: date,
    present: date,
) -> pl.DataFrame:
    """The findings that need no scores: of the age of the data and of the log.

    A night stops on them before it trains or scores. They are made again with the
    scores, since a notebook may score another cutoff, or the day may have changed.
    """
    settings = store.settings
    first = days_before(cutoff, settings.gates.window_days)
    volume = store.scan("volume").collect()
    findings = [
        age_gate.stale_data(volume, settings, cutoff, present),
        *data(
            volume,
            store.scan("tally").collect(),
            store.scan("files").collect(),
            settings,
            cutoff,
            read(store.place, first),
        ),
    ]
    return Findings.validate(pl.DataFrame(findings).select(Findings.column_names()))


def data(
    volume: pl.DataFrame,
    tally: pl.DataFrame,
    files: pl.DataFrame,
    settings: Settings,
    cutoff: date,
    accepted: Sequence[Accepted] = (),
) -> list[dict[str, Any]]:
    """The findings about the log alone.

    Only events that happened and were known before the cutoff count. Days that were
    ``accepted`` before fail no more.
    """
    known = volume.filter(known_before(pl.lit(cutoff)))
    counted = tally.filter(pl.col("date") < cutoff)
    days = volume_gates.day_ratios(known, settings, cutoff)
    off = volume_gates.holidays(settings, cutoff)
    cut_off = silent_hours(counted, settings, cutoff, off)
    empty = empty_days(known, settings, cutoff)
    findings = [
        volume_gates.missing_day(days, settings, cutoff, cut_off, empty),
        volume_gates.excess_day(days, settings, cutoff),
        volume_gates.vanished_event(known, settings, cutoff),
        content_gates.unknown_users(known, settings, cutoff),
        clock_gates.clock_shift(counted, settings, cutoff),
        arrival_gates.bulk_backfill(known, settings, cutoff),
        content_gates.schema_change(counted, cutoff),
        content_gates.mixed_currencies(counted, settings, cutoff),
        content_gates.copied_day(counted, settings, cutoff),
        arrival_gates.truncated_report(files, settings, cutoff),
        arrival_gates.duplicate_rows(files, settings, cutoff),
    ]
    return [without(finding, accepted) for finding in findings]
