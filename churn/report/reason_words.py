"""Reasons in words, with the user's own numbers and what is typical."""

import math

import polars as pl
from polars import selectors as cs

from churn.events import erasure
from churn.features import by_group, compute, snapshots
from churn.features.catalogue import KINDS
from churn.hashing import bucket_of
from churn.model import storage
from churn.model.fitting import Model
from churn.scoring import reasons
from churn.store import Store

WORDS: dict[str, tuple[tuple[str, str], ...]] = {
    "silence": (
        ("silent for {} days", "recency_days"),
        (", usually returns within {}", "gap_mean_days"),
    ),
    "activity": (("active on {} of the last 28 days", "active_days_28d"),),
    "trend": (
        (
            "active days of the last 14 less those of the 14 before: {}",
            "active_days_change_14d",
        ),
    ),
    "rhythm": (
        ("{} days between active days on average", "gap_mean_days"),
        (", {} at most", "gap_max_days"),
    ),
    "depth": (("{} events on an active day", "events_per_active_day"),),
    "variety": (
        ("{} of the commonest events used in the last 28 days", "n_names_28d"),
    ),
    "purchases": (
        ("{} purchases in the last 28 days", "n_purchases_28d"),
        (", the last {} days ago", "days_since_purchase"),
    ),
    "messages": (
        ("{} messages in the last 28 days", "n_messages_28d"),
        (", the last response {} days ago", "days_since_response"),
    ),
    "tenure": (("first seen {} days ago", "tenure_days"),),
}
"""Clauses of each kind's sentence, each with the feature that fills it.

A clause is left out where the user has no value of its feature.
"""

NAMED = tuple(dict.fromkeys(name for clauses in WORDS.values() for _, name in clauses))
"""The features of which the sentences speak; each rests on the user's own days."""


def examples(
    store: Store,
    fitted: Model,
    scores: pl.DataFrame,
) -> pl.DataFrame:
    """One user for each first reason, with all of that user's reasons in words.

    Columns: user (a pseudonym, the same in every report), probability, reason (the code
    of the first), why_1, why_2, why_3.
    """
    chosen = scores.unique(
        "reason_1",
        keep="first",
        maintain_order=True,
    )
    snapshot = _features(store, fitted, chosen)
    words = sentences(fitted, snapshot, chosen).select(
        pl.col(reasons.COLUMNS).name.replace("reason", "why")
    )
    pseudonym = erasure.pseudonym(store.salt)
    facts = chosen.select(pseudonym, "probability", pl.col("reason_1").alias("reason"))
    return facts.hstack(words)


def of_scores(
    store: Store,
    scored: pl.DataFrame,
) -> pl.DataFrame:
    """Scores of one cutoff and model with their reasons in words.

    Raises ModelError if the model isn't stored any more.
    """
    fitted = storage.load(store, scored["model_id"][0])
    return sentences(fitted, _features(store, fitted, scored), scored)


def _features(
    store: Store,
    fitted: Model,
    scores: pl.DataFrame,
) -> pl.DataFrame:
    """The features ``NAMED`` of these users at the cutoff at which they were scored."""
    reading = snapshots.reading(store, [scores["cutoff"][0]], fitted.plan)
    bucket = bucket_of("user_id", store.n_buckets)
    buckets = scores.select(bucket.unique()).to_series().to_list()
    activity, users = by_group.kept(store, buckets, reading)
    is_chosen = pl.col("user_id").is_in(scores["user_id"].implode())
    features = compute.compute(
        activity.filter(is_chosen),
        users.filter(is_chosen),
        reading.cutoffs,
        fitted.plan,
        store.settings.windows.eligible_days,
    )
    # Others may rest on figures of the whole app, which aren't those of these users.
    return features.select("user_id", "cutoff", cs.by_name(*NAMED, require_all=False))


def sentences(
    fitted: Model,
    snapshot: pl.DataFrame,
    explained: pl.DataFrame,
) -> pl.DataFrame:
    """``explained`` (see ``reasons.explain``) with sentences in the place of codes."""
    by_kind = {kind: _sentence(fitted, kind, snapshot.columns) for kind in KINDS}
    features = snapshot.drop("cutoff")
    joined = explained.join(
        features,
        on="user_id",
        how="left",
        maintain_order="left",
    )
    words = [_of_kind(pl.col(name), by_kind).alias(name) for name in reasons.COLUMNS]
    return joined.select("user_id", "cutoff", *words)


def _of_kind(code: pl.Expr, by_kind: dict[str, pl.Expr]) -> pl.Expr:
    return pl.coalesce(
        pl.when(code.str.ends_with(f"_{kind}")).then(sentence)
        for kind, sentence in by_kind.items()
    )


def _sentence(
    fitted: Model,
    kind: str,
    columns: list[str],
) -> pl.Expr:
    """The kind's clauses with the user's numbers, or the kind's meaning without any."""
    clauses = [(text, name) for text, name in WORDS[kind] if name in columns]
    if not clauses:
        return pl.lit(KINDS[kind])
    filled = [pl.format(text, _number(name)) for text, name in clauses]
    rest = [clause.fill_null("") for clause in filled[1:]]
    if not rest:
        rest = [_typical(fitted, clauses[0][1])]
    text = pl.concat_str(filled[0], *rest)
    plural = r"(^| )1 (day|event|purchase|message)s\b"
    return text.str.replace_all(plural, "${1}1 $2").fill_null(KINDS[kind])


def _number(name: str) -> pl.Expr:
    places = 0 if name.endswith("_days") else 1
    rounded = pl.col(name).cast(pl.Float64).round(places)
    return rounded.cast(pl.String).str.strip_suffix(".0")


def _typical(fitted: Model, name: str) -> pl.Expr:
    """The feature's typical value in brackets; empty where it isn't known."""
    typical = dict(zip(fitted.features, fitted.typical, strict=True))
    value = typical.get(name, math.nan)
    return pl.lit("" if math.isnan(value) else f" (typical: {value:.3g})")
