"""Event log → daily activity and users table: what snapshots are built from.

Numeric properties are summed by name. A property is at the top level of a JSON object
or is a parameter in GA4's list, and holds a number or text that is nothing but one.
Ids, dates and instants are none: names that begin with the word id or end in id, ts,
timestamp or date, and values of a hundred million and more.
"""

from collections.abc import Sequence

import polars as pl
import polars.selectors as cs

from churn.clocks import local_date, usable
from churn.store.schemas import ActivityTable, Anonymous, Users

BY_NAME = (
    "in_app",
    "other",
    "message_sent",
    "message_engaged",
)  # kinds whose events differ by name
MAX_NAMES = 20  # numeric properties of an event that one batch sums
NUMBERS = pl.List(pl.Struct({"name": pl.String, "value": pl.Float64}))
TOO_LARGE = 1e8  # ids and instants, not amounts
NO_AMOUNT = r"^(?i:ids?)[^A-Za-z]|(?:^|[^A-Za-z])(?i:ids?|ts|timestamp|date)$|[a-z](?:I[dD]s?|Ts|Timestamp|Date)$"

# Of JSON as json_path_match writes it: without blanks, a name once.
NAME, NUMBER, TEXT = (
    r'[^"\\]{1,40}',
    r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?",
    r'"(?:[^"\\]|\\.)*"',
)
AMOUNT = rf'{NUMBER}|"{NUMBER}"'
PAIR = rf'"{NAME}":(?:{AMOUNT})'
GA4_PAIR = rf'\{{"key":("{NAME}"),"value":\{{(?:"\w+":null,)*"\w+":({AMOUNT})(?:,"\w+":null)*\}}\}}'


def _nested(levels: int) -> str:
    inner = rf'[^\[\]{{}}"]|{TEXT}' + (f"|{_nested(levels - 1)}" if levels else "")
    return rf"[\[{{](?:{inner})*[\]}}]"


# Text and what is nested are tokens of their own, so that nothing inside them is taken
# for a property. Of a value nested deeper than eight levels the rest of the row is one.
TOKEN = rf"{PAIR}|{TEXT}:{_nested(7)}|{GA4_PAIR}|{TEXT}|{_nested(7)}|(?s:[\[{{].*)"
NUMBERS_OF = pl.coalesce(
    cs.by_name("numbers", require_all=False), pl.lit([], NUMBERS)
).alias("numbers")


def numbers(properties: pl.Expr) -> pl.Expr:
    """Numeric properties of each row as a list of name and value; empty where the text
    is no JSON object or list.

    >>> pl.select(numbers(pl.lit('{"level": 3, "price": "2.50", "id": 7, "near": {"x": 1}}'))).item().to_list()
    [{'name': 'level', 'value': 3.0}, {'name': 'price', 'value': 2.5}]
    """
    worth = pl.when(properties.str.contains(r"(?s)^\s*[\[{].*\d")).then(properties)
    tokens = (
        worth.str.json_path_match("$").str.slice(1).str.extract_all(TOKEN).fill_null([])
    )
    token = pl.element()
    alike = tokens.list.eval(token.str.replace(f"^{GA4_PAIR}$", "${1}:${2}"))
    pairs = alike.list.eval(token.filter(token.str.contains(f"^{PAIR}$")))
    split = pairs.list.eval(
        token.str.slice(1).str.splitn('":', 2).struct.rename_fields(["name", "value"])
    )
    value = pl.field("value").str.strip_chars('"').cast(pl.Float64)
    cast = split.list.eval(token.struct.with_fields(value))
    small = token.struct.field("value").abs() < TOO_LARGE
    return cast.list.eval(
        token.filter(small & ~token.struct.field("name").str.contains(NO_AMOUNT))
    ).alias("numbers")


def from_events(
    events: pl.LazyFrame,
    timezone: str,
    currency: str,
    names: pl.DataFrame | None = None,
) -> pl.LazyFrame:
    """Daily activity of one or more rows of the event log that have a user; see
    ``_daily``.
    """
    known = events.filter(pl.col("user_id").is_not_null())
    return _daily(known, ["user_id"], timezone, currency, names).select(
        ActivityTable.column_names()
    )


def anonymous_from_events(
    events: pl.LazyFrame,
    timezone: str,
    currency: str,
    names: pl.DataFrame | None = None,
) -> pl.LazyFrame:
    """Daily activity of rows without a user that carry an id which may find one; see
    ``_daily``.
    """
    unknown = events.filter(
        pl.col("user_id").is_null() & (pl.col("ids").list.len() > 0)
    )
    return _daily(unknown, ["ids", "platform"], timezone, currency, names).select(
        Anonymous.column_names()
    )


def commonest_numbers(events: pl.LazyFrame) -> pl.DataFrame:
    """Event and name of the numeric properties worth summing: of each event the
    commonest, ties by name.

    The bound keeps names that are made up by the row from swelling the table.
    """
    each = (
        events.select("event", NUMBERS_OF)
        .explode("numbers", empty_as_null=False)
        .unnest("numbers")
    )
    counts = (
        each.group_by("event", "name")
        .len()
        .sort("len", "name", descending=[True, False])
    )
    return (
        counts.group_by("event", maintain_order=True)
        .head(MAX_NAMES)
        .select("event", "name")
        .collect(engine="streaming")
    )


def _daily(
    events: pl.LazyFrame,
    whose: list[str],
    timezone: str,
    currency: str,
    names: pl.DataFrame | None,
) -> pl.LazyFrame:
    """Rows summed by whose, source, day, event, kind and the day on which they became
    known.

    Properties are summed where the rows have a column ``numbers``, of each event those
    in ``names``, if it is given. Days are those of ``timezone``. Rows with an estimated
    time are left out: they may be dated before anybody could know them. Revenue without
    a currency is taken to be in the study's; in another it counts as the vendor
    converted it, if the study's is the dollar, and is else counted, not summed.
    """
    ours = pl.col("currency").fill_null(currency) == currency
    converted = pl.col("revenue_usd") if currency == "USD" else pl.lit(None, pl.Float64)
    amount = pl.when(ours).then(pl.col("revenue")).otherwise(converted)
    days = [
        local_date("event_time", timezone).alias("date"),
        local_date("received_time", timezone).alias("known_date"),
    ]
    daily = (
        usable(events)
        .with_columns(NUMBERS_OF)
        .group_by(*whose, "source", *days, "event", pl.col("event_kind").alias("kind"))
        .agg(
            n=pl.len().cast(pl.Int64),
            revenue=amount.sum(),
            n_other_currency=(pl.col("revenue").is_not_null() & amount.is_null())
            .sum()
            .cast(pl.Int64),
            first_at=pl.col("event_time").min(),
            last_at=pl.col("event_time").max(),
            numbers=pl.col("numbers").explode(empty_as_null=False),
        )
    )
    return _summed(daily.with_row_index("row").collect(), names).lazy()


def _summed(daily: pl.DataFrame, names: pl.DataFrame | None) -> pl.DataFrame:
    """The rows with ``sums``, each name once and in order, instead of ``numbers``."""
    each = (
        daily.select("row", "event", "numbers")
        .explode("numbers", empty_as_null=False)
        .unnest("numbers")
    )
    kept = each if names is None else each.join(names, on=["event", "name"], how="semi")
    totals = (
        kept.group_by("row", "name")
        .agg(total=pl.col("value").sum())
        .sort("row", "name")
    )
    sums = totals.group_by("row").agg(sums=pl.struct("name", "total"))
    return (
        daily.drop("numbers")
        .join(sums, on="row", how="left")
        .with_columns(pl.col("sums").fill_null([]))
    )


def total(name: str) -> pl.Expr:
    """The sum of one numeric property in each activity row; 0 where no event had it,
    null where it wasn't kept yet.
    """
    mine = pl.element().filter(pl.element().struct.field("name") == name)
    return pl.col("sums").list.eval(mine.struct.field("total")).list.sum() + 0.0


def users_from_events(events: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
    """First- and last-seen instants by source, platform and the day on which they
    became known.
    """
    known = local_date("received_time", timezone).alias("known_date")
    rows = usable(events.filter(pl.col("user_id").is_not_null()))
    seen = {
        "first_at": pl.col("event_time").min(),
        "last_at": pl.col("event_time").max(),
    }
    return (
        rows.group_by("user_id", "source", "platform", known)
        .agg(**seen)
        .select(Users.column_names())
    )


def counted_once(activity: pl.LazyFrame, sources: Sequence[str]) -> pl.LazyFrame:
    """Where several sources report the same of a user's day, only the rows of the first
    of them.

    The same is: sessions, purchases and other kinds as such, other events by their
    name. ``sources`` says who comes first. Ask only for rows known by the cutoff: a
    source that reports late must not silence one that had reported.
    """
    if len(sources) < 2:
        return activity
    ranks = {source: rank for rank, source in enumerate(sources)}
    rank = pl.col("source").replace_strict(
        ranks, default=len(sources), return_dtype=pl.Int32
    )
    named = (
        pl.when(pl.col("kind").is_in(BY_NAME))
        .then(pl.col("event"))
        .otherwise(pl.lit(""))
    )
    ranked = activity.with_columns(rank.alias("rank"), named.alias("named"))
    return ranked.filter(
        pl.col("rank") == pl.col("rank").min().over("user_id", "date", "kind", "named")
    ).drop("rank", "named")
