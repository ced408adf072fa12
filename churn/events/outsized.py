"""Users with an outsized share of all events: crawlers, test accounts, shared ids.

People differ much in how active they are, but nobody makes a hundredth of all events
and twenty times as many as the others do on average.
"""

import polars as pl

MIN_SHARE = 0.01
"""Smallest share of all events that is outsized.

Below a hundredth a user hardly moves any total, whatever it is.
"""

MIN_TIMES = 20
"""Smallest multiple of the other users' mean number of events that is outsized.

In an app of a hundred users everybody has a hundredth; the keenest people have several
times the mean, and crawlers and shared ids tens or hundreds.
"""

MIN_USERS = 20
"""Among fewer users nobody's share is called outsized."""


def outsized(
    counts: pl.DataFrame,
    n_events: int,
    n_users: int,
) -> pl.DataFrame:
    """The users whose number of events is outsized: user_id, n_events, share, times.

    ``counts`` has user_id and n_events of at least the busiest users; ``n_events`` and
    ``n_users`` are those of all users. ``times`` is the number of events as a multiple
    of what all other users have on average.

    >>> counts = pl.DataFrame({"user_id": ["bot", "a"], "n_events": [300, 12]})
    >>> outsized(counts, 1000, 101).row(0)
    ('bot', 300, 0.3, 42.857142857142854)
    """
    if n_users < MIN_USERS:
        return counts.clear().with_columns(
            share=pl.lit(0.0),
            times=pl.lit(0.0),
        )
    n = pl.col("n_events")
    mean_of_others = (n_events - n) / (n_users - 1)
    measured = counts.with_columns(
        share=n / n_events,
        times=n / mean_of_others,
    )
    is_outsized = (pl.col("share") >= MIN_SHARE) & (pl.col("times") >= MIN_TIMES)
    return measured.filter(is_outsized).sort(
        "n_events",
        "user_id",
        descending=[True, False],
    )
