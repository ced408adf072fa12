"""The verdict of each step: its word, tone, sentences and action."""

from dataclasses import replace
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn.evaluation import calibration, intervals, metrics
from churn.explore.definitions import SCHEMA, Rule
from churn.model.pipelines import Recipe
from churn.model.selection import FOLDS, Choice
from churn.report import (
    delivery_tables,
    delivery_verdicts,
    forecast_verdicts,
    history_verdicts,
)
from churn.report.verdict import VERDICT_MIME, Verdict
from churn.settings import Settings

UNTIL = date(2026, 3, 1)
CUTOFF = date(2026, 3, 2)
FRESH = {"passed": True, "sentence": "data 0 days old, at most 2 days old"}


@pytest.fixture
def settings(make_study: Any) -> Settings:
    """A study with high from 0.6 and low below."""
    return make_study(
        segments=[
            {"name": "high", "from_probability": 0.6},
            {"name": "low", "from_probability": 0.0},
        ]
    )


def text(verdict: Verdict) -> str:
    """All that a reader sees of a verdict, which never holds nan or None."""
    shown = str(verdict)
    assert "nan" not in shown
    assert "None" not in shown
    assert "inf" not in shown.replace("information", "")
    return shown


def test_a_notebook_gets_markdown_and_the_fields() -> None:
    """Markdown shows word, age, sentences and action; the JSON has dates as text."""
    made = Verdict("Ready", "good", ("**9** users.",), "Send.", UNTIL)
    bundle = made._repr_mimebundle_()
    assert bundle["text/markdown"] == (
        "**Ready** (data until 2026-03-01)\n\n**9** users.\n\n**Next:** Send."
    )
    assert bundle[VERDICT_MIME] == {
        "word": "Ready",
        "tone": "good",
        "sentences": ["**9** users."],
        "action": "Send.",
        "data_until": "2026-03-01",
    }
    undated = replace(made, data_until=None)
    assert undated.as_json()["data_until"] is None
    assert "data until" not in str(undated)


def arrived(**facts: Any) -> Any:
    """What an ingest did, in which one file brought 100 events unless stated."""
    totals = {"rows": 100, "kept": 100, "duplicate": 0, "quarantined": 0}
    usual = {
        "files": pl.DataFrame({"new": [True]}),
        "totals": totals | facts.pop("totals", {}),
        "covered_until": UNTIL,
        "n_new_files": 1,
        "n_again": 0,
        "n_added": 100,
    }
    return SimpleNamespace(**usual | facts)


def test_an_ingest_is_complete_incomplete_or_brings_nothing_new() -> None:
    """Missing days count if they are recent; so do many refused rows and old data."""
    ingest = history_verdicts.ingest
    whole = ingest(arrived(), [UNTIL - timedelta(days=200)], FRESH)
    assert (whole.word, whole.tone) == ("Complete until 2026-03-01", "good")
    assert "1 new or changed file with 100 rows added 100 events" in text(whole)
    holey = ingest(arrived(), [UNTIL - timedelta(days=3)], FRESH)
    assert (holey.word, holey.tone) == ("Incomplete", "caution")
    assert "2026-02-26" in text(holey)
    refused = ingest(arrived(totals={"quarantined": 20}), [], FRESH)
    assert refused.word == "Incomplete"
    assert "20 rows (20%) were refused" in text(refused)
    old = ingest(arrived(), [], {"passed": False, "sentence": "9 days old"})
    assert old.word == "Incomplete"
    assert "Too old: 9 days old." in text(old)
    nothing = ingest(arrived(n_new_files=0, n_added=0), [], FRESH)
    assert (nothing.word, nothing.tone) == ("Nothing new", "caution")
    empty = ingest(arrived(covered_until=None), [], FRESH)
    assert (empty.word, empty.tone, empty.data_until) == ("No events", "bad", None)


def compared(**columns: Any) -> pl.DataFrame:
    """One definition of churn, active in 28 days and away for 28, that fits."""
    row = {
        "horizon_days": 28,
        "eligible_days": 28,
        "n_users": 900,
        "churn_rate": 0.3,
        "return_rate": 0.08,
        "followed_days": 60,
        "auc": 0.8,
        "head_start_days": 9,
        "misses": "",
        "chosen_rate": 0.7,
    }
    return pl.DataFrame([row | columns], schema=SCHEMA)


def test_a_definition_fits_or_none_does_or_history_is_too_short(
    settings: Settings,
) -> None:
    """The study's own definition needs no copying; without people who return there is
    nothing to define.
    """
    rule, windows = Rule(), settings
    log_days = UNTIL - timedelta(days=300), UNTIL
    judge = history_verdicts.definition
    own = judge(compared(), windows, rule, 0.9, log_days)
    assert (own.word, own.tone) == ("Definition found", "good")
    assert "30% of users are, and 8% of those come back" in text(own)
    assert "uses it already" in own.action
    other = judge(compared(horizon_days=42), windows, rule, 0.9, log_days)
    assert "Copy its lines" in other.action
    none = judge(compared(misses="return rate"), windows, rule, 0.9, log_days)
    assert (none.word, none.tone) == ("Best available", "caution")
    assert "8% of those come back" in text(none)
    assert "Under the study's own definition" in text(none)
    short = judge(compared().clear(), windows, rule, None, None)
    assert (short.word, short.tone) == ("Too little history", "caution")
    young = judge(
        compared().clear(), windows, rule, None, (date(2026, 1, 1), date(2026, 1, 18))
    )
    assert "18 days so far; the study's windows need 56" in text(young)
    assert "Come back on 2026-02-26, or use 7 and 7 days now" in young.action
    assert "eligible_days = 7\nhorizon_days = 7" in young.action
    once = judge(compared(), windows, rule, 0.0, log_days)
    assert (once.word, once.tone) == ("No definition fits", "bad")
    assert "Nobody comes back" in text(once)


def model(**facts: Any) -> Any:
    """A model that learned from three dates."""
    cutoffs = tuple(date(2026, 1, day) for day in (1, 10, 19))
    usual = {
        "n_rows": 1200,
        "churn_rate": 0.25,
        "cutoffs": cutoffs,
        "gaps": "",
    }
    return SimpleNamespace(**usual | facts)


def folds(n: int) -> Choice:
    """A choice whose blend was better than recency on ``n`` forecasts."""
    rows = [("blend", CUTOFF, n, 0.40), ("recency", CUTOFF, n, 0.45)]
    return Choice(
        Recipe({"logistic": 1.0}), folds=pl.DataFrame(rows, FOLDS, orient="row")
    )


def test_a_training_says_what_it_learned_from_and_how_it_was_tested() -> None:
    """Few tested forecasts, none, or missing days are reasons for care."""
    good = forecast_verdicts.training(model(), folds(900), UNTIL)
    assert (good.word, good.tone) == ("Trained", "good")
    assert "1,200 users as they were at 3 past dates" in text(good)
    assert "error 0.400 against 0.450" in text(good)
    assert forecast_verdicts.training(model(), folds(90), UNTIL).tone == "caution"
    untested = forecast_verdicts.training(
        model(gaps="2 dates are left out"), Choice(Recipe({"logistic": 1.0})), None
    )
    assert untested.tone == "caution"
    assert "too short to test" in text(untested)
    assert "Mind: 2 dates are left out." in text(untested)


def predictions(
    n: int = 400,
    skill: float = 1.0,
    rule: float = 0.3,
    shift: float = 0.0,
    dates: int = 3,
) -> pl.DataFrame:
    """Forecasts at dates four weeks apart of users whose own log-odds are normal.

    ``skill`` and ``rule``: how much of them the model and recency know; ``shift``: by
    how much the model's log-odds are too high.
    """
    rng = np.random.default_rng(1)
    frames = []
    for k in range(dates):
        x = 1.5 * rng.normal(size=n)
        churned = rng.random(n) < 1 / (1 + np.exp(-x))
        noise = 1.5 * rng.normal(size=n)
        for name, share, off in (("chosen", skill, shift), ("recency", rule, 0.0)):
            known = share * x + (1 - share) * 0.2 * noise + off
            frames.append(
                pl.DataFrame(
                    {
                        "user_id": [f"u{k}-{i}" for i in range(n)],
                        "cutoff": date(2026, 1, 1) + timedelta(days=28 * k),
                        "churned": churned,
                        "model": name,
                        "probability": 1 / (1 + np.exp(-known)),
                    }
                )
            )
    return pl.concat(frames)


def evaluated(
    made: pl.DataFrame, settings: Settings, stakes: Any = (0.0, 0.0, 0.0)
) -> Verdict:
    """The verdict on these predictions."""
    found = forecast_verdicts.Evidence(
        metrics.by_cutoff(made),
        metrics.lift_table(made),
        calibration.by_cutoff(made),
        intervals.bootstrap(made, 28, 0, 100),
        metrics.newest(made),
    )
    return forecast_verdicts.evaluation(found, settings, stakes, UNTIL)


def test_a_model_is_usable_or_only_with_care(settings: Settings) -> None:
    """Care is needed where the level is off, or only one date was tested."""
    good = evaluated(predictions(), settings)
    assert (good.word, good.tone) == ("Usable", "good")
    assert "worth 3.0 separate periods" in text(good)
    assert "`value_per_saved`" in text(good)
    off = evaluated(predictions(shift=1.2), settings)
    assert (off.word, off.tone) == ("Use with care", "caution")
    assert "by share" in off.action
    once = evaluated(predictions(dates=1), settings)
    assert once.word == "Use with care"
    assert "a single date, 2026-01-01" in text(once)


def test_a_model_without_a_gain_says_so(settings: Settings) -> None:
    """Beside the same rule it is no better, without any skill it is not to be used."""
    same = evaluated(predictions(skill=0.3, rule=1.0), settings)
    assert same.word == "Not better than a simple rule"
    equal = evaluated(predictions(skill=0.8, rule=0.8), settings)
    assert equal.word == "Not better than a simple rule"
    useless = evaluated(predictions(skill=0.0), settings)
    assert (useless.word, useless.tone) == ("Do not use", "bad")


def test_without_both_outcomes_nothing_is_known(settings: Settings) -> None:
    """Nobody, or everybody, left; five users are enough for a verdict."""
    tiny = predictions(n=5)
    for outcome, who in ((False, "Nobody"), (True, "Everybody")):
        verdict = evaluated(tiny.with_columns(churned=pl.lit(outcome)), settings)
        assert verdict.word == "Not known"
        assert f"{who} left" in text(verdict)
    assert text(evaluated(tiny, settings))


def test_money_is_named_with_its_assumption(settings: Settings) -> None:
    """The value, the cost and the share who stay stand beside the profit."""
    paid = text(evaluated(predictions(), settings, (20.0, 0.1, 0.05)))
    assert "If 1 in 20 (5%) contacted leavers stays because of a message" in paid
    assert "it breaks even at 1 in" in paid
    dear = text(evaluated(predictions(), settings, (20.0, 30.0, 0.05)))
    assert "no contact pays" in dear


def scored(*probabilities: float) -> pl.DataFrame:
    """Scores with high from 0.6, all users with an identifier."""
    return pl.DataFrame({"probability": probabilities}).with_columns(
        cutoff=pl.lit(CUTOFF),
        identifier=pl.lit("id"),
        segment=pl.when(pl.col("probability") >= 0.6)
        .then(pl.lit("high"))
        .otherwise(pl.lit("low")),
    )


def found(*failed: str) -> pl.DataFrame:
    """Findings of three gates, of which some failed."""
    gates = ["missing_day", "calibration", "stale_data"]
    return pl.DataFrame({"gate": gates}).with_columns(
        passed=~pl.col("gate").is_in(failed),
        sentence=pl.lit("half of Sunday is missing"),
        days=pl.lit("2026-03-01"),
    )


def test_scores_are_ready_with_a_count_and_its_range(settings: Settings) -> None:
    """With 100 users at 0.8 some 80 will leave; chance alone moves that by 8, and the
    filter finds those with an identifier.
    """
    table = scored(*[0.8] * 100, *[0.1] * 300)
    ready = delivery_verdicts.scores(
        table, found(), settings, (), (-0.1, 0.1), date(2026, 1, 5)
    )
    assert (ready.word, ready.tone, ready.data_until) == ("Ready", "good", UNTIL)
    shown = text(ready)
    assert "100 of 400 active users are in segment high; some 80 of them (80%)" in shown
    assert "between 72 and 88" in shown
    assert "last tested at 2026-01-05" in shown
    assert "`churn_segment` is `high` then finds 100 users" in ready.action
    unknown = delivery_verdicts.scores(table, found(), settings, (), None, None)
    assert "In 19 of 20" not in text(unknown)


def test_scores_are_held_back_until_a_gate_is_accepted(settings: Settings) -> None:
    """The failed gate's sentence stands there; accepted, it is a reason for care."""
    table = scored(0.9, 0.2)
    bad = found("missing_day")
    held = delivery_verdicts.scores(table, bad, settings, (), None, None)
    assert (held.word, held.tone) == ("Held back", "bad")
    assert "`missing_day`: half of Sunday is missing." in text(held)
    assert "accept=missing_day`" in held.action
    accept = ["missing_day:2026-03-01"]
    taken = delivery_verdicts.scores(table, bad, settings, accept, None, None)
    assert (taken.word, taken.tone) == ("Ready", "caution")
    assert "accepted: `missing_day`" in text(taken)


def test_an_empty_highest_segment_names_nobody(settings: Settings) -> None:
    """Nobody is to be messaged, and the share of all users who leave is still told."""
    verdict = delivery_verdicts.scores(
        scored(0.2, 0.4), found(), settings, (), (-0.1, 0.1), None
    )
    assert "Nobody of 2 active users" in text(verdict)
    assert "30% are expected" in text(verdict)
    assert "nobody to message" in verdict.action


def summary(**facts: Any) -> dict[str, Any]:
    """Counts of a dry run for ten users of a sandbox."""
    usual = {
        "endpoint": "http://127.0.0.1:1",
        "workspace": "default",
        "dry_run": True,
        "n_scored": 12,
        "n_unmatched": 2,
        "n_undeliverable": 0,
        "n_changed": 10,
        "n_requests": 1,
        "n_requests_sent": 1,
        "n_data_points": 20,
        "n_sent": 10,
        "n_rejected": 0,
        "n_unknown": 0,
        "beyond_limits": [],
    }
    return usual | facts


def test_a_dry_run_says_what_deciles_cost(settings: Settings) -> None:
    """The sentence names their part, and the table has a line for each attribute."""
    named = settings.braze.model_copy(update={"decile_attribute": "churn_decile"})
    facts = summary(data_points_by_attribute={"churn_segment": 8, "churn_decile": 12})
    dry = delivery_verdicts.export(facts, UNTIL, named, "high")
    assert "20 data points (attributes written, 12 of them deciles)" in text(dry)
    table = dict(delivery_tables.export_summary(facts).iter_rows())
    assert table["data points"] == "20"
    assert table["of the data points: churn_segment"] == "8"
    assert table["of the data points: churn_decile"] == "12"


def test_an_export_was_sent_or_dry_or_had_nothing_to_send(settings: Settings) -> None:
    """Refused users and limits are reasons for care."""

    def judged(**facts: Any) -> Verdict:
        return delivery_verdicts.export(summary(**facts), UNTIL, settings.braze, "high")

    dry = judged()
    assert (dry.word, dry.tone) == ("Dry run", "good")
    assert "10 users would be written** in 1 request" in text(dry)
    assert "2 users can't be sent" in text(dry)
    assert "20 data points (attributes written)" in text(dry)
    beyond = judged(
        beyond_limits=["10 users would be written, more than max_users (5)"]
    )
    assert (beyond.word, beyond.tone) == ("Dry run", "caution")
    assert "more than max_users (5)." in text(beyond)
    sent = judged(dry_run=False)
    assert (sent.word, sent.tone) == ("Sent", "good")
    assert "`churn_segment` is `high`" in sent.action
    part = judged(dry_run=False, n_sent=7, n_rejected=3)
    assert (part.word, part.tone) == ("Sent in part", "caution")
    assert "Braze refused 3" in text(part)
    nothing = judged(n_changed=0)
    assert (nothing.word, nothing.tone) == ("Nothing to send", "good")
    assert "of 10 users" in text(nothing)
