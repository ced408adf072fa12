"""Types of single values in churn.toml, each with the check that it must pass."""

import codecs
import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from churn.settings.endpoints import endpoint

if TYPE_CHECKING:
    from holidays import HolidayBase

# Delta tables below other characters, such as spaces, can't be scanned by polars.
STORE_URL = r"(s3|gs|az)://[A-Za-z0-9._-]+(/[A-Za-z0-9._=-]+)*/?"


class Section(BaseModel):
    """Base of every table of the study file: frozen, unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def known_zone(name: str) -> str:
    """Refuse a name that isn't a time zone of the IANA database."""
    if name not in available_timezones():
        raise ValueError(
            f"{name!r} is no time zone; write one like 'UTC' or 'Europe/Berlin'"
        )
    return name


def known_encoding(name: str) -> str:
    """Refuse a name that Python has no text encoding for."""
    try:
        "".encode(name)
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(
            f"{name!r} is no encoding; write one like 'utf-8' or 'latin-1'"
        ) from None


def known_pattern(pattern: str) -> str:
    """Refuse what polars, which will use it, can't take as a regular expression."""
    import polars as pl

    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
    return pattern


def public_holidays(code: str, years: Collection[int] = ()) -> "HolidayBase":
    """Public holidays of a country such as GB or, with a region, DE-BY.

    Raises NotImplementedError for one whose holidays aren't known.
    """
    # Loaded only for a study that names a country.
    from holidays import country_holidays

    country, _, region = code.partition("-")
    return country_holidays(
        country,
        subdiv=region or None,
        years=years,
    )


def known_country(code: str) -> str:
    """Refuse a country or region whose public holidays aren't known."""
    try:
        public_holidays(code)
    except NotImplementedError as error:
        raise ValueError(
            f"{code!r} is no country whose holidays are known ({error}); write one "
            "like 'GB', or with a region 'DE-BY'"
        ) from None
    return code


def no_credentials(path: str) -> str:
    """Refuse an address with a user name or password; they belong in the environment."""
    if "://" in path and "@" in urlsplit(path).netloc:
        raise ValueError(
            "holds credentials; leave them out and set them in the environment"
        )
    return path


def known_store(address: str) -> str:
    """Refuse a URL that no object store, or not every library, takes as it stands."""
    if "://" not in address:
        return address
    if not re.fullmatch(STORE_URL, no_credentials(address)):
        raise ValueError(
            "must be a folder or an address such as s3://bucket/churn/store (also "
            "gs:// and az://), of letters, digits and - _ . = / only"
        )
    return address.rstrip("/")


def no_password(url: str) -> str:
    """Refuse a database address with a password; it belongs in the environment."""
    parts = urlsplit(url)
    if parts.password or "password" in parts.query.lower():
        raise ValueError(
            "holds a password; leave it out and set CHURN_LEDGER_URL in the environment"
        )
    return url


def known_date_format(form: str) -> str:
    """Refuse a pattern by which a date can't be written and read back."""
    moment = datetime(2026, 2, 13, 21, 5, tzinfo=UTC)
    try:
        written = moment.strftime(form)
        found = datetime.strptime(written, form).replace(tzinfo=UTC)
        is_whole = found.date() == moment.date()
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(
            f"{form!r} doesn't say how year, month and day are written; write a "
            "pattern like '%d/%m/%Y' or '%m/%d/%Y %I:%M %p'"
        )
    return form


def known_separator(character: str) -> str:
    """Refuse what can't stand between the cells of a CSV file."""
    is_one_byte = len(character) == 1 and character.isascii()
    if not is_one_byte or character in '"\r\n':
        raise ValueError(f"{character!r} isn't one character such as ';' or '\\t'")
    return character


Zone = Annotated[str, AfterValidator(known_zone)]
Country = Annotated[
    str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"), AfterValidator(known_country)
]
Encoding = Annotated[str, AfterValidator(known_encoding)]
DateFormat = Annotated[str, AfterValidator(known_date_format)]
Separator = Annotated[str, AfterValidator(known_separator)]
Pattern = Annotated[str, AfterValidator(known_pattern)]
Address = Annotated[str, Field(min_length=1), AfterValidator(no_credentials)]
StoreAddress = Annotated[str, Field(min_length=1), AfterValidator(known_store)]
DatabaseUrl = Annotated[str, AfterValidator(no_password)]
Endpoint = Annotated[str, AfterValidator(endpoint)]
Days = Annotated[int, Field(ge=1, le=3650)]
Share = Annotated[float, Field(ge=0, le=1)]
SegmentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,254}$")]
AttributeName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,254}$")]
