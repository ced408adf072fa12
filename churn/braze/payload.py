"""What is written to Braze: attribute objects, batches, request bodies.

Attributes are JSON text of one object everywhere in this package, such as
``{"churn_segment":"high","churn_score":87}``: the ledger stores them so, and requests
carry them so.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import polars as pl

from churn.errors import TerminalBrazeError
from churn.settings import Braze

MAX_EXTERNAL_ID_BYTES = 987
MAX_ALIAS_BYTES = 236
MAX_TEXT = 255
RESERVED = frozenset(
    "external_id user_alias braze_id _update_existing_only _merge_objects "
    "push_token_import alias_name alias_label bio country current_location "
    "date_of_first_session date_of_last_session dob email email_subscribe "
    "email_open_tracking_disabled email_click_tracking_disabled "
    "email_subscription_info facebook first_name gender home_city image_url language "
    "last_name marked_email_as_spam_at phone push_subscribe push_tokens "
    "subscription_groups time_zone twitter".split()
)
"""Names in an attributes object that are profile fields or controls."""

DATE_LIKE = re.compile(r"^\s*(\d{1,4}[-/]\d|[A-Za-z]{3} [A-Za-z0-9]{2,3} \d)")
"""Text that Braze stores as a date, which no filter on text then matches."""

EMPTY_BODY_BYTES = len('{"attributes":[]}')

Range = tuple[int, int]
"""First and last position of a batch in the plan, both included."""


@dataclass(frozen=True)
class Batches:
    """A plan cut into requests: an object per position, a range per request."""

    items: pl.Series
    ranges: list[Range]
    max_body_bytes: int

    @classmethod
    def of(
        cls,
        changes: pl.DataFrame,
        braze: Braze,
    ) -> Self:
        """Cut changes (identifier, attributes) by the study's batch and body sizes."""
        objects = items(changes, braze.kind, braze.create_unknown_users)
        sizes = objects.str.len_bytes().to_list()
        ranges = batches(sizes, braze.batch_size, braze.max_body_bytes)
        return cls(objects, ranges, braze.max_body_bytes)

    def cut(self, first: int, max_objects: int) -> list[Range]:
        """The ranges from this position on, with at most so many objects each."""
        sizes = self.items.slice(first).str.len_bytes().to_list()
        ranges = batches(sizes, max_objects, self.max_body_bytes)
        return [(first + start, first + end) for start, end in ranges]

    def body(self, part: Range) -> bytes:
        """The request body of these positions."""
        first, last = part
        return body(self.items.slice(first, last - first + 1).to_list())


def check_names(names: Sequence[str]) -> None:
    """Raise TerminalBrazeError for names that can't be custom attributes or repeat."""
    reserved_prefixes = ("$", "_", "appboy")
    bad = sorted(n for n in names if n in RESERVED or n.startswith(reserved_prefixes))
    if bad:
        raise TerminalBrazeError(
            f"{', '.join(bad)} can't be a custom attribute in Braze; "
            "choose another name"
        )
    if len(set(names)) < len(names):
        raise TerminalBrazeError("the names of the attributes must differ")


def check_text(value: str) -> None:
    """Raise TerminalBrazeError for text that Braze would cut or turn into a date."""
    if DATE_LIKE.match(value) or not 0 < len(value) <= MAX_TEXT:
        raise TerminalBrazeError(
            f"{value[:40]!r} can't be a value: it must have 1 to {MAX_TEXT} characters "
            "and not look like a date"
        )


def max_bytes(kind: str) -> int:
    """The longest identifier Braze takes; ``kind`` as in ``Braze.kind``."""
    return MAX_ALIAS_BYTES if kind.startswith("user_alias:") else MAX_EXTERNAL_ID_BYTES


def is_deliverable(kind: str) -> pl.Expr:
    """Whether Braze can take the column ``identifier``.

    It is neither empty nor too long and has no NUL, which no database takes. Null
    where the identifier is null.
    """
    identifier = pl.col("identifier")
    has_valid_length = identifier.str.len_bytes().is_between(1, max_bytes(kind))
    return has_valid_length & ~identifier.str.contains("\x00", literal=True)


def items(
    writes: pl.DataFrame,
    kind: str,
    create_unknown_users: bool,
) -> pl.Series:
    """Attribute objects as JSON text, one per row of identifier and attributes.

    Made a column at a time: row by row would take longer than the rest of sending.

    >>> high = ['{"churn_segment":"high"}']
    >>> writes = pl.DataFrame({"identifier": ["u1"], "attributes": high})
    >>> items(writes, "external_id", create_unknown_users=False).to_list()
    ['{"external_id":"u1","_update_existing_only":true,"churn_segment":"high"}']
    >>> items(writes, "user_alias:idfv", create_unknown_users=True).to_list()[0][:62]
    '{"user_alias":{"alias_name":"u1","alias_label":"idfv"},"_updat'
    """
    name, _, label = kind.partition(":")
    identifier = pl.col("identifier")
    if label:
        alias = pl.struct(
            identifier.alias("alias_name"), pl.lit(label).alias("alias_label")
        )
        user = pl.lit(f'{{"{name}":') + alias.struct.json_encode() + "}"
    else:
        user = pl.struct(identifier.alias(name)).struct.json_encode()
    update_only = "false" if create_unknown_users else "true"
    flag = f',"_update_existing_only":{update_only},'
    attributes = pl.col("attributes").str.slice(1)
    return writes.select(item=user.str.head(-1) + flag + attributes).to_series()


def body(items: Iterable[str]) -> bytes:
    """A request body of attribute objects."""
    return f'{{"attributes":[{",".join(items)}]}}'.encode()


def batches(
    sizes: Sequence[int],
    max_objects: int,
    max_body_bytes: int,
) -> list[Range]:
    """Ranges of positions, in order, within both limits per request.

    ``sizes``: bytes of each object. An object that is too large alone has a batch of
    its own.

    >>> batches([10, 10, 10, 10, 10], 2, 1000)
    [(0, 1), (2, 3), (4, 4)]
    >>> batches([10, 50, 10], 75, EMPTY_BODY_BYTES + 61)
    [(0, 1), (2, 2)]
    """
    ranges: list[Range] = []
    first = 0
    total = EMPTY_BODY_BYTES
    for position, size in enumerate(sizes):
        is_full = position - first == max_objects or total + size > max_body_bytes
        if position > first and is_full:
            ranges.append((first, position - 1))
            first = position
            total = EMPTY_BODY_BYTES
        total += size + 1
    if sizes:
        ranges.append((first, len(sizes) - 1))
    return ranges


def pieces(part: Range, size: int) -> list[Range]:
    """Cut a range into ranges of ``size`` positions; the last may have fewer.

    >>> pieces((0, 4), 2)
    [(0, 1), (2, 3), (4, 4)]
    """
    first, last = part
    starts = range(first, last + 1, size)
    return [(start, min(start + size - 1, last)) for start in starts]
