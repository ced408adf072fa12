"""Frames made of one group of buckets after the other, or by several processes at once.

Other processes leave their frames in the store as files below ``PARTS``, which are read
and removed as soon as all are there. A file that a crash left behind is removed after
``KEEP_HOURS``, and at once when somebody is erased, since it holds people's ids.
"""

from __future__ import annotations

import io
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from churn.cluster import map_buckets
from churn.errors import StoreError
from churn.store.opening import Pinned
from churn.store.places import Place
from churn.store.tables import PASS_ROWS, Store

if TYPE_CHECKING:
    import polars as pl

G = TypeVar("G")
T = TypeVar("T")

log = logging.getLogger(__name__)

PARTS = "parts"
"""Folder of the store for frames on their way from one process to another."""

KEEP_HOURS = 24
GROUPS_EACH = 4
"""Groups per process, so that one which is slow keeps the others waiting only a bit."""

MIN_ROWS = 50_000
"""Rows below which a group isn't worth its own start."""

STAMP = "%Y%m%dT%H%M%S"


def groups(store: Store, n_rows: int) -> list[Sequence[int]]:
    """All buckets in groups that fit in memory, if ``n_rows`` rows are read in all.

    There are enough of them for all processes of the study.
    """
    cluster = store.settings.cluster
    if cluster.is_one_process:
        return store.passes(n_rows)
    share = n_rows // (GROUPS_EACH * cluster.processes)
    return store.passes(n_rows, min(max(MIN_ROWS, share), PASS_ROWS))


def values(
    store: Store,
    work: Callable[[Store, G], T],
    groups: Sequence[G],
    what: str,
    progress: bool = False,
) -> list[T]:
    """The small value that ``work`` returns for each group, in the groups' order.

    ``work``, ``what`` and errors are those of ``frames``. With ``progress`` and one
    process a bar says how far it is.
    """
    cluster = store.settings.cluster
    if cluster.is_one_process:
        from tqdm.auto import tqdm

        bar = tqdm(groups, what, disable=not progress, leave=False)
        return [work(store, group) for group in bar]
    task = partial(_value, Pinned.of(store), work)
    return map_buckets(task, groups, cluster, what)


def _value(pinned: Pinned, work: Callable[[Store, G], T], group: G) -> T:
    return work(pinned.open(), group)


def frames(
    store: Store,
    work: Callable[..., pl.DataFrame],
    groups: Sequence[Sequence[int]],
    what: str,
    users: pl.DataFrame | None = None,
) -> list[pl.DataFrame]:
    """The frame that ``work`` makes of each group of buckets, in the groups' order.

    ``work`` is a module's function, or a partial of one with plain values. It gets the
    store as of the same commit in every process, which it only reads, the group and, if
    ``users`` are given (rows with a user_id), the rows of the group's users. ``what``
    and errors are those of ``cluster.map_buckets``.
    """
    made = results(store, partial(_alone, work), groups, what, users)
    return [frame for frame, _ in made]


def _alone(work: Callable[..., pl.DataFrame], *args: Any) -> tuple[pl.DataFrame, None]:
    return work(*args), None


def results(
    store: Store,
    work: Callable[..., tuple[pl.DataFrame, Any]],
    groups: Sequence[Sequence[int]],
    what: str,
    users: pl.DataFrame | None = None,
) -> list[tuple[pl.DataFrame, Any]]:
    """The same for work that returns a frame together with something small."""
    cluster = store.settings.cluster
    of_groups = _divided(users, groups, store.n_buckets)
    if cluster.is_one_process:
        given = zip(groups, of_groups, strict=True)
        return [work(store, group, *rows) for group, rows in given]
    sweep(store.place)
    run = f"{PARTS}/{datetime.now(UTC):{STAMP}}-{secrets.token_hex(8)}"
    do = partial(_write, Pinned.of(store), work, run, has_users=users is not None)
    try:
        for group, rows in zip(groups, of_groups, strict=True):
            for frame in rows:
                _put(store.place, _name(f"{run}-users", group), frame)
        made = map_buckets(do, groups, cluster, what)
        return [(_read(store.place, name), small) for name, small in made]
    finally:
        left = [name for name in store.place.names(PARTS) if name.startswith(run)]
        store.place.remove(*left)


def _divided(
    users: pl.DataFrame | None,
    groups: Sequence[Sequence[int]],
    n_buckets: int,
) -> Iterator[list[pl.DataFrame]]:
    """For each group the rows of its users, in a list; an empty list without users."""
    if users is None:
        yield from ([] for _ in groups)
        return

    from churn.hashing import bucket_of

    bucket = users.select(bucket_of("user_id", n_buckets)).to_series()
    for group in groups:
        yield [users.filter(bucket.is_in(list(group)))]


def _write(
    pinned: Pinned,
    work: Callable[..., tuple[pl.DataFrame, Any]],
    run: str,
    group: Sequence[int],
    has_users: bool,
) -> tuple[str, Any]:
    """Make a group's frame in this process; returns the name of its file.

    Done twice, it replaces the file in one step by the same rows.
    """
    rows = []
    if has_users:
        rows.append(_read(pinned.place, _name(f"{run}-users", group)))
    frame, small = work(pinned.open(), group, *rows)
    name = _name(run, group)
    _put(pinned.place, name, frame)
    log.info("%s: %d rows", name, frame.height)
    return name, small


def _name(run: str, group: Sequence[int]) -> str:
    return f"{run}-{group[0]:04d}.parquet"


def _put(place: Place, name: str, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="lz4")
    place.write(name, buffer.getvalue())


def _read(place: Place, name: str) -> pl.DataFrame:
    import polars as pl

    content = place.read(name)
    if content is None:
        raise StoreError(
            f"{place.below(name)} is missing: somebody was erased meanwhile, or the "
            "store isn't the same place for all processes. Run the command again"
        )
    return pl.read_parquet(io.BytesIO(content), hive_partitioning=False)


def sweep(place: Place) -> None:
    """Remove files that a process which died left behind: those of the day before."""
    newest = datetime.now(UTC) - timedelta(hours=KEEP_HOURS)
    old = [n for n in place.names(PARTS) if n < f"{PARTS}/{newest:{STAMP}}"]
    place.remove(*old)


def remove_all(place: Place) -> None:
    """Remove every file, also of steps that go on, which then fail."""
    place.remove(*place.names(PARTS))
