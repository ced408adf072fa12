"""The study file for the extracts of a folder, and what a person should look at."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from churn.guessing.extracts import Proposal
from churn.settings import Extract

HAPPENS = re.compile(
    r"(^|[_ .-])(sent|received|delivered|impression|shown|push|notification|bounce\w*"
    r"|refund\w*|uninstall\w*|delete\w*|expired|cancell?ed|batch|sync)($|[_ .-])",
    re.IGNORECASE,
)
"""Words in the names of events that happen to a person, who does nothing."""

USUAL_DAYS = 28 + 28
"""Days that the usual windows need: to be eligible, and a horizon to learn from."""

USUAL_USERS = 200
"""Fewest users that a forecast is worth making for."""


def text(
    proposals: Sequence[Proposal],
    file: Path,
) -> str:
    """The content of the study file ``file``; paths are relative to its folder."""
    extracts = "\n".join(_extract(one.extract, file.parent) for one in proposals)
    return (
        '# What "churn" means for this product. Guessed by `churn init`: check it.\n'
        "# All other keys have a default; the guide churn/README.md says where they are "
        "explained.\n"
        'timezone = "UTC"            # time zone in which a day begins\n'
        f"\n{extracts}\n"
        "[activity]\n"
        "counts_as_active = []       # names of events; empty: all that a person caused\n"
        f"currency = {_quoted(currency(proposals) or 'USD')}            # of revenue\n"
        "\n[windows]                   # days; `churn run explore` recommends some\n"
        "observation_days = 90       # history that features look at\n"
        "eligible_days = 28          # a user is scored if active within so many days\n"
        "horizon_days = 28           # a user who is not active in these has churned\n"
    )


def _extract(
    extract: Extract,
    folder: Path,
) -> str:
    """The table of one extract, with the settings that aren't defaults."""
    path = os.path.relpath(extract.path, folder.resolve())
    lines = [
        "[[extracts]]",
        f"source = {_quoted(extract.source)}",
        f"path = {_quoted(Path(path).as_posix())}",
        f"timezone = {_quoted(extract.timezone)}            # of times without a zone",
    ]
    if extract.encoding != "utf-8":
        lines.append(f"encoding = {_quoted(extract.encoding)}")
    if extract.ignore:
        lines.append(f"ignore = [{', '.join(map(_quoted, extract.ignore))}]")
    if extract.columns:
        pairs = [f"{k} = {_quoted(v)}" for k, v in extract.columns.items()]
        lines.append(f"columns = {{ {', '.join(pairs)} }}")
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    """A text as TOML writes it, which is as JSON does."""
    return json.dumps(value, ensure_ascii=False)


def currency(proposals: Sequence[Proposal]) -> str | None:
    """The commonest currency of amounts; null where none is stated."""
    money = pl.concat([one.rows for one in proposals])["currency"].drop_nulls()
    codes = money.filter(money.str.contains("^[A-Z]{3}$"))
    return codes.value_counts(sort=True)[0, 0] if len(codes) else None


def doubts(proposals: Sequence[Proposal]) -> Iterator[str]:
    """What the sample leaves open, in a sentence each, and which key states it."""
    for one in proposals:
        yield from _about(one)
    rows = pl.concat([one.rows for one in proposals])
    kept = rows.filter(pl.col("fault").is_null())
    if kept["revenue"].is_not_null().any() and not currency(proposals):
        yield "No currency is stated, so amounts are taken as USD: activity.currency."
    happening = sorted(filter(HAPPENS.search, _active_names(kept)))
    if happening:
        yield (
            f"By their names these events may happen to people who do nothing: "
            f"{', '.join(happening[:10])}; if they do, give each the kind other under "
            "`kinds` of its extract."
        )
    if kept["user_id"].null_count() == kept.height:
        yield "No row of the sample has a user id: without one nobody can be scored."
    if all(one.is_whole for one in proposals):
        yield from _too_little(kept)


def _too_little(kept: pl.DataFrame) -> Iterator[str]:
    """What all rows together are too few for."""
    n_users, n_days = kept["user_id"].n_unique(), _n_days(kept)
    if n_users < USUAL_USERS:
        yield f"There are only {n_users} users; a forecast needs some {USUAL_USERS}."
    if n_days < USUAL_DAYS:
        yield (
            f"Days in the log: {n_days}; these windows need {USUAL_DAYS}: "
            "shorten them as `churn run explore` says, or wait for more history."
        )


def _about(one: Proposal) -> Iterator[str]:
    """What one extract leaves open."""
    name = Path(one.extract.path).name
    faults = one.rows["fault"].drop_nulls()
    if len(faults):
        reasons = faults.value_counts(sort=True).rows()
        listed = ", ".join(f"{reason} {n:,}" for reason, n in reasons)
        yield f"{name}: {len(faults):,} of {one.rows.height:,} rows fail ({listed})."
    if (one.rows["event_time_basis"] == "tz_assumed").any():
        yield (
            f"{name}: times carry no zone and are taken as {one.extract.timezone}: "
            "extracts.timezone."
        )
    if one.extract.columns:
        guessed = one.extract.columns.items()
        pairs = ", ".join(f"{field} = {column}" for field, column in guessed)
        yield f"{name}: its columns were guessed ({pairs}): extracts.columns."


def _active_names(kept: pl.DataFrame) -> list[str]:
    """Names of events that count as caused by a person."""
    return kept.filter(event_kind="in_app")["event"].unique().to_list()


def _n_days(kept: pl.DataFrame) -> int:
    """Days from the first event to the last, both included."""
    days = kept["event_time"].dt.date().to_physical().to_numpy()
    return int(np.ptp(days)) + 1 if len(days) else 0


def events(proposals: Sequence[Proposal]) -> pl.DataFrame:
    """The twenty commonest events of the sample: event, kind, rows, users."""
    rows = pl.concat([one.rows for one in proposals])
    kept = rows.filter(pl.col("fault").is_null())
    counts = kept.group_by("event", pl.col("event_kind").alias("kind")).agg(
        rows=pl.len(), users=pl.col("user_id").n_unique()
    )
    return counts.sort("rows", "event", descending=[True, False]).head(20)


def first_rows(proposals: Sequence[Proposal]) -> pl.DataFrame:
    """The first five rows that were read, in the columns that matter most."""
    rows = pl.concat([one.rows for one in proposals])
    shown = ("user_id", "event", "event_time", "revenue", "currency")
    return rows.filter(pl.col("fault").is_null()).select(shown).head()


def span(proposals: Sequence[Proposal]) -> str:
    """How many rows, users and days the sample holds, in a sentence."""
    rows = pl.concat([one.rows for one in proposals])
    kept = rows.filter(pl.col("fault").is_null())
    day = pl.col("event_time").dt.strftime("%Y-%m-%d")
    first, last = kept.select(day.min().alias("first"), day.max().alias("last")).row(0)
    return (
        f"{rows.height:,} rows read, {kept.height:,} of them usable: "
        f"{kept['user_id'].n_unique():,} users, {first} to {last}"
    )
