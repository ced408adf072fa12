"""All stored models as a table."""

import polars as pl

from churn.model import champion, due, versions
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

    Columns: model, role (champion, was champion, or empty), created_at (UTC),
    outcomes_until, n_rows, churn_rate, and remark: why it was promoted, or why it
    can't score.
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
        unusable = "" if versions.is_own(facts) else due.unfit(facts, settings)
        remark = unusable or (
            f"{entry.why} ({entry.by}, {entry.at[:10]})" if entry else ""
        )
        rows.append(
            {
                "model": name,
                "role": role,
                "created_at": facts["created_at"][:16].replace("T", " "),
                "outcomes_until": due.learned_until(facts),
                "n_rows": facts["n_rows"],
                "churn_rate": facts["churn_rate"],
                "remark": remark,
            }
        )
    return pl.DataFrame(rows, schema=COLUMNS)
