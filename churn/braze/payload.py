"""What is written to Braze, as pure functions: attribute objects, batches, bodies, and
what must never be sent.

Attributes are JSON text of one object throughout, such as
``{"churn_segment":"high","churn_score":87}``: so they stand in the ledger, and so they
are sent.
"""

import re
from collections.abc import Iterable, Sequence

import polars as pl

from churn.errors import TerminalBrazeError

MAX_EXTERNAL_ID_BYTES = 987
MAX_ALIAS_BYTES = 236
MAX_TEXT = 255
RESERVED = frozenset(
    "external_id user_alias braze_id _update_existing_only _merge_objects push_token_import alias_name alias_label bio "
    "country current_location date_of_first_session date_of_last_session dob email email_subscribe "
    "email_open_tracking_disabled email_click_tracking_disabled email_subscription_info facebook first_name gender "
    "home_city image_url language last_name marked_email_as_spam_at phone push_subscribe push_tokens "
    "subscription_groups time_zone twitter".split()
)
"""Names in an attributes object that are profile fields or controls, never custom
attributes.
"""

# Braze stores text of these forms as a date, and a segment filter on the text then
# finds nobody.
DATE_LIKE = re.compile(r"^\s*(\d{1,4}[-/]\d|[A-Za-z]{3} [A-Za-z0-9]{2,3} \d)")
SHELL = len('{"attributes":[]}')

Range = tuple[int, int]
"""First and last position of a batch in the plan, both included."""


def check_names(names: Sequence[str]) -> None:
    """Raise TerminalBrazeError for attribute names that Braze takes for something else,
    or that are used twice.
    """
    bad = sorted(
        n for n in names if n in RESERVED or n.startswith(("$", "_", "appboy"))
    )
    if bad:
        raise TerminalBrazeError(
            f"{', '.join(bad)} can't be a custom attribute in Braze; choose another name"
        )
    if len(set(names)) < len(names):
        raise TerminalBrazeError("the names of the attributes must differ")


def check_text(value: str) -> None:
    """Raise TerminalBrazeError for text that Braze would cut or turn into a date."""
    if DATE_LIKE.match(value) or not 0 < len(value) <= MAX_TEXT:
        raise TerminalBrazeError(
            f"{value[:40]!r} can't be a value: 1 to {MAX_TEXT} characters that don't look like a date"
        )


def max_bytes(kind: str) -> int:
    """The longest identifier Braze takes, in bytes; ``kind`` as the ledger names it."""
    return MAX_ALIAS_BYTES if kind.startswith("user_alias:") else MAX_EXTERNAL_ID_BYTES


def is_deliverable(kind: str) -> pl.Expr:
    """Whether Braze can take the column ``identifier``: not empty, not too long, no
    NUL, which no database takes.
    """
    text = pl.col("identifier")
    return text.str.len_bytes().is_between(1, max_bytes(kind)) & ~text.str.contains(
        "\x00", literal=True
    )


def items(writes: pl.DataFrame, kind: str, create_unknown_users: bool) -> pl.Series:
    """Attribute objects as JSON text, one per row of ``writes``: identifier,
    attributes. A null value removes.

    Made a column at a time: one by one they would take longer than all the rest of
    sending.

    >>> writes = pl.DataFrame({"identifier": ["u1"], "attributes": ['{"churn_segment":"high"}']})
    >>> items(writes, "external_id", create_unknown_users=False).to_list()
    ['{"external_id":"u1","_update_existing_only":true,"churn_segment":"high"}']
    >>> items(writes, "user_alias:idfv", create_unknown_users=True).to_list()[0][:62]
    '{"user_alias":{"alias_name":"u1","alias_label":"idfv"},"_updat'
    """
    name, _, label = kind.partition(":")
    field = pl.col("identifier").alias("alias_name" if label else name)
    whose = pl.struct(
        [field, pl.lit(label).alias("alias_label")] if label else field
    ).struct.json_encode()
    if label:
        whose = pl.lit(f'{{"{name}":') + whose + "}"
    flag = f',"_update_existing_only":{"false" if create_unknown_users else "true"},'
    return writes.select(
        item=whose.str.head(-1) + flag + pl.col("attributes").str.slice(1)
    ).to_series()


def body(items: Iterable[str]) -> bytes:
    """A request body of attribute objects."""
    return f'{{"attributes":[{",".join(items)}]}}'.encode()


def batches(sizes: Sequence[int], max_objects: int, max_body_bytes: int) -> list[Range]:
    """Ranges of positions, in order: at most so many objects each, and bodies of at
    most so many bytes.

    ``sizes``: bytes of each object. An object that is too large by itself has a batch
    of its own.

    >>> batches([10, 10, 10, 10, 10], 2, 1000)
    [(0, 1), (2, 3), (4, 4)]
    >>> batches([10, 50, 10], 75, SHELL + 61)
    [(0, 1), (2, 2)]
    """
    ranges: list[Range] = []
    first, total = 0, SHELL
    for position, size in enumerate(sizes):
        if position > first and (
            position - first == max_objects or total + size > max_body_bytes
        ):
            ranges.append((first, position - 1))
            first, total = position, SHELL
        total += size + 1
    return [*ranges, (first, len(sizes) - 1)] if sizes else []


def split(part: Range, n_parts: int) -> list[Range]:
    """A range cut into that many nearly equal ones, or into single positions where it
    is shorter.

    >>> split((0, 4), 2)
    [(0, 2), (3, 4)]
    """
    first, last = part
    step = max(1, -(-(last - first + 1) // n_parts))
    return [
        (start, min(start + step - 1, last)) for start in range(first, last + 1, step)
    ]
