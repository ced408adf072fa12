"""AppsFlyer raw-data reports as the Pull API and the export page write them (spaced, capitalised column names).

Times carry no zone: the extract's ``timezone`` says it (Pull: UTC unless another was asked for; export page: the
app's). The reports state no receive time, so ``received_time`` is null. An event made during a re-engagement window
comes twice; only the copy with ``Is Primary Attribution`` is kept. An uninstall's time is when it was noticed, days
after it happened.
"""

from pathlib import Path

import polars as pl

from churn.sources import parse
from churn.study import Extract

SUFFIXES = (".csv", ".csv.gz")
SETTLING_DAYS = 2  # final about 48 h after the UTC day
NEEDED = ["Event Time", "Event Name", "AppsFlyer ID"]
OPTIONAL = {
    "platform": "Platform",
    "country": "Country Code",
    "app_version": "App Version",
    "media_source": "Media Source",
    "properties": "Event Value",
}
KINDS = {
    "install": "install",
    "reinstall": "reinstall",
    "re-attribution": "reattribution",
    "re-engagement": "reattribution",
    "uninstall": "uninstall",
    "af_uninstall": "uninstall",
    "session": "session_start",
    "af_app_opened": "session_start",
    "af_purchase": "purchase",
    "af_ad_revenue": "ad_revenue",
}


def read(path: Path, extract: Extract) -> pl.DataFrame:
    """Canonical events of one report; event_id from AppsFlyer ID, event, time, value and app."""
    raw = parse.text_csv(path).with_row_index("source_row", offset=1)
    parse.require(raw, NEEDED, path)
    raw = raw.with_columns(
        pl.lit(None, pl.String).alias(c) for c in [*OPTIONAL.values(), *_USED] if c not in raw.columns
    )
    events = raw.with_columns(
        event_time=parse.time("Event Time", pl.String(), extract.timezone),
        event=parse.event_name("Event Name"),
        user_id=parse.identifier("Customer User ID"),
        anonymous_id=parse.identifier("AppsFlyer ID"),
        revenue=parse.number("Event Revenue"),
        **{ours: pl.col(theirs) for ours, theirs in OPTIONAL.items()},
    )
    events = events.with_columns(_kind(extract), _fault()).with_columns(_event_id(events))
    return parse.canonical(
        events.with_columns(
            event_time_basis=pl.when(pl.col("event_kind") == "uninstall")
            .then(pl.lit("detected"))
            .otherwise(pl.lit("tz_assumed")),
            currency=pl.when(pl.col("revenue").is_not_null()).then(pl.col("Event Revenue Currency")),
        )
    )


_USED = ["Customer User ID", "Event Revenue", "Event Revenue Currency", "App ID", "Is Primary Attribution"]


def _kind(extract: Extract) -> pl.Expr:
    # A negative amount is a refund whatever the event is called, so money is asked before the vendor's names.
    refund = pl.when(pl.col("revenue") < 0).then(pl.lit("refund"))
    named = parse.kind(pl.col("event"), pl.col("revenue"), {**KINDS, **extract.kinds})
    return pl.coalesce(refund, named).alias("event_kind")


def _fault() -> pl.Expr:
    return parse.first_fault(
        {
            "not_primary": pl.col("Is Primary Attribution").str.to_lowercase() == "false",
            "unreadable_time": pl.col("event_time").is_null(),
            "no_event_name": pl.col("event").is_null(),
            "unreadable_revenue": pl.col("revenue").is_null() & ~parse.is_blank("Event Revenue"),
        }
    ).alias("fault")


def _event_id(events: pl.DataFrame) -> pl.Series:
    parts = [
        pl.col("anonymous_id"),
        pl.col("event"),
        pl.col("event_time").dt.epoch("us").cast(pl.String),
        pl.col("Event Value"),
        pl.col("App ID"),
    ]
    # U+001F can't occur in a CSV cell of these reports, so no two different tuples join to one text.
    joined = pl.concat_str([p.fill_null("") for p in parts], separator="\x1f").alias("event_id")
    return parse.digests(events.select(joined).to_series())
