"""What a night would do now, without doing it."""

from collections.abc import Iterator

from churn.errors import ChurnError
from churn.nights import night
from churn.nights.record import Night, Stage
from churn.nights.stages import STAGES, Asked, Work, digest

RENEWING = ("ingest", "train")
"""Stages after which the results of earlier nights may no longer serve."""


def stages(
    asked: Asked,
    begun: Night,
) -> Iterator[Stage]:
    """Each stage with whether it would be done, and why or why not.

    ``begun``: the night as it would begin. New files would change what later stages
    find, which can't be known before. Nothing is written.
    """
    renewed = ""
    for name, work in STAGES.items():
        try:
            stage = _planned(asked, name, work, begun.earlier.get(name))
        except ChurnError as error:
            stage = Stage(name, "planned", reason=f"not known yet: {error}")
        is_planned = stage.status == "planned"
        if renewed and stage.inputs:
            stage = Stage(name, "planned", reason=f"unless {renewed} changes nothing")
        if is_planned and name in RENEWING:
            renewed = renewed or name
        yield stage


def _planned(
    asked: Asked,
    name: str,
    work: Work,
    before: Stage | None,
) -> Stage:
    is_same = before is not None and before.inputs == digest(work.inputs(asked))
    if before and is_same and night.still_serves(asked, work):
        return night.again(before)
    why = work.why(asked)
    return Stage(name, "planned" if why else "skipped", reason=why or work.idle)
