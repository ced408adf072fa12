r"""Numeric properties of events, summed by name without any configuration.

Input is an event's properties as JSON text, either an object or GA4's list of
``{"key": …, "value": {…}}``. A property counts if it stands at the top level and holds
a number, or text that is nothing but a number. Ids, dates and instants are left out:
names whose first word is id or whose last word is id, ts, timestamp or date, and values
of a hundred million and more. Null, and text that is no JSON, hold no properties.

Regular expressions split the text into tokens, because polars has no decoder for such
objects. ``str.json_decode`` with ``pl.Map`` reads objects of unknown keys, but only if
all values have one type; a nested value or one malformed row fails the whole column.
``json_path_match`` needs the names beforehand, and Python's ``json`` takes eight times
the processor time. ``json_path_match("$")`` does check each row, and writes it in one
form: without blanks, each name once.
"""

import polars as pl
import polars.selectors as cs

NUMBERS = pl.List(pl.Struct({"name": pl.String, "value": pl.Float64}))

MAX_NAMES = 20
"""Numeric properties of one event name that one ingest sums."""

MAX_VALUE = 1e8
"""Values of at least this size are taken for ids or instants, not amounts."""

NOT_AN_AMOUNT = "|".join(
    [
        r"^(?i:ids?)[^A-Za-z]",  # id_of_item
        r"(?:^|[^A-Za-z])(?i:ids?|ts|timestamp|date)$",  # item_id, date
        r"[a-z](?:I[dD]s?|Ts|Timestamp|Date)$",  # itemId, createdDate
    ]
)
"""Names of ids, dates and instants."""

MAX_DEPTH = 8

# Text in quotes, in which a backslash protects the next character.
TEXT = r'"(?:[^"\\]|\\.)*"'
# The name of a property; longer names and names with escapes are not kept.
NAME = r'[^"\\]{1,40}'
# A number as JSON writes it.
NUMBER = r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?"
# A number, or text that is nothing but a number.
AMOUNT = rf'{NUMBER}|"{NUMBER}"'
# A property that counts: "level":3.
PAIR = rf'"{NAME}":(?:{AMOUNT})'
# A value type in GA4's list that is not set.
GA4_NULL = r'"\w+":null'
# GA4's value: one of its types is set, the others are null or absent.
GA4_VALUE = rf'\{{(?:{GA4_NULL},)*"\w+":({AMOUNT})(?:,{GA4_NULL})*\}}'
# The same property in GA4's list; name and amount are captured.
GA4_PAIR = rf'\{{"key":("{NAME}"),"value":{GA4_VALUE}\}}'


def _nested(depth: int) -> str:
    """Pattern of a list or object that holds at most ``depth − 1`` levels itself."""
    inner = rf'[^\[\]{{}}"]|{TEXT}'
    if depth > 1:
        inner += f"|{_nested(depth - 1)}"
    return rf"[\[{{](?:{inner})*[\]}}]"


# A list or object of up to eight levels.
NESTED = _nested(MAX_DEPTH)
# A list or object of more levels, and with it the rest of the row.
TOO_DEEP = r"(?s:[\[{].*)"
# The first alternative that fits is taken. Text and nested values are tokens of their
# own, so that nothing inside them is mistaken for a property.
TOKEN = "|".join([PAIR, f"{TEXT}:{NESTED}", GA4_PAIR, TEXT, NESTED, TOO_DEEP])

NUMBERS_COLUMN = pl.coalesce(
    cs.by_name("numbers", require_all=False), pl.lit([], NUMBERS)
).alias("numbers")
"""The column ``numbers`` of a frame; empty lists if the frame lacks it."""


def numbers(properties: pl.Expr) -> pl.Expr:
    """Numeric properties of each row as a list of name and value, named ``numbers``.

    The list is empty if the text is null or no JSON object or list.

    >>> text = '{"level": 3, "price": "2.50", "id": 7, "near": {"x": 1}}'
    >>> pl.select(numbers(pl.lit(text))).item().to_list()
    [{'name': 'level', 'value': 3.0}, {'name': 'price', 'value': 2.5}]
    """
    token = pl.element()
    pairs = _tokens(properties).list.eval(token.filter(token.str.contains(f"^{PAIR}$")))
    without_quote = token.str.slice(1)
    halves = pairs.list.eval(
        without_quote.str.splitn('":', 2).struct.rename_fields(["name", "value"])
    )
    value = pl.field("value").str.strip_chars('"').cast(pl.Float64)
    named_values = halves.list.eval(token.struct.with_fields(value))
    is_amount = token.struct.field("value").abs() < MAX_VALUE
    is_excluded = token.struct.field("name").str.contains(NOT_AN_AMOUNT)
    kept = named_values.list.eval(token.filter(is_amount & ~is_excluded))
    return kept.alias("numbers")


def _tokens(properties: pl.Expr) -> pl.Expr:
    """Tokens of each row's text, GA4's pairs written like those of an object."""
    may_hold_numbers = properties.str.contains(r"(?s)^\s*[\[{].*\d")
    text = pl.when(may_hold_numbers).then(properties).str.json_path_match("$")
    tokens = text.str.slice(1).str.extract_all(TOKEN).fill_null([])
    return tokens.list.eval(pl.element().str.replace(f"^{GA4_PAIR}$", "${1}:${2}"))


def commonest_numbers(events: pl.LazyFrame) -> pl.DataFrame:
    """The numeric properties worth summing: event, name.

    Of each event name these are the MAX_NAMES commonest, ties decided by name. Without
    this bound, names that differ from row to row would fill the table.
    """
    each = (
        events.select("event", NUMBERS_COLUMN)
        .explode("numbers", empty_as_null=False)
        .unnest("numbers")
    )
    counts = each.group_by("event", "name").len()
    ranked = counts.sort("len", "name", descending=[True, False])
    commonest = ranked.group_by("event", maintain_order=True).head(MAX_NAMES)
    return commonest.select("event", "name").collect(engine="streaming")
