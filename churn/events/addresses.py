"""How Braze addresses each user, and how many users it can address."""

from datetime import date

import polars as pl

from churn import clocks
from churn.settings import Settings
from churn.store import Store

MATCH_COUNTS = (
    pl.len().cast(pl.Int64).alias("n"),
    pl.col("matched").sum().cast(pl.Int64).alias("n_matched"),
    (pl.col("n_sharing") > 1).sum().cast(pl.Int64).alias("n_shared"),
)
"""Counts of users who have a row each, see ``match_report``."""


def identifiers(
    store: Store,
    users: pl.Series,
    cutoff: date,
) -> pl.DataFrame:
    """The identifier of each user at a cutoff: user_id, identifier, n_sharing.

    ``users`` are ids, each once; the rows of the result have their order.
    Its kind is the study's ``braze.identifier``. The external id is the customer's own
    user id; of any other kind, the id learned last before the cutoff is taken.
    ``identifier`` is null if the user has none or shares it with others; ``n_sharing``
    counts the users who have it, 0 if there is none.
    """
    asked = pl.DataFrame({"user_id": users})
    if store.settings.braze.identifier == "external_id":
        return asked.with_columns(
            identifier=pl.col("user_id"), n_sharing=pl.lit(1, pl.Int64)
        )
    newest = _newest(store, cutoff, asked)
    addressed = asked.join(
        newest,
        on="user_id",
        how="left",
        maintain_order="left",
    )
    has_identifier = pl.col("identifier").is_not_null()
    n_sharing = pl.when(has_identifier).then(pl.len().over("identifier")).otherwise(0)
    marked = addressed.with_columns(n_sharing.cast(pl.Int64).alias("n_sharing"))
    own = pl.when(pl.col("n_sharing") == 1).then("identifier")
    return marked.with_columns(own.alias("identifier"))


def _newest(
    store: Store,
    cutoff: date,
    asked: pl.DataFrame,
) -> pl.DataFrame:
    """The identifier that was learned last before the cutoff, of each user asked for."""
    braze = store.settings.braze
    prefix = f"{braze.alias_label or braze.identifier}:"
    is_of_kind = pl.col("id").str.starts_with(prefix)
    edges = store.scan("edges").filter(is_of_kind & _learned_before(store, cutoff))
    of_asked = edges.select("user_id", "id", "learned_at").join(
        asked.lazy(), on="user_id", how="semi"
    )
    ordered = of_asked.sort("learned_at", "id")
    newest = ordered.group_by("user_id").agg(pl.col("id").last()).collect()
    value = pl.col("id").str.strip_prefix(prefix).alias("identifier")
    return newest.select("user_id", value)


def _learned_before(store: Store, cutoff: date) -> pl.Expr:
    return clocks.local_date("learned_at", store.settings.timezone) < cutoff


def known_to_braze(store: Store, cutoff: date) -> pl.Series | None:
    """Users that Braze Currents has named before the cutoff.

    None if the study has no Currents extract.
    """
    if not tells_whom_braze_knows(store.settings):
        return None
    is_from_braze = pl.col("source") == "currents"
    edges = store.scan("edges").filter(is_from_braze & _learned_before(store, cutoff))
    return edges.select(pl.col("user_id").unique()).collect()["user_id"]


def tells_whom_braze_knows(settings: Settings) -> bool:
    """Whether the study has a Currents extract; nothing else comes from Braze."""
    return "currents" in settings.sources


def match_report(store: Store, scores: pl.DataFrame) -> pl.DataFrame:
    """How many scored users Braze can address, by source and platform.

    Columns: source, platform, n, n_matched, n_shared, match_rate; the first row counts
    all users. A user is matched if they have an identifier of the study's kind that no
    other user shares and, if the study has a Currents extract, occur in it too.
    """
    marked = _marked(store, scores)
    everybody = marked.select(
        pl.lit("all").alias("source"), pl.lit("all").alias("platform"), *MATCH_COUNTS
    )
    placed = _with_places(store, marked)
    by_place = placed.group_by("source", "platform").agg(MATCH_COUNTS)
    ordered = by_place.sort("source", "platform").select(everybody.columns)
    match_rate = (pl.col("n_matched") / pl.col("n")).alias("match_rate")
    return pl.concat([everybody, ordered]).with_columns(match_rate)


def match_counts(store: Store, scores: pl.DataFrame) -> tuple[int, int, int]:
    """Scored users, those of them who are matched, and those who share identifiers.

    They are those of ``match_report``'s first row, without reading the table of users.
    """
    n, n_matched, n_shared = _marked(store, scores).select(MATCH_COUNTS).row(0)
    return n, n_matched, n_shared


def _marked(store: Store, scores: pl.DataFrame) -> pl.DataFrame:
    """The identifiers of the scored users, a row each, and whether it is matched."""
    cutoff = scores["cutoff"][0]
    addressed = identifiers(store, scores["user_id"], cutoff)
    in_braze = known_to_braze(store, cutoff)
    is_known = pl.lit(True)
    if in_braze is not None:
        is_known = pl.col("user_id").is_in(in_braze.implode())
    has_identifier = pl.col("identifier").is_not_null()
    return addressed.with_columns(matched=has_identifier & is_known)


def _with_places(store: Store, users: pl.DataFrame) -> pl.DataFrame:
    """Users with each source and platform on which they were seen."""
    platform = pl.col("platform").fill_null("not stated")
    seen = store.scan("users").select("user_id", "source", platform)
    asked = users.lazy().select("user_id")
    # Streamed, because the table holds everybody who was ever seen.
    places = seen.join(asked, on="user_id", how="semi").unique()
    return users.join(places.collect(engine="streaming"), on="user_id")
