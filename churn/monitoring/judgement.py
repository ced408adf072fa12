"""Whether to go on sending: send, send with a warning, or hold."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import polars as pl

from churn.model import due
from churn.settings import Gates
from churn.store import Place

Decision = Literal["send", "warn", "hold"]

Z = 1.96
"""Standard errors to either side of a 95 % interval."""

NO_SKILL = 0.55
"""AUC that is hardly better than chance."""

PERIOD_SHIFT = 0.2
"""Standard deviation of the level from period to period that nobody can foresee, in
log-odds: the prior of the next period's forecast."""

DRIFTED = 0.25
"""Population stability index from which a distribution counts as another one."""

RECENT = 28
"""Number of newest closed cutoffs that warnings look at."""


@dataclass(frozen=True)
class Judgement:
    """The decision, and a sentence for each reason; the gravest come first.

    ``train``: whether a training would help, since the model has not learned from the
    outcomes that speak against it. ``cutoff``: the newest closed one; empty without.
    """

    decision: Decision
    reasons: tuple[str, ...]
    train: bool
    model_id: str
    cutoff: str


def judge(
    closed: pl.DataFrame,
    drift: dict[str, float],
    gates: Gates,
    model_id: str,
    learned_until: date | None,
    horizon_days: int,
) -> Judgement:
    """Judge by the newest closed cutoff, and warn of broken promises and drift.

    ``closed``: the figures of ``outcomes``. ``drift``: index by kind at the newest
    scoring. ``model_id`` and ``learned_until``: of the champion. ``horizon_days``: from
    a cutoff to the end of its horizon.

    Only what other users and other periods can't explain holds: an AUC whose interval
    ends below ``NO_SKILL``, a forecast worse than the same one for everybody, or a level
    off by more than ``gates.max_calibration_shift``; and only while the champion has not
    learned from these outcomes, for then it has been corrected.
    """
    grave = _grave(closed, gates)
    warnings = [*_broken(closed), *_drifted(drift)]
    newest = closed["cutoff"][-1] if closed.height else None
    has_learned = (
        newest is not None
        and learned_until is not None
        and (newest - learned_until).days + horizon_days <= 0
    )
    if grave and not has_learned:
        decision: Decision = "hold"
    else:
        decision = "warn" if grave or warnings else "send"
    return Judgement(
        decision,
        tuple(grave + warnings),
        bool(grave) and not has_learned,
        model_id,
        str(newest or ""),
    )


def _grave(
    closed: pl.DataFrame,
    gates: Gates,
) -> list[str]:
    """What the newest closed cutoff says against the forecasts."""
    if closed.is_empty():
        return []
    row = closed.row(-1, named=True)
    return [text for text in (_unskilled(row), _level(row, gates)) if text]


def _unskilled(row: dict[str, Any]) -> str:
    at = f"the users of {row['cutoff']}"
    auc, error = row["auc"], row["auc_error"]
    if auc is not None and auc + Z * error < NO_SKILL:
        return f"{at} were ranked no better than by chance (AUC {auc:.3f})"
    if row["gain"] + Z * row["gain_error"] < 0:
        return (
            f"for {at} the forecasts were worse than the same probability for everybody "
            f"(log loss higher by {-row['gain']:.3f})"
        )
    return ""


def _level(
    row: dict[str, Any],
    gates: Gates,
) -> str:
    shift, error = row["shift"], row["shift_error"]
    if shift is None:
        return ""
    reach = Z * (error**2 + PERIOD_SHIFT**2) ** 0.5
    if abs(shift) - reach <= gates.max_calibration_shift:
        return ""
    way = "more" if shift > 0 else "fewer"
    return (
        f"of the users of {row['cutoff']} {row['churn_rate']:.0%} left and "
        f"{row['mean_probability']:.0%} were forecast to: {way} by {abs(shift):.2f} in "
        "log-odds, beyond what chance and other periods explain"
    )


def _broken(closed: pl.DataFrame) -> list[str]:
    """Whether promises were broken more often than 80 % intervals are."""
    held = promises_held(closed.tail(RECENT))
    broken = held.filter((pl.col("n") >= RECENT // 2) & (pl.col("held_rate") < 0.5))
    return [
        f"{row['figure']} was within what was promised at {row['held_rate']:.0%} of the "
        f"newest {row['n']} closed dates, and 80% were to be"
        for row in broken.iter_rows(named=True)
    ]


def promises_held(closed: pl.DataFrame) -> pl.DataFrame:
    """How often each figure lay in its promised interval: figure, n, held_rate.

    ``n``: closed cutoffs for which an interval was stated; ``held_rate`` null without.
    """
    parts = []
    for figure in ("auc", "log_loss"):
        low, high = pl.col(f"{figure}_low"), pl.col(f"{figure}_high")
        known = closed.drop_nulls([figure, f"{figure}_low", f"{figure}_high"])
        held = pl.col(figure).is_between(low, high).mean().alias("held_rate")
        counted = pl.len().cast(pl.Int64).alias("n")
        parts.append(known.select(pl.lit(figure).alias("figure"), counted, held))
    return pl.concat(parts)


def _drifted(drift: dict[str, float]) -> list[str]:
    """A warning of kinds that drifted; tenure always grows while an app is young."""
    far = {kind: psi for kind, psi in drift.items() if psi > DRIFTED}
    far.pop("tenure", None)
    if not far:
        return []
    named = ", ".join(f"{kind} ({psi:.2f})" for kind, psi in far.items())
    return [
        f"users look otherwise than those the model learned from: {named}; an index "
        f"above {DRIFTED:g} is a lot"
    ]


def write(
    place: Place,
    judgement: Judgement,
) -> None:
    """Leave the judgement for the gate, and for the night that asks whether to train."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    content = json.dumps({**asdict(judgement), "at": at}, indent=1)
    place.write(due.VERDICT, content.encode())
