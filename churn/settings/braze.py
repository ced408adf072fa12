"""The table [braze] of churn.toml: where segments go, under which names, how fast."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from churn.settings.endpoints import is_on_this_machine
from churn.settings.values import AttributeName, DatabaseUrl, Endpoint, Section, Share

MAX_BATCH = 75
"""Users in a request to /users/track (source: Braze's limit for its endpoint)."""


class Braze(Section):
    """Where segments go, under which names, and how fast.

    ``score_attribute`` null, written as an empty text, sends no score. The other
    attributes are sent only if they are named.
    """

    endpoint: Endpoint = "https://rest.fra-02.braze.eu"
    workspace: str = "default"
    identifier: Literal["external_id", "user_alias", "braze_id", "email", "phone"] = (
        "external_id"
    )
    alias_label: str | None = None
    create_unknown_users: bool = False
    segment_attribute: AttributeName = "churn_segment"
    score_attribute: AttributeName | None = "churn_score"
    score_step: int = Field(
        default=10,
        ge=1,
        le=100,
    )
    lapsed_value: str | None = None
    decile_attribute: AttributeName | None = None
    changed_attribute: AttributeName | None = None
    reason_attribute: AttributeName | None = None
    ledger: DatabaseUrl = "sqlite:///data/store/ledger.db"
    id_lists: str | None = None
    bulk: bool = False
    batch_size: int = Field(
        default=75,
        ge=1,
        le=1000,
    )
    max_body_bytes: int = Field(
        default=1_800_000,
        ge=10_000,
        le=4_000_000,
    )
    requests_per_second: float = Field(
        default=50,
        gt=0,
        le=1000,
    )
    requests_per_hour: int | None = Field(default=None, ge=1)
    leave_rate: float = Field(
        default=0.2,
        ge=0,
        lt=1,
    )
    concurrency: int = Field(
        default=16,
        ge=1,
        le=256,
    )
    timeout_seconds: float = Field(
        default=30,
        gt=0,
        le=300,
    )
    retry_seconds: float = Field(
        default=900,
        gt=0,
        le=86_400,
    )
    quiet_seconds: float = Field(
        default=30,
        ge=0,
        le=3600,
    )
    max_run_minutes: float = Field(default=720, gt=0)
    max_change_rate: Share = 0.5
    max_users: int | None = Field(default=None, ge=1)

    @property
    def is_sandbox(self) -> bool:
        """Whether the endpoint is on this machine, and so cannot be Braze itself."""
        return is_on_this_machine(self.endpoint)

    @property
    def path(self) -> str:
        """Path of the endpoint that is written to."""
        return "/users/track/bulk" if self.bulk else "/users/track"

    @property
    def kind(self) -> str:
        """The kind of identifier under which the ledger files a user.

        An alias counts with its label: the same alias under another label is another
        person.
        """
        return f"user_alias:{self.alias_label}" if self.alias_label else self.identifier

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.identifier == "user_alias") != (self.alias_label is not None):
            raise ValueError(
                'alias_label goes with identifier = "user_alias", and only with it'
            )
        if self.batch_size > MAX_BATCH and not self.bulk:
            raise ValueError(
                f"batch_size is at most {MAX_BATCH}; only the bulk endpoint takes more"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("score_attribute") == "":
            return {**data, "score_attribute": None}
        return data
