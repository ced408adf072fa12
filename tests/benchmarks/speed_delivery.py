"""The speed of delivery with its ledger beside its transport alone."""

import os
from collections.abc import Iterator

from churn.braze.key import KEY_VARIABLE

from . import delivery_throughput
from .delivery_parts import KEY, process, scores
from .delivery_throughput import UNBOUND, bare
from .speed_measure import Cost, Options, Parts, Row, Work, in_turns

ANSWER_SECONDS = 0.05
"""Seconds after which the server answers."""

WORKERS = 100
PEER_SECONDS = 12.0


def rows(given: Options) -> Iterator[Row]:
    """Requests per second while sending, and processor seconds of the whole export."""
    with process(bare, ANSWER_SECONDS) as url:
        runs = in_turns(given.repeat, (export, url, given.sent), (alone, url))
    # What counts is the fastest run, since most of the time goes by waiting.
    ours, peer = (max(costs, key=_per_second) for costs in runs)
    what = f"delivery to {given.sent:,} users at {ANSWER_SECONDS * 1000:g} ms"
    yield Row(
        f"{what}, against its transport alone (more is better)",
        "requests/s",
        ours.parts["per second"],
        peer.parts["per second"],
        ours.megabytes,
        peer.megabytes,
    )
    yield Row(
        f"{what}: whole export",
        "s per 1,000 requests",
        ours.seconds * 1000 / ours.parts["requests"],
        peer.seconds * 1000 / peer.parts["requests"],
    )


def export(url: str, n_users: int) -> Work:
    """Work that plans, sends and records so many users."""
    os.environ[KEY_VARIABLE] = KEY
    table = scores(n_users)

    def work() -> Parts:
        rate, _ = delivery_throughput.ours(url, table, WORKERS, UNBOUND)
        return {"requests": rate.requests, "per second": rate.per_second}

    return work


def alone(url: str) -> Work:
    """Work that sends bodies made beforehand for some seconds, with as many tasks."""

    def work() -> Parts:
        rate = delivery_throughput.over_transport(url, WORKERS, PEER_SECONDS)
        return {"requests": rate.requests, "per second": rate.per_second}

    return work


def _per_second(done: Cost) -> float:
    return done.parts["per second"]
