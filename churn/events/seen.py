"""What an ingest saw: events by name with their kind, and users with very many events.

Rows are seen by groups of people, so that each person is in one group only: numbers of
people can be added up. Where rows of the log are replaced, the whole log is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from churn.events import identity
from churn.events.outsized import outsized

N_NAMES = 20
"""Number of event names that are kept, those that most people have."""

N_BUSIEST = 50
"""Number of users of each group who may be outsized."""

KEY = ("event", "kind")


@dataclass(frozen=True)
class Group:
    """What one group of people did.

    Attributes
    ----------
    names: event, kind, n_events and n_people.
    busiest: user_id and n_events of the users with most events.
    n_events: number of events of all users.
    n_users: number of users.
    """

    names: pl.DataFrame
    busiest: pl.DataFrame
    n_events: int
    n_users: int


@dataclass(frozen=True)
class Seen:
    """What all groups together did.

    Attributes
    ----------
    names: the events that most people have: event, kind, n_events, n_people, n_days. A
        device counts as one of the people if the log names no user for it.
    outsized: n_events, share and times of users with an outsized share of the events
        (see ``outsized.outsized``), without their ids.
    is_whole: whether this is the whole log, and not only what was new.
    """

    names: pl.DataFrame
    outsized: pl.DataFrame
    is_whole: bool


NOTHING = Seen(
    names=pl.DataFrame(
        schema={
            "event": pl.String,
            "kind": pl.String,
            "n_events": pl.Int64,
            "n_people": pl.Int64,
            "n_days": pl.Int64,
        }
    ),
    outsized=pl.DataFrame(
        schema={
            "n_events": pl.Int64,
            "share": pl.Float64,
            "times": pl.Float64,
        }
    ),
    is_whole=False,
)
"""What an ingest saw that read no file."""


def group(rows: pl.LazyFrame) -> Group:
    """Count the events of one group of people; rows as ``deriving`` stages them."""
    person = pl.coalesce("user_id", identity.KEY)
    names = rows.group_by("event", pl.col("event_kind").alias("kind")).agg(
        n_events=pl.len().cast(pl.Int64),
        n_people=person.n_unique().cast(pl.Int64),
    )
    identified = rows.filter(pl.col("user_id").is_not_null())
    users = identified.group_by("user_id").agg(n_events=pl.len().cast(pl.Int64))
    counts = users.collect()
    return Group(
        names=names.collect(),
        busiest=counts.top_k(N_BUSIEST, by="n_events"),
        n_events=int(counts["n_events"].sum()),
        n_users=counts.height,
    )


def together(
    groups: Sequence[Group],
    volume: pl.DataFrame,
    is_whole: bool,
) -> Seen:
    """The groups together. ``volume`` says on which days which events were."""
    each = pl.concat([part.names for part in groups])
    names = each.group_by(KEY).agg(pl.col("n_events", "n_people").sum())
    n_days = pl.col("date").n_unique().cast(pl.Int64)
    days = volume.group_by(KEY).agg(n_days=n_days)
    commonest = names.sort(
        "n_people",
        "n_events",
        *KEY,
        descending=[True, True, False, False],
    )
    heavy = outsized(
        pl.concat([part.busiest for part in groups]),
        sum(part.n_events for part in groups),
        sum(part.n_users for part in groups),
    )
    return Seen(
        names=commonest.head(N_NAMES).join(
            days,
            on=KEY,
            how="left",
            maintain_order="left",
        ),
        outsized=heavy.drop("user_id"),
        is_whole=is_whole,
    )
