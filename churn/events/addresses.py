"""How Braze knows a user: identifiers of the study's kind, and how many match."""

from datetime import date

import polars as pl

from churn import clocks
from churn.store import Store


def identifiers(store: Store, users: pl.Series, cutoff: date) -> pl.DataFrame:
    """How Braze is to address each user at a cutoff: user_id, identifier, n_sharing.

    The customer's own id is the external id; any other kind is the one learned last
    before the cutoff. ``identifier`` is null where there is none or where several users
    share it, which ``n_sharing`` tells.
    """
    asked = pl.DataFrame({"user_id": users}).unique(maintain_order=True)
    if store.settings.braze.identifier == "external_id":
        found = asked.with_columns(identifier=pl.col("user_id"))
    else:
        prefix = (
            f"{store.settings.braze.alias_label or store.settings.braze.identifier}:"
        )
        before = clocks.local_date("learned_at", store.settings.timezone) < cutoff
        mine = store.scan("edges").filter(pl.col("id").str.starts_with(prefix) & before)
        newest = (
            mine.sort("learned_at", "id")
            .group_by("user_id")
            .agg(pl.col("id").last())
            .collect()
        )
        value = pl.col("id").str.strip_prefix(prefix).alias("identifier")
        found = asked.join(
            newest, on="user_id", how="left", maintain_order="left"
        ).select("user_id", value)
    shared = (
        pl.when(pl.col("identifier").is_not_null())
        .then(pl.len().over("identifier"))
        .otherwise(0)
    )
    marked = found.with_columns(shared.cast(pl.Int64).alias("n_sharing"))
    return marked.with_columns(
        pl.when(pl.col("n_sharing") == 1).then("identifier").alias("identifier")
    )


def known_to_braze(store: Store, cutoff: date) -> pl.Series | None:
    """Users that Braze Currents has named before the cutoff; null where the study has
    no Currents extract.
    """
    if "currents" not in store.settings.sources:
        return None
    before = clocks.local_date("learned_at", store.settings.timezone) < cutoff
    rows = store.scan("edges").filter((pl.col("source") == "currents") & before)
    return rows.select(pl.col("user_id").unique()).collect()["user_id"]


def match_report(store: Store, scores: pl.DataFrame) -> pl.DataFrame:
    """Scored users by source and platform: n, n_matched, match_rate, n_shared; first
    the line over all.

    A user is matched who has an identifier of the study's kind that no other user
    shares and, where Currents is among the sources, is known there too.
    """
    cutoff = scores["cutoff"][0]
    found = identifiers(store, scores["user_id"], cutoff)
    there = known_to_braze(store, cutoff)
    known = pl.lit(True) if there is None else pl.col("user_id").is_in(there.implode())
    marked = found.with_columns(matched=pl.col("identifier").is_not_null() & known)
    where = store.scan("users").select("user_id", "source", "platform").unique()
    by = marked.join(where.collect(), on="user_id").with_columns(
        pl.col("platform").fill_null("not stated")
    )
    counts = {
        "n": pl.col("user_id").n_unique(),
        "n_matched": pl.col("user_id").filter("matched").n_unique(),
    }
    counts["n_shared"] = pl.col("user_id").filter(pl.col("n_sharing") > 1).n_unique()
    parts = by.group_by("source", "platform").agg(**counts).sort("source", "platform")
    total = marked.select(
        pl.lit("all").alias("source"), pl.lit("all").alias("platform"), **counts
    )
    table = pl.concat([total, parts.select(total.columns)])
    return table.with_columns((pl.col("n_matched") / pl.col("n")).alias("match_rate"))
