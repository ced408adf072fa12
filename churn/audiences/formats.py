"""How each network wants ids written: headers, normalisation, hashes, least sizes.

Facts are from the networks' help pages: Google Ads answer 7659867, Meta help
2082575038703844, and TikTok's "supported IDs and formats" of August 2025.
"""

import polars as pl

from churn.hashing import sha256
from churn.settings.audiences import DEVICE_IDS_IN_CLEAR, Audience

DEVICE_IDS = ("idfa", "gaid", "idfv")
"""Id types that share one column."""

HEADERS = {
    "google": {"device": "Mobile Device ID", "email": "Email", "phone": "Phone"},
    "meta": {"device": "madid", "email": "email", "phone": "phone"},
    "tiktok": {"device": "MAID", "email": "Email", "phone": "Phone"},
    "csv": {
        "device": "device_id",
        "email": "email",
        "phone": "phone",
        "customer_id": "customer_id",
    },
}
"""Header of each kind of id by format; all device ids are of one kind."""

HASH_MARKS = {"tiktok": "_SHA256", "csv": "_sha256"}
"""End of the header of a column of hashes, for formats that tell it by the header."""

LEAST_PEOPLE = {"meta": 100, "tiktok": 1000}
"""Number of people below which a network advises against a list or refuses it."""

WITH_PLUS = ("google", "csv")
"""Formats in which a telephone number begins with a plus sign."""

ZERO_ID = r"^[0\s-]*$"
EMAIL = r"^[^@\s]+@[^@\s]+$"
TIKTOK_EMAIL = r"^[a-z0-9][^@\s]*@[^@\s]+$"
TAG = r"\+[^@]*@"
"""What follows a plus sign in an e-mail address, which mailboxes ignore."""

PHONE = r"^[1-9]\d{7,14}$"
"""Country code and number as E.164 has them, without the plus sign."""


def header(audience: Audience, id_type: str) -> str:
    """The header of the column that holds ids of a type."""
    kind = "device" if id_type in DEVICE_IDS else id_type
    mark = HASH_MARKS.get(audience.format, "") if is_hashed(audience, id_type) else ""
    return HEADERS[audience.format][kind] + mark


def headers(audience: Audience) -> list[str]:
    """The headers of an audience's columns, each once, in the order of its ids."""
    return list(dict.fromkeys(header(audience, one) for one in audience.ids))


def is_hashed(audience: Audience, id_type: str) -> bool:
    """Whether ids of a type are written as hashes."""
    is_device = id_type in DEVICE_IDS
    is_in_clear = is_device and audience.format in DEVICE_IDS_IN_CLEAR
    return audience.form != "raw" and not is_in_clear


def written(
    audience: Audience,
    id_type: str,
    value: pl.Expr,
) -> pl.Expr:
    """An id as it stands in the audience's file; null if the network can't take it."""
    plain = normalised(audience, id_type, value)
    return sha256(plain) if is_hashed(audience, id_type) else plain


def normalised(
    audience: Audience,
    id_type: str,
    value: pl.Expr,
) -> pl.Expr:
    """An id in the network's normal form, before it is hashed; null if it has none."""
    if id_type == "email":
        return _email(audience, value)
    if id_type == "phone":
        return _phone(audience, value)
    if id_type == "customer_id":
        return value
    # A zeroed id stands for everybody who has forbidden tracking.
    return pl.when(~value.str.contains(ZERO_ID)).then(value.str.to_lowercase())


def _email(audience: Audience, value: pl.Expr) -> pl.Expr:
    lower = value.str.strip_chars().str.to_lowercase()
    if audience.format != "tiktok":
        return pl.when(lower.str.contains(EMAIL)).then(lower)
    untagged = lower.str.replace(TAG, "@")
    return pl.when(untagged.str.contains(TIKTOK_EMAIL)).then(untagged)


def _phone(audience: Audience, value: pl.Expr) -> pl.Expr:
    """Country code and number, with or without a plus sign.

    A number with one zero in front is a national one: it needs ``country_code``.
    """
    stripped = value.str.strip_chars()
    digits = stripped.str.replace_all(r"\D", "")
    country = pl.lit(audience.country_code, pl.String)
    number = (
        pl.when(stripped.str.starts_with("+") | ~digits.str.starts_with("0"))
        .then(digits)
        .when(digits.str.starts_with("00"))
        .then(digits.str.slice(2))
        .otherwise(country + digits.str.strip_chars_start("0"))
    )
    has_plus = audience.format in WITH_PLUS or audience.phone_plus
    complete = pl.lit("+") + number if has_plus else number
    return pl.when(number.str.contains(PHONE)).then(complete)
