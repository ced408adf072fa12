"""The tables [[segments]] and [policy] of churn.toml: who is in which segment."""

import itertools
from collections.abc import Sequence

from pydantic import Field

from churn.settings.values import Section, SegmentName, Share


class Segment(Section):
    """A named risk band that ends where the one before it begins."""

    name: SegmentName
    from_probability: float | None = Field(
        default=None,
        ge=0,
        le=1,
    )
    share: float | None = Field(
        default=None,
        gt=0,
        le=1,
    )
    capacity: int | None = Field(default=None, ge=1)


class Policy(Section):
    """Which users get a segment, and how far they must move before it follows."""

    band: Share = 0.8
    margin: Share = 0.05
    min_tenure_days: int = Field(
        default=0,
        ge=0,
        le=3650,
    )
    unknown_segment: SegmentName = "unknown"


def segment_faults(segments: Sequence[Segment], policy: Policy) -> list[str]:
    """Everything that is wrong with the segments together, a sentence each."""
    names = [segment.name for segment in segments]
    faults = _boundary_faults(segments)
    if any(segment.capacity for segment in segments[-1:]):
        faults.append(
            "the last one takes all remaining users and can't have a capacity"
        )
    if len(set(names)) < len(names):
        faults.append("two share a name")
    if policy.unknown_segment in names:
        unknown = policy.unknown_segment
        faults.append(f"one has the name of policy.unknown_segment, {unknown!r}")
    return faults


def _boundary_faults(segments: Sequence[Segment]) -> list[str]:
    starts = [s.from_probability for s in segments if s.from_probability is not None]
    shares = [s.share for s in segments if s.share is not None]
    if starts and shares:
        return ["cut all by from_probability or all by share"]
    if shares:
        return _share_faults(segments, sum(shares))
    is_falling = all(above > below for above, below in itertools.pairwise(starts))
    if len(starts) < len(segments) or starts[-1:] != [0] or not is_falling:
        return ["list them highest first, each starting lower, the last at 0.0"]
    return []


def _share_faults(segments: Sequence[Segment], total: float) -> list[str]:
    faults = []
    if any(segment.share is None for segment in segments[:-1]):
        faults.append("each but the last needs a share")
    is_short = segments[-1].share is not None and total < 1 - 1e-9
    if total > 1 + 1e-9 or is_short:
        faults.append(
            f"the shares add up to {total:g}, not 1 (the last may be left out)"
        )
    return faults
