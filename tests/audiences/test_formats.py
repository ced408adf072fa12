"""Headers, normalisation and hashes, as each network's help pages state them."""

import polars as pl
import pytest
from pydantic import ValidationError

from churn.audiences import formats
from churn.settings import Audience

EMAIL = " Ann.B+Shop@Example.org "
PHONE = "+49 170 1234-5678"
GAID = "2E32AB6C-C3F2-42FF-AA13-1181941F1EA2"

# Made with sha256sum of the text in the comment.
TAGGED_HASH = "9da5e2bb746fdd088ab648888ea3e8d1459b7f58f9ee668a8cce69dfa911dd89"  # ann.b+shop@example.org
UNTAGGED_HASH = "f7126638fdd28a7b9e60fe2314c7ded6a5742a1387ef167646fe0c86223c0793"  # ann.b@example.org
PLUS_HASH = (
    "94d43b5d533d91e64bd28f423742bee91f3a65fdf325c59f17d6c28bfd106281"  # +4917012345678
)
DIGITS_HASH = (
    "35bd2a230cb12c187373b918e6c55cb0741914e31ff61f35b1d53885a1444fed"  # 4917012345678
)
GAID_HASH = "14bea1efc59c55a56a1c9550c86bb1145d5321518a047f9872821f928404044f"  # 2e32ab6c-c3f2-42ff-aa13-1181941f1ea2
CUSTOMER_HASH = (
    "d79dd34751a8f3594e8a6f2396498414bd46f117c32ea292b865bcf210bd1254"  # Cust-7
)


def audience(network: str, *ids: str, **more: object) -> Audience:
    """An audience of the study, with a name and a target."""
    settings = {"name": "a", "format": network, "ids": ids, "target": "out", **more}
    return Audience.model_validate(settings)


def one(network: str, id_type: str, value: str, **more: object) -> tuple[str, str]:
    """Header and content of a single id's cell."""
    chosen = audience(network, id_type, **more)
    cell = pl.select(formats.written(chosen, id_type, pl.lit(value))).item()
    return formats.header(chosen, id_type), cell


@pytest.mark.parametrize(
    ("network", "id_type", "value", "header", "cell"),
    [
        ("google", "email", EMAIL, "Email", TAGGED_HASH),
        ("google", "phone", PHONE, "Phone", PLUS_HASH),
        ("meta", "email", EMAIL, "email", TAGGED_HASH),
        ("meta", "phone", PHONE, "phone", DIGITS_HASH),
        ("tiktok", "email", EMAIL, "Email_SHA256", UNTAGGED_HASH),
        ("tiktok", "phone", PHONE, "Phone_SHA256", DIGITS_HASH),
        ("tiktok", "gaid", GAID, "MAID_SHA256", GAID_HASH),
        ("csv", "idfv", GAID, "device_id_sha256", GAID_HASH),
        ("csv", "email", EMAIL, "email_sha256", TAGGED_HASH),
        ("csv", "phone", PHONE, "phone_sha256", PLUS_HASH),
        ("csv", "customer_id", "Cust-7", "customer_id_sha256", CUSTOMER_HASH),
    ],
)
def test_ids_are_hashed_in_the_networks_normal_form(
    network: str, id_type: str, value: str, header: str, cell: str
) -> None:
    """The hash is that of sha256sum; TikTok drops the tag of an address, and Meta and
    TikTok the plus sign of a telephone number.
    """
    assert one(network, id_type, value) == (header, cell)


@pytest.mark.parametrize(
    ("network", "id_type", "value", "header", "cell"),
    [
        ("google", "email", EMAIL, "Email", "ann.b+shop@example.org"),
        ("google", "phone", PHONE, "Phone", "+4917012345678"),
        ("google", "gaid", GAID, "Mobile Device ID", GAID.lower()),
        ("meta", "email", EMAIL, "email", "ann.b+shop@example.org"),
        ("meta", "phone", PHONE, "phone", "4917012345678"),
        ("meta", "idfa", GAID, "madid", GAID.lower()),
        ("tiktok", "email", EMAIL, "Email", "ann.b@example.org"),
        ("tiktok", "phone", PHONE, "Phone", "4917012345678"),
        ("tiktok", "idfa", GAID, "MAID", GAID.lower()),
        ("csv", "idfv", GAID, "device_id", GAID.lower()),
        ("csv", "customer_id", "Cust-7", "customer_id", "Cust-7"),
    ],
)
def test_raw_ids_are_in_normal_form_too(
    network: str, id_type: str, value: str, header: str, cell: str
) -> None:
    """A raw file has the same normal form, under the header for ids in clear."""
    assert one(network, id_type, value, form="raw") == (header, cell)


def test_google_and_meta_take_advertising_ids_only_as_they_are() -> None:
    """By default e-mail is hashed and the advertising id beside it is not; a form that
    would have no effect is refused.
    """
    both = audience("meta", "email", "gaid")
    assert formats.headers(both) == ["email", "madid"]
    assert not formats.is_hashed(both, "gaid")
    assert formats.is_hashed(both, "email")
    with pytest.raises(ValidationError, match="takes advertising ids as they are"):
        audience("google", "idfa", form="sha256")


def test_tiktoks_older_form_of_telephone_numbers_has_a_plus() -> None:
    """One of TikTok's pages asks for it, so a study can; no other format has the key."""
    header, cell = one("tiktok", "phone", PHONE, phone_plus=True)
    assert (header, cell) == ("Phone_SHA256", PLUS_HASH)
    with pytest.raises(ValidationError, match="tiktok only"):
        audience("meta", "phone", phone_plus=True)


@pytest.mark.parametrize(
    ("value", "country_code", "cell"),
    [
        ("004917012345678", None, "+4917012345678"),
        ("4917012345678", None, "+4917012345678"),
        ("017012345678", "49", "+4917012345678"),
        ("017012345678", None, None),
        ("+0170123456", None, None),
        ("+4917", None, None),
        ("+49170123456789012", None, None),
    ],
)
def test_a_telephone_number_has_a_country_code_or_is_left_out(
    value: str, country_code: str | None, cell: str | None
) -> None:
    """Two zeros stand for the plus sign, one for the country code that the study names;
    what is no number of E.164 is left out.
    """
    found = one("google", "phone", value, form="raw", country_code=country_code)
    assert found == ("Phone", cell)


@pytest.mark.parametrize(
    ("network", "id_type", "value"),
    [
        ("google", "email", "nobody"),
        ("meta", "email", "two words@example.org"),
        ("tiktok", "email", "_ann@example.org"),
        ("meta", "idfa", "00000000-0000-0000-0000-000000000000"),
        ("tiktok", "gaid", "00000000-0000-0000-0000-000000000000"),
        ("csv", "idfv", ""),
    ],
)
def test_what_names_nobody_is_left_out(network: str, id_type: str, value: str) -> None:
    """Text without an address, an address that TikTok refuses, and zeroed ids."""
    assert one(network, id_type, value)[1] is None


def test_networks_do_not_take_every_type_of_id() -> None:
    """Only a CSV file holds vendor and customer ids, and Google wants advertising ids
    apart.
    """
    with pytest.raises(ValidationError, match="meta doesn't take idfv, customer_id"):
        audience("meta", "idfv", "email", "customer_id")
    with pytest.raises(ValidationError, match="make two audiences"):
        audience("google", "idfa", "email")
    csv = audience("csv", "idfa", "idfv", "gaid", "customer_id", form="raw")
    assert formats.headers(csv) == ["device_id", "customer_id"]
