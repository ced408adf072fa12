"""Apps far larger than any that was measured, and what the cost model says of them."""

from collections.abc import Mapping

import polars as pl

from .scale_fit import Model, Sizes

ACTIVE_RATE = 0.4
"""Share of all users who are scored, as in an app whose users mostly came this year."""

EVENTS_PER_ACTIVE = 4.0
"""Events a day, for each user who is scored."""

HISTORY_DAYS, WINDOW_DAYS = 365, 90
CHANGED_RATE = 0.1
"""Share of those scored who are written to Braze in a night."""

USERS = (1_000_000, 50_000_000, 500_000_000)

FIT_SECONDS = 324.0
"""Processor seconds of fitting to 500,000 rows, from the README's 647 per million."""

FIT_GIGABYTES = 2.6
"""Peak memory of a training with so many rows, as measured at 100 million events."""

NIGHTS_PER_TRAINING = 28
PER_HOUR, PER_GIGABYTE = 3600.0, 1000.0

LIMITS: Mapping[str, tuple[int, float]] = {
    "3,000 per 3 s, 75 users a request": (75, 1000.0),
    "3,000 per 3 s, 50 users a request": (50, 1000.0),
    "3,000 per 3 s, 5 users a request": (5, 1000.0),
    "50,000 per minute, 75 users": (75, 50_000 / 60),
    "250,000 per hour, 75 users": (75, 250_000 / 3600),
    "bulk, 50 per second, 1,000 users": (1000, 50.0),
    "sync, 500 per minute, 1 user": (1, 500 / 60),
    "the study's default, 50 per second, 75 users": (75, 50.0),
}
"""Documented limits of /users/track and its kin: users a request, requests a second."""


def sizes(n_users: int) -> dict[str, float]:
    """The quantities of ``scale_fit.FEATURES`` of an app with so many users."""
    n_active = ACTIVE_RATE * n_users
    per_day = EVENTS_PER_ACTIVE * n_active
    return {
        "n_users": n_users,
        "n_active": n_active,
        "n_new": per_day,
        "n_events": per_day * HISTORY_DAYS,
        "n_window": per_day * WINDOW_DAYS,
    }


def table(model: Model) -> pl.DataFrame:
    """Processor hours of a night, memory and storage in GB, a row per app."""
    return pl.DataFrame([_night(model, sizes(n_users)) for n_users in USERS])


def _night(model: Model, app: Sizes) -> dict[str, float]:
    def hours(step: str) -> float:
        return model[step, "seconds"].at(app) / PER_HOUR

    def gigabytes(step: str, app: Sizes = app) -> float:
        return model[step, "megabytes"].at(app) / PER_GIGABYTE

    first = {**app, "n_new": app["n_events"], "n_events": 0.0}
    fitting = FIT_SECONDS / PER_HOUR
    training = (hours("training rows") + fitting) / NIGHTS_PER_TRAINING
    steps = {step: hours(step) for step in ("ingest", "score", "export plan")}
    return {
        "users": app["n_users"],
        "events a day": app["n_new"],
        **{f"{step}, h": value for step, value in steps.items()},
        "training a night, h": training,
        "night, h": sum(steps.values()) + training,
        "first ingest, h": model["ingest", "seconds"].at(first) / PER_HOUR,
        "first ingest, GB": gigabytes("ingest", first),
        **{f"{step}, GB": gigabytes(step) for step in steps},
        "training, GB": max(FIT_GIGABYTES, gigabytes("training rows")),
        "store, GB": gigabytes("storage"),
        "ledger, GB": gigabytes("ledger"),
    }


def requests() -> pl.DataFrame:
    """Requests and minutes of a first export and of a night, by limit and app."""
    rows = []
    for limit, (per_request, per_second) in LIMITS.items():
        row: dict[str, float | str] = {"limit": limit}
        for n_users in USERS:
            n_active = sizes(n_users)["n_active"]
            for name, n in (("first", n_active), ("night", CHANGED_RATE * n_active)):
                minutes = n / per_request / per_second / 60
                row[f"{name}, {n_users / 1e6:g} M"] = minutes
        rows.append(row)
    return pl.DataFrame(rows)
