"""The tables [[audiences]] of churn.toml: lists of people for advertising networks."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from churn.settings.sections import Identity, Privacy
from churn.settings.segments import Policy, Segment
from churn.settings.values import Section, SegmentName, StoreAddress

IdType = Literal["idfa", "gaid", "idfv", "email", "phone", "customer_id"]
Reason = Annotated[str, Field(pattern=r"^(risky|safe)_[a-z]+$")]
Tenth = Annotated[int, Field(ge=1, le=10)]

ADVERTISING = ("idfa", "gaid")
"""Id types that a person may forbid for tracking."""

NETWORK_IDS = ("idfa", "gaid", "email", "phone")
"""Id types that the advertising networks take."""

DEVICE_IDS_IN_CLEAR = ("google", "meta")
"""Networks that take advertising ids only as they are, never hashed."""


class Audience(Section):
    """People of a rule, in the form in which one network takes them.

    The conditions hold together; one that is left empty asks nothing. ``form`` null:
    hashed wherever the format takes hashes.
    """

    name: SegmentName
    format: Literal["google", "meta", "tiktok", "csv"]
    ids: tuple[IdType, ...] = Field(min_length=1)
    target: StoreAddress
    form: Literal["sha256", "raw"] | None = None
    content: Literal["full", "changes"] = "full"
    segments: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    deciles: tuple[Tenth, ...] = ()
    revenue_tenths: tuple[Tenth, ...] = ()
    platform: Literal["ios", "android", "web"] | None = None
    country_code: str | None = Field(default=None, pattern=r"^[1-9]\d{0,2}$")
    phone_plus: bool = False
    keep_days: int = Field(
        default=30,
        ge=1,
        le=3650,
    )

    @property
    def needs_tracking(self) -> bool:
        """Whether it holds ids that a person may forbid for tracking."""
        return any(id_type in ADVERTISING for id_type in self.ids)

    @model_validator(mode="after")
    def _check(self) -> Self:
        unfit = [one for one in self.ids if one not in NETWORK_IDS]
        if self.format != "csv" and unfit:
            raise ValueError(
                f"{self.format} doesn't take {', '.join(unfit)}; it takes "
                f"{', '.join(NETWORK_IDS)}"
            )
        are_devices = [one in ADVERTISING for one in self.ids]
        if self.format == "google" and len(set(are_devices)) > 1:
            raise ValueError(
                "google takes advertising ids in a list of their own: make two audiences"
            )
        is_in_clear = self.format in DEVICE_IDS_IN_CLEAR and all(are_devices)
        if is_in_clear and self.form == "sha256":
            raise ValueError(
                f'{self.format} takes advertising ids as they are: write form = "raw"'
            )
        if self.phone_plus and self.format != "tiktok":
            raise ValueError("phone_plus is for tiktok only")
        return self


def audience_faults(
    audiences: Sequence[Audience],
    segments: Sequence[Segment],
    policy: Policy,
    identity: Identity,
    privacy: Privacy,
) -> list[str]:
    """Everything in which the audiences don't fit the study, a sentence each."""
    names = [audience.name for audience in audiences]
    faults = []
    if len(set(names)) < len(names):
        faults.append("two share a name")
    known = {*(segment.name for segment in segments), policy.unknown_segment}
    for audience in audiences:
        unknown = sorted(set(audience.segments) - known)
        if unknown:
            faults.append(f"{audience.name}: there is no segment {', '.join(unknown)}")
        unkept = sorted(set(audience.ids) & set(identity.never_join))
        if unkept:
            faults.append(
                f"{audience.name}: identity.never_join keeps {', '.join(unkept)} out "
                "of the event log"
            )
    return faults + _privacy_faults(audiences, privacy)


def _privacy_faults(
    audiences: Sequence[Audience],
    privacy: Privacy,
) -> list[str]:
    """The event log must tell who has refused consent, or limits tracking."""
    faults = []
    if audiences and privacy.refused_consent == "keep":
        faults.append(
            'privacy.refused_consent = "keep" keeps rows of people who may not be '
            'listed, and doesn\'t tell them apart; write "drop"'
        )
    needs_tracking = any(audience.needs_tracking for audience in audiences)
    if needs_tracking and privacy.limited_tracking == "keep":
        faults.append(
            'privacy.limited_tracking = "keep" keeps advertising ids that may not be '
            'listed, and doesn\'t tell them apart; write "unlink"'
        )
    return faults
