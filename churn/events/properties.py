"""Numeric properties of events, summed by name without configuration.

A property is at the top level of a JSON object
or is a parameter in GA4's list, and holds a number or text that is nothing but one.
Ids, dates and instants are none: names that begin with the word id or end in id, ts,
timestamp or date, and values of a hundred million and more.
"""

import polars as pl
import polars.selectors as cs

MAX_NAMES = 20  # numeric properties of an event that one batch sums
NUMBERS = pl.List(pl.Struct({"name": pl.String, "value": pl.Float64}))
TOO_LARGE = 1e8  # ids and instants, not amounts
NO_AMOUNT = r"^(?i:ids?)[^A-Za-z]|(?:^|[^A-Za-z])(?i:ids?|ts|timestamp|date)$|[a-z](?:I[dD]s?|Ts|Timestamp|Date)$"


# Of JSON as json_path_match writes it: without blanks, a name once.
NAME = r'[^"\\]{1,40}'
NUMBER = r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?"
TEXT = r'"(?:[^"\\]|\\.)*"'
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
