"""Gates: is this data, are these scores, fit to be sent? Each says what it saw as one
finding.
"""

from datetime import date
from typing import Any

import polars as pl

from churn.clocks import known_before
from churn.events import addresses
from churn.model.fitting import Model
from churn.scoring import day_gates
from churn.scoring.gate import finding, verdict
from churn.settings import Settings
from churn.store import Store
from churn.store.schemas import Findings

RECENT_WEEKS = 4  # before the newest ingest, whose files are looked at
MIN_ROWS = 100  # of an ingest, below which its copies are not looked at
REPORT_LIMITS = (
    200_000,
    1_000_000,
)  # rows at which AppsFlyer cuts a raw-data report off


def check(
    store: Store, cutoff: date, scores: pl.DataFrame, model: Model
) -> pl.DataFrame:
    """Every gate's finding for one cutoff; see ``tables.Findings``."""
    volume, tally, files = (
        store.scan(table).collect() for table in ("volume", "tally", "files")
    )
    found = [
        *data(volume, tally, files, store.settings, cutoff),
        score_shift(store.settings, cutoff, scores, model),
        calibrated(store.settings, cutoff, model),
        match_rate(store, scores),
    ]
    return Findings.validate(pl.DataFrame(found).select(Findings.column_names()))


def data(
    volume: pl.DataFrame,
    tally: pl.DataFrame,
    files: pl.DataFrame,
    settings: Settings,
    cutoff: date,
) -> list[dict[str, Any]]:
    """The findings about the log alone: of events before the cutoff, and of those only
    what was known before it.
    """
    known = volume.filter(known_before(pl.lit(cutoff)))
    counted = tally.filter(pl.col("date") < cutoff)
    days = day_gates.day_ratios(known, settings, cutoff)
    return [
        day_gates.missing_day(days, settings, cutoff),
        day_gates.excess_day(days, settings, cutoff),
        day_gates.vanished_event(known, cutoff),
        day_gates.unknown_users(known, settings, cutoff),
        day_gates.clock_shift(counted, settings, cutoff),
        day_gates.bulk_backfill(known, settings, cutoff),
        day_gates.schema_change(counted, cutoff),
        day_gates.mixed_currencies(counted, settings, cutoff),
        truncated_report(files, settings, cutoff),
        duplicate_rows(files, settings, cutoff),
    ]


def truncated_report(
    files: pl.DataFrame, settings: Settings, cutoff: date
) -> dict[str, Any]:
    """Fails if an AppsFlyer file of the last weeks has exactly as many rows as a report
    can have: the rest is lost.
    """
    extracts = [
        extract.path for extract in settings.extracts if extract.source == "appsflyer"
    ]
    recent = pl.col("ingested_at") >= pl.col("ingested_at").max() - pl.duration(
        weeks=RECENT_WEEKS
    )
    cut = files.filter(
        recent & pl.col("extract").is_in(extracts) & pl.col("rows").is_in(REPORT_LIMITS)
    )
    cases = [
        (address, str(at.date()), f"exactly {rows:,} rows")
        for address, at, rows in cut.select("address", "ingested_at", "rows")
        .sort("address")
        .iter_rows()
    ]
    cure = "AppsFlyer cuts reports off there: fetch the period in shorter ones and ingest them"
    return verdict(
        cutoff,
        "truncated_report",
        cases,
        "fewer rows than the limit",
        cure,
        "no report was cut off",
    )


def duplicate_rows(
    files: pl.DataFrame, settings: Settings, cutoff: date
) -> dict[str, Any]:
    """Fails if many rows of the newest ingest are copies of others in it: a report
    delivered twice.
    """
    limit = settings.gates.max_copy_rate
    newest = files.filter(pl.col("ingested_at") == pl.col("ingested_at").max()).sort(
        "copies", "address"
    )
    counts = newest.group_by("extract").agg(
        pl.col("ingested_at", "address").last(), pl.col("copies", "rows").sum()
    )
    copied = counts.filter(
        pl.col("rows") >= MIN_ROWS, pl.col("copies") > limit * pl.col("rows")
    ).sort("extract")
    cases = [
        (
            extract,
            str(at.date()),
            f"{copies:,} of {rows:,} rows are copies, most of them in {address}",
        )
        for extract, at, address, copies, rows in copied.iter_rows()
    ]
    cure = "Look for a report delivered twice; if reports overlap on purpose, raise max_copy_rate"
    return verdict(
        cutoff,
        "duplicate_rows",
        cases,
        f"at most {limit:.0%} copies",
        cure,
        "few or no rows are copies",
    )


def score_shift(
    settings: Settings, cutoff: date, scores: pl.DataFrame, model: Model
) -> dict[str, Any]:
    """Fails if the mean probability is far from the churn rate the model was trained
    on.
    """
    mean = float(scores["probability"].to_numpy().mean())
    shift = abs(mean - model.churn_rate)
    passed = shift <= settings.gates.max_score_shift and not scores.is_empty()
    sentence = (
        f"mean probability {mean:.1%} against a churn rate of {model.churn_rate:.1%} in training"
        if passed
        else f"{scores.height} users scored, mean probability {mean:.1%}, but {model.churn_rate:.1%} churned in "
        "training: look for missing events, or train again"
    )
    limit = f"within {settings.gates.max_score_shift:.0%} of {model.churn_rate:.1%}"
    return finding(
        cutoff, "score_shift", passed, sentence, expected=limit, seen=f"{mean:.1%}"
    )


def calibrated(settings: Settings, cutoff: date, model: Model) -> dict[str, Any]:
    """Fails if the newest outcomes known in training show the level of the
    probabilities to be off for sure.
    """
    low, high = model.calibration or (float("nan"), float("nan"))
    return finding(
        cutoff,
        **calibration_finding(low, high, settings.gates.max_calibration_shift),
    )


def match_rate(store: Store, scores: pl.DataFrame) -> dict[str, Any]:
    """Fails if too few scored users have an identifier by which Braze knows them, and
    no other user.
    """
    n, n_matched, n_shared = (
        addresses.match_report(store, scores)
        .select("n", "n_matched", "n_shared")
        .row(0)
    )
    rate, limit = n_matched / n if n else 0.0, store.settings.gates.min_match_rate
    sentence = (
        f"{n_matched} of {n} scored users ({rate:.1%}) have an identifier ({store.settings.braze.kind}) that Braze knows; "
        f"{n_shared} share theirs with others"
    )
    cure = (
        ""
        if rate >= limit
        else "; is identifier the right one, and do the extracts carry it?"
    )
    expected = f"at least {limit:.0%}"
    return finding(
        scores["cutoff"][0],
        "match_rate",
        rate >= limit,
        sentence + cure,
        expected=expected,
        seen=f"{rate:.1%}",
    )


def calibration_finding(low: float, high: float, limit: float) -> dict[str, Any]:
    """What the gate ``calibration`` says of the 95 % interval of the newest intercept:
    fails if all of it is beyond.

    So a small sample, whose interval is wide, never stops a run by chance alone; NaN,
    nothing to judge by, passes.
    """
    passed = not (low > limit or high < -limit)
    way = "fewer" if high < 0 else "more"
    seen = f"{low:+.2f} to {high:+.2f}"
    cure = f"{way} users churned than was forecast: train again on newer cutoffs; cut segments by share until it holds"
    calm = (
        "the newest outcomes are near their forecast"
        if low <= high
        else "no outcome yet to judge the forecast by"
    )
    sentence = (
        calm if passed else f"probabilities are off by {seen} in log-odds, {cure}"
    )
    expected = f"within ±{limit:g} in log-odds"
    return {
        "gate": "calibration",
        "passed": passed,
        "sentence": sentence,
        "expected": expected,
        "seen": seen,
    }
