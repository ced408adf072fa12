"""Whether to go on sending: send, send with a warning, or hold."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Literal

import polars as pl

from churn.model import due
from churn.monitoring import evidence
from churn.monitoring.evidence import Interval
from churn.settings import Gates
from churn.stats.probability import level_holds
from churn.store import Place

Decision = Literal["send", "warn", "hold"]

NO_SKILL = 0.55
"""AUC that is hardly better than chance."""

DRIFTED = 0.25
"""Population stability index from which a distribution counts as another one."""

MIN_MISSED = 3
"""Fewest dates in a row whose promise was missed for a warning.

Of right promises every tenth is missed on the worse side, and neighbouring dates together.
"""


@dataclass(frozen=True)
class Judgement:
    """The decision, and a sentence for each reason; the gravest come first.

    - ``train``: whether a training would help, since the model has not learned from the
      outcomes that speak against it.
    - ``cutoff``: the newest closed one, and ``since``: the first of those that the
      reasons rest on; empty without.
    """

    decision: Decision
    reasons: tuple[str, ...]
    train: bool
    model_id: str
    cutoff: str
    since: str = ""


def judge(
    closed: pl.DataFrame,
    drift: dict[str, float],
    gates: Gates,
    model_id: str,
    learned_until: date | None,
    horizon_days: int,
) -> Judgement:
    """Judge by the newest closed cutoffs, and warn of broken promises and drift.

    ``closed``: the figures of ``outcomes``. ``drift``: index by kind at the newest
    scoring. ``model_id`` and ``learned_until``: of the champion. ``horizon_days``: from
    a cutoff to the end of its horizon.

    Only what other users and other periods can't explain holds (see ``evidence``): an
    AUC whose interval ends below ``NO_SKILL``, a forecast worse than the same one for
    everybody, or a level off by more than ``gates.max_calibration_shift``; and only by
    outcomes from which the champion has not learned, for by others it was corrected. A
    level that is off by more than half of that is a warning.
    """
    is_new = pl.lit(True)
    if learned_until is not None:
        is_new = pl.col("cutoff") + pl.duration(days=horizon_days) > learned_until
    rows = evidence.newest(closed.filter(is_new), horizon_days)
    level = evidence.interval(rows, "shift", horizon_days)
    limit = gates.max_calibration_shift
    grave = [*_unskilled(rows, horizon_days), *_level(rows, level, limit)]
    lesser = [] if grave else _level(rows, level, limit / 2)
    broken = [*lesser, *_missed(rows)]
    warnings = [*broken, *_drifted(drift)]
    decision: Decision = "hold" if grave else "warn" if warnings else "send"
    return Judgement(
        decision,
        tuple(grave + warnings),
        bool(grave),
        model_id,
        str(closed["cutoff"].max() or ""),
        str(rows["cutoff"].min()) if grave or broken else "",
    )


def _unskilled(
    rows: pl.DataFrame,
    horizon_days: int,
) -> list[str]:
    auc = evidence.interval(rows, "auc", horizon_days)
    gain = evidence.interval(rows, "gain", horizon_days)
    if auc.high < NO_SKILL:
        return [
            f"{_users(rows)} were ranked no better than by chance (AUC {auc.value:.3f}, "
            f"95 %: {auc.low:.3f} to {auc.high:.3f})"
        ]
    if gain.high < 0:
        return [
            f"for {_users(rows)} the forecasts were worse than the same probability for "
            f"everybody (log loss higher by {-gain.value:.3f}, 95 %: {-gain.high:.3f} to "
            f"{-gain.low:.3f})"
        ]
    return []


def _users(rows: pl.DataFrame) -> str:
    """Whose outcomes these are, in words."""
    days = rows["cutoff"].sort()
    first, last = days[0], days[-1]
    if first == last:
        return f"the users of {first}"
    return f"the users of {first} to {last}"


def _level(
    rows: pl.DataFrame,
    level: Interval,
    beyond: float,
) -> list[str]:
    """A level whose whole interval is further off than ``beyond``, in log-odds."""
    if level_holds(level.low, level.high, beyond):
        return []
    left, forecast = rows.select(
        pl.col("churn_rate").mean(),
        pl.col("mean_probability").mean(),
    ).row(0)
    way = "more" if level.value > 0 else "fewer"
    return [
        f"of {_users(rows)} {left:.0%} left and {forecast:.0%} were forecast to: {way} by "
        f"{abs(level.value):.2f} in log-odds (95 %: {level.low:+.2f} to "
        f"{level.high:+.2f}), beyond what chance and other periods explain"
    ]


def _missed(rows: pl.DataFrame) -> list[str]:
    """Figures that were worse than promised at every one of the newest dates."""
    found = []
    worse = {
        "AUC": pl.col("auc") < pl.col("auc_low"),
        "log loss": pl.col("log_loss") > pl.col("log_loss_high"),
    }
    for name, is_worse in worse.items():
        missed = rows.select(missed=is_worse).drop_nulls()["missed"]
        if len(missed) >= MIN_MISSED and missed.all():
            found.append(
                f"the {name} was worse than what was promised at all {len(missed)} "
                "newest dates"
            )
    return found


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
    now: datetime | None = None,
) -> None:
    """Leave the judgement for the gate, and for the night that asks whether to train.

    ``now``: its time; by default that of the clock.
    """
    at = (now or datetime.now(UTC)).isoformat(timespec="seconds")
    content = json.dumps({**asdict(judgement), "at": at}, indent=1)
    place.write(due.VERDICT, content.encode())
