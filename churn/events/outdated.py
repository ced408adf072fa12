"""Events of files that are missing although a new version reads their rows otherwise.

The files can't be read again, so the log's own rows take the kinds that their names have
today, the names that Currents' events have today, and the form that ids have today.
"""

from collections.abc import Collection, Sequence

import polars as pl

from churn.events.replacing import EVENT_KEY
from churn.events.sources import cells, event_kinds
from churn.settings import Extract
from churn.store import Store

WHATSAPP = ("messages_whats_", "messages_whatsapp_")
"""How an earlier version began the names of WhatsApp's events, and how they begin."""


WHOLE_TAG = f"^([^:]+:)(?:{cells.WHOLE_FLOAT}|{cells.WHOLE_DECIMAL})$"
"""An id as "type:value" whose value is a whole number with a point and zeros."""


def with_renewed(
    unique: pl.DataFrame,
    store: Store,
    buckets: Sequence[int],
    outdated: Collection[str],
) -> pl.DataFrame:
    """The new rows of some buckets and, renewed, the log's rows of outdated files.

    Of an event that both hold, the log's row stays.
    """
    if not outdated:
        return unique
    is_outdated = pl.col("file_id").is_in(sorted(outdated))
    stored = store.rows_of("events", buckets).filter(is_outdated).collect()
    files = store.scan("files").select("file_id", "extract").collect()
    rows = stored.join(
        files,
        on="file_id",
        how="left",
        maintain_order="left",
    )
    parts = [unique.join(rows, on=EVENT_KEY, how="anti", maintain_order="left")]
    for extract in store.settings.extracts:
        own = rows.filter(pl.col("extract") == extract.path)
        parts.append(_renewed(own, extract))
    return pl.concat(parts, how="diagonal_relaxed")


def _renewed(rows: pl.DataFrame, extract: Extract) -> pl.DataFrame:
    event = pl.col("event")
    if extract.source == "currents":
        event = event.str.replace(f"^{WHATSAPP[0]}", WHATSAPP[1])
    ids = pl.col("ids").list.eval(pl.element().str.replace(WHOLE_TAG, "${1}${2}${3}"))
    rows = rows.with_columns(
        ids,
        user_id=cells.identifier("user_id"),
        anonymous_id=cells.identifier("anonymous_id"),
    )
    named = list(event_kinds.named_kinds(extract))
    kind = event_kinds.renewed(extract.source, named)
    renamed = rows.with_columns(event).with_columns(kind)
    return renamed.with_columns(event_kind=event_kinds.with_refunds())
