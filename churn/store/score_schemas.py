"""The schemas of what a scoring leaves: the scores, and what each gate found.

``ScoreTable`` is the layout that other programs rely on. Columns are added at its end;
none is renamed, removed or given another type or meaning.
"""

import dataframely as dy

REASON = "^(risky|safe)_[a-z]+$"
"""Pattern of a reason: a direction, and the kind of features behind it."""

N_DECILES = 10


def _reason(meaning: str) -> dy.String:
    return dy.String(
        nullable=True,
        regex=REASON,
        description=meaning,
    )


class ScoreTable(dy.Schema):
    """Scores as other programs get them, with one row per user scored at the cutoff."""

    user_id = dy.String(
        primary_key=True,
        description="the user's id in the event log",
    )
    cutoff = dy.Date(
        primary_key=True,
        description="the day the score is for: nothing from it or later was seen",
    )
    probability = dy.Float64(
        nullable=False,
        min=0.0,
        max=1.0,
        description="calibrated probability of churn",
    )
    score = dy.Int64(
        nullable=False,
        min=0,
        max=100,
        description="the probability in whole hundredths",
    )
    segment = dy.String(
        nullable=False,
        description="name of a segment of the study, or `policy.unknown_segment`",
    )
    decile = dy.Int64(
        nullable=True,
        min=1,
        max=N_DECILES,
        description=(
            "tenth of the rated users by risk: 1 is the most likely to return, 10 the "
            "least; null for users of the unknown segment and in scores that an "
            "earlier version stored"
        ),
    )
    reason_1 = _reason("what the score rests on most; null if nothing stands out")
    reason_2 = _reason("the next reason; null if there are fewer")
    reason_3 = _reason("the third reason; null if there are fewer")
    model_id = dy.String(
        nullable=False,
        description="the model that scored",
    )


class Scores(ScoreTable):
    """One row per eligible user: probability of churn, segment, decile and reasons."""

    # Braze's identifier of the user; null if there is none or several users share it.
    identifier = dy.String(nullable=True)


class Findings(dy.Schema):
    """What each gate found at one cutoff."""

    cutoff = dy.Date(nullable=False)
    gate = dy.String(nullable=False)
    passed = dy.Bool(nullable=False)
    days = dy.String(nullable=False)
    expected = dy.String(nullable=False)
    seen = dy.String(nullable=False)
    sentence = dy.String(nullable=False)
    # JSON; empty if the gate passed, and in findings of an earlier version.
    cases = dy.String(nullable=False)
