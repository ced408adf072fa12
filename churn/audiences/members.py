"""Who belongs to an audience, and the ids by which a network may know them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from churn.audiences import permissions, revenue
from churn.events import erasure
from churn.settings.audiences import Audience
from churn.store import Store


@dataclass(frozen=True)
class People:
    """The scored users of one cutoff, as far as audiences may hold them.

    Attributes
    ----------
    users: user_id, segment, decile, reason_1, platforms, and revenue_tenth, which is
        null for users without revenue.
    ids: user_id, id_type, value; at most one of each type that is no advertising id.
    """

    users: pl.DataFrame
    ids: pl.DataFrame


def of_scores(
    store: Store,
    scores: pl.DataFrame,
    opted_out: Collection[str],
) -> People:
    """The people of a scoring, without those who may not be listed.

    Left out are erased people, users of whom a vendor has reported a request for
    erasure (``opted_out``, user ids), and those who have refused consent. Who limits
    tracking has no advertising ids here.
    """
    owned = permissions.own_ids(store)
    refusing = permissions.refusing(store, owned, permissions.REFUSED)
    barred = pl.concat([refusing, pl.Series("user_id", sorted(opted_out), pl.String)])
    scored = erasure.without_forgotten(scores, store)
    ranked = scored.with_columns(revenue.tenth(store, scored))
    listed = ranked.filter(~pl.col("user_id").is_in(barred.implode()))
    users = listed.join(
        _platforms(store),
        on="user_id",
        how="left",
        maintain_order="left",
    )
    ids = _ids(store, owned, scored["cutoff"][0])
    of_listed = ids.join(users, on="user_id", how="semi")
    return People(users, of_listed)


def of_audience(people: People, audience: Audience) -> pl.DataFrame:
    """The users who meet all conditions of an audience, a subset of ``people.users``."""
    conditions = [pl.lit(True)]
    if audience.segments:
        conditions.append(pl.col("segment").is_in(audience.segments))
    if audience.reasons:
        conditions.append(pl.col("reason_1").is_in(audience.reasons))
    if audience.deciles:
        conditions.append(pl.col("decile").is_in(audience.deciles))
    if audience.revenue_tenths:
        conditions.append(pl.col("revenue_tenth").is_in(audience.revenue_tenths))
    if audience.platform:
        conditions.append(pl.col("platforms").list.contains(audience.platform))
    return people.users.filter(conditions)


def _platforms(store: Store) -> pl.DataFrame:
    """The platforms on which each user was seen: user_id, platforms."""
    users = store.scan("users").group_by("user_id")
    return users.agg(platforms=pl.col("platform").drop_nulls().unique()).collect()


def _ids(
    store: Store,
    owned: pl.DataFrame,
    cutoff: date,
) -> pl.DataFrame:
    """Every id that may be listed: user_id, id_type, value.

    Of advertising ids those that their owners still allow, of any other type the one
    that was learned last; the customer's own id of a user is the user id.
    """
    first = cutoff - timedelta(days=store.settings.windows.observation_days)
    allowed = permissions.allowed_ids(store, owned, first)
    limiting = permissions.refusing(store, owned, permissions.LIMITED)
    advertising = allowed.filter(~pl.col("user_id").is_in(limiting.implode()))
    others = owned.filter(~permissions.is_advertising())
    tagged = pl.concat([_typed(advertising), _typed(_newest(others))])
    user = store.scan("users").select(pl.col("user_id").unique()).collect()
    customers = user.select("user_id", id_type=pl.lit("customer_id"), value="user_id")
    return pl.concat([tagged, customers])


def _newest(owned: pl.DataFrame) -> pl.DataFrame:
    """Each user's id of each type that was learned last: user_id, id."""
    id_type = pl.col("id").str.split(":").list.first().alias("id_type")
    ordered = owned.with_columns(id_type).sort("learned_at", "id")
    newest = ordered.group_by("user_id", "id_type").agg(pl.col("id").last())
    return newest.select("user_id", "id")


def _typed(ids: pl.DataFrame) -> pl.DataFrame:
    parts = pl.col("id").str.splitn(":", 2).struct
    return ids.select(
        "user_id",
        id_type=parts.field("field_0"),
        value=parts.field("field_1"),
    )
