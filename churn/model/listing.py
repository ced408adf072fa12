"""All stored models as a table."""

import polars as pl

from churn.model import champion, due, versions
from churn.model.champion import Promotion
from churn.settings import Settings
from churn.store import Place

COLUMNS = {
    "model": pl.String,
    "role": pl.String,
    "created_at": pl.String,
    "outcomes_until": pl.Date,
    "n_rows": pl.Int64,
    "churn_rate": pl.Float64,
    "remark": pl.String,
}


def models(settings: Settings) -> pl.DataFrame:
    """Every stored model, the newest first.

    Columns: model, role (champion, was champion, or empty; followed by "own" for a
    user's own classifier), created_at (UTC), outcomes_until, n_rows, churn_rate, and
    remark: why it can't score, or why it was promoted or kept back.
    """
    place = Place(settings.store_address)
    stored = champion.stored(place)
    current = champion.current(place)
    promoted = {entry.model_id: entry for entry in champion.promotions(place)}
    rows = []
    for name in sorted(stored, key=lambda name: champion.order(stored[name]))[::-1]:
        facts = stored[name]
        entry = promoted.get(name)
        role = "champion" if name == current else "was champion" if entry else ""
        own = "own" if versions.is_own(facts) else ""
        why = _promoted(entry) if entry else _kept_back(place, name)
        rows.append(
            {
                "model": name,
                "role": ", ".join(filter(None, [role, own])),
                "created_at": facts["created_at"][:16].replace("T", " "),
                "outcomes_until": due.learned_until(facts),
                "n_rows": facts["n_rows"],
                "churn_rate": round(facts["churn_rate"], 4),
                "remark": due.unfit(facts, settings) or why,
            }
        )
    return pl.DataFrame(rows, schema=COLUMNS)


def _promoted(entry: Promotion) -> str:
    undone = f", undone {entry.undone_at[:10]}" if entry.undone_at else ""
    return f"promoted: {entry.why} ({entry.by}, {entry.at[:10]}{undone})"


def _kept_back(place: Place, model_id: str) -> str:
    """Why a model was not promoted; empty if it was never compared."""
    facts = champion.challenge_of(place, model_id)
    return f"kept back: {facts['promotion']} ({facts['at'][:10]})" if facts else ""
