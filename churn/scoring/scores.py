"""The scores table: made by a model at a cutoff, stored as one file per cutoff.

The gates' findings are stored in a file beside it.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

import polars as pl

from churn.errors import CutoffError, StoreError
from churn.events import addresses, erasure
from churn.scoring import accepted, age_gate, deciles, ranks, segments
from churn.scoring.gate import check_gates
from churn.settings import Settings
from churn.store import Store
from churn.store.score_schemas import Findings, Scores

if TYPE_CHECKING:
    from churn.model.fitting import Model

log = logging.getLogger(__name__)


def make(
    store: Store,
    fitted: Model,
    cutoff: date,
) -> pl.DataFrame:
    """Scores of every user eligible at ``cutoff``, see ``schemas.Scores``.

    Segments and first reasons depend on the scores of the newest earlier cutoff. Raises
    CutoffError if the cutoff is outside the data or no user is eligible.
    """
    return counted(store, fitted, cutoff)[0]


def counted(
    store: Store,
    fitted: Model,
    cutoff: date,
    bins: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The scores that ``make`` makes, and how many users are in each of ``bins``.

    ``bins``: those of a ``Baseline``; null for none, as is then the count.
    """
    # Imported here, because an export only reads scores and needn't load scikit-learn.
    from churn.scoring import by_group, reasons

    settings = store.settings
    before = _before(store, cutoff, by_group.BEFORE)
    users, counts = by_group.scored(store, fitted, cutoff, before, bins)
    if users.is_empty():
        days = settings.windows.eligible_days
        raise CutoffError(f"no user was active in the {days} days before {cutoff}")
    rated = ranks.ranked(users.select(*ranks.KEYS, "segment_place", "decile_place"))
    columns = ["user_id", "cutoff", "probability", *reasons.COLUMNS]
    scores = users.select(columns).with_columns(
        segments.cut(rated, settings, users.height),
        deciles.cut(rated, settings.policy.band, users.height),
        segments.score(pl.col("probability")).alias("score"),
        pl.lit(fitted.model_id).alias("model_id"),
    )
    return addressed(store, scores), counts


def addressed(store: Store, scores: pl.DataFrame) -> pl.DataFrame:
    """The scores with each user's identifier, of the kind that the study now names.

    The study may have named another kind when the scores were made.
    """
    cutoff = scores["cutoff"][0]
    users = addresses.identifiers(store, scores["user_id"], cutoff)
    # Each user has one row here and there, in the same order.
    return Scores.validate(scores.with_columns(users["identifier"]))


def write(
    store: Store,
    scores: pl.DataFrame,
    findings: pl.DataFrame,
    accept: Sequence[str] = (),
    why: str = "",
) -> str:
    """Replace the cutoff's files of scores and findings.

    Returns the path or URL of the scores. The same scores give the same bytes. If a
    gate failed and isn't accepted by name, nothing is written and GateError is raised.
    The days that were accepted are kept in the store, with who did it and ``why``.
    """
    check_gates(findings, accept)
    findings = accepted.remember(store.place, findings, why)
    cutoff = scores["cutoff"][0]
    # Users may have been erased since the scores were made.
    scores = erasure.without_forgotten(scores, store.reopened())
    _write(store, _name("findings", cutoff), findings)
    _write(store, _name("scores", cutoff), scores)
    log.info("scores: %d users at %s", scores.height, cutoff)
    return store.place.below(_name("scores", cutoff))


def _write(store: Store, name: str, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    store.place.write(name, buffer.getvalue())


def _name(table: str, cutoff: date) -> str:
    return f"{table}/cutoff={cutoff}.parquet"


def read(store: Store, cutoff: date | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores and findings of a cutoff, by default of the newest one that was scored.

    Raises CutoffError if there are none.
    """
    scores = stored(store, cutoff)
    wanted = scores["cutoff"][0]
    findings = _read_table(store, "findings", wanted)
    if "cases" not in findings.columns:
        # Files of an earlier version have none.
        findings = findings.with_columns(cases=pl.lit(""))
    return scores, Findings.validate(findings)


def stored(store: Store, cutoff: date | None = None) -> pl.DataFrame:
    """Scores of a cutoff; default and error as those of ``read``."""
    known = cutoffs(store)
    if not known:
        raise CutoffError(
            f"no scores for cutoff {cutoff or '(any)'}; run `churn run score` first"
        )
    if cutoff and cutoff not in known:
        raise CutoffError(
            f"no scores for cutoff {cutoff}; the stored ones lie between {known[0]} and "
            f"{known[-1]}, and `churn scores --list` names them all. To make more run "
            f"`churn run score -p cutoff={cutoff}`"
        )
    return _read(store, cutoff or known[-1])


def tag(
    store: Store,
    cutoff: date,
) -> str | None:
    """What identifies the stored scores of a cutoff; null if there are none."""
    found = store.place.tagged(_name("scores", cutoff))
    return found[1] if found else None


def of_user(
    store: Store,
    user_id: str,
    most: int,
) -> pl.DataFrame:
    """A user's scores at the newest cutoffs, newest first; empty if never scored."""
    newest = sorted(_cutoffs(store), reverse=True)[:most]
    tables = [_read(store, cutoff).filter(user_id=user_id) for cutoff in newest]
    return pl.concat(tables) if tables else Scores.create_empty()


def cutoffs(store: Store) -> list[date]:
    """Every cutoff that was scored, oldest first."""
    return sorted(_cutoffs(store))


def previous(store: Store, cutoff: date) -> pl.DataFrame | None:
    """The newest scores of an earlier cutoff, sent or not; null if there are none."""
    earlier = [known for known in _cutoffs(store) if known < cutoff]
    return _read(store, max(earlier)) if earlier else None


def _before(
    store: Store,
    cutoff: date,
    columns: Sequence[str],
) -> pl.DataFrame | None:
    """Some columns of the ``previous`` scores; null if there are none."""
    earlier = [known for known in _cutoffs(store) if known < cutoff]
    if not earlier:
        return None
    return _complete(_read_table(store, "scores", max(earlier))).select(columns)


def _cutoffs(store: Store) -> list[date]:
    files = [name.split("/")[1] for name in store.place.names("scores")]
    matches = [re.fullmatch(r"cutoff=(.+)\.parquet", file) for file in files]
    return [date.fromisoformat(match[1]) for match in matches if match]


def _read_table(store: Store, table: str, cutoff: date) -> pl.DataFrame:
    name = _name(table, cutoff)
    content = store.place.read(name)
    if content is None:
        raise StoreError(
            f"{store.place.below(name)} is missing: score the cutoff again"
        )
    return pl.read_parquet(io.BytesIO(content), hive_partitioning=False)


def _read(store: Store, cutoff: date) -> pl.DataFrame:
    return Scores.validate(_complete(_read_table(store, "scores", cutoff)))


def _complete(table: pl.DataFrame) -> pl.DataFrame:
    """The table with columns that files of an earlier version lack, as nulls."""
    missing = [
        pl.lit(None, column.dtype).alias(name)
        for name, column in Scores.columns().items()
        if column.nullable and name not in table.columns
    ]
    return table.with_columns(missing)


def recut(
    scores: pl.DataFrame,
    settings: Settings,
    previous: pl.DataFrame | None,
) -> pl.DataFrame:
    """The same scores, cut into the segments and deciles of these settings.

    If ``previous`` is null, there is no hysteresis. The scores table has no tenure, so
    a user who was too new when scored stays unrated, unless the settings no longer have
    a minimum tenure.
    """
    scored = _with_tenure(scores, settings)
    decile = deciles.assign(scored, settings, previous)
    return in_segments(scores, settings, previous).with_columns(decile)


def in_segments(
    scores: pl.DataFrame,
    settings: Settings,
    previous: pl.DataFrame | None,
) -> pl.DataFrame:
    """The same scores in the segments of these settings, see ``recut``."""
    scored = _with_tenure(scores, settings)
    return scores.with_columns(segments.assign(scored, settings, previous))


def _with_tenure(scores: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """The scores with a tenure_days that keeps unknown users unknown."""
    policy = settings.policy
    is_old_enough = pl.col("segment") != policy.unknown_segment
    tenure = pl.when(is_old_enough).then(policy.min_tenure_days)
    return scores.with_columns(tenure.alias("tenure_days"))


def check(
    store: Store,
    scores: pl.DataFrame,
    fitted: Model,
    now: datetime | None = None,
) -> pl.DataFrame:
    """The gates' findings about these scores and the data behind them.

    ``now`` is the time by which the age of the data is judged; by default it is that of
    the clock, or what a simulated app states.
    """
    from churn.scoring import gates

    return gates.check(
        store,
        scores["cutoff"][0],
        scores,
        fitted,
        age_gate.today(store.settings, now),
    )
