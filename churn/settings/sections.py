"""The tables of churn.toml that have no module of their own."""

from datetime import date, timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from churn.kinds import EVENT_KINDS
from churn.settings.values import (
    Address,
    Country,
    DateFormat,
    Days,
    Encoding,
    Pattern,
    Section,
    Separator,
    Share,
    Zone,
)

MIN_KEEP_DAYS = 90
"""Days for which scores can be read by date, as `churn scores` promises."""

CURRENCY = r"^[A-Z]{3}$"
"""A code of ISO 4217, such as EUR."""


class Csv(Section):
    """How CSV files are written, as far as their own lines don't say it for certain."""

    separator: Separator | None = None
    decimal: Literal[".", ","] | None = None
    date_format: DateFormat | None = None


class Extract(Section):
    """Files received from one analytics tool."""

    source: Literal[
        "adjust",
        "amplitude",
        "appsflyer",
        "branch",
        "currents",
        "ga4",
        "kochava",
        "mixpanel",
        "segment",
        "singular",
        "table",
    ]
    path: Address
    ignore: tuple[str, ...] = ()
    timezone: Zone = "UTC"
    encoding: Encoding = "utf-8"
    csv: Csv = Csv()
    columns: dict[str, str] = Field(default={})
    kinds: dict[str, str] = Field(default={})
    currency: str | None = Field(default=None, pattern=CURRENCY)
    repeats: Literal["replace", "keep"] | None = None
    settling_days: int | None = Field(
        default=None,
        ge=0,
        le=60,
    )
    covered_until: date | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = sorted(set(self.kinds.values()) - set(EVENT_KINDS))
        if unknown:
            raise ValueError(
                f"kinds: {', '.join(unknown)} unknown; "
                f"there are {', '.join(EVENT_KINDS)}"
            )
        return self


class Activity(Section):
    """Which events count as being active, and the one currency of revenue."""

    counts_as_active: tuple[str, ...] = ()
    currency: str = Field(default="USD", pattern=CURRENCY)


class Windows(Section):
    """Lengths in days of the half-open windows around a cutoff."""

    observation_days: Days = 90
    eligible_days: Days = 28
    lead_days: int = Field(
        default=0,
        ge=0,
        le=365,
    )
    horizon_days: Days = 28

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.eligible_days > self.observation_days:
            raise ValueError("eligible_days must not exceed observation_days")
        return self

    def horizon(self, cutoff: date) -> tuple[date, date]:
        """First day of a cutoff's horizon, and the day after its last."""
        start = cutoff + timedelta(days=self.lead_days)
        return start, start + timedelta(days=self.horizon_days)


class Backtest(Section):
    """How many cutoffs are learned from and tested on, and how far apart they lie.

    The default distance is no multiple of 7, so that cutoffs fall on all weekdays.
    """

    step_days: Days = 9
    n_train_cutoffs: int = Field(
        default=24,
        ge=1,
        le=500,
    )
    n_test_cutoffs: int = Field(
        default=4,
        ge=1,
        le=100,
    )
    max_training_rows: int = Field(default=500_000, ge=1000)


class ModelSettings(Section):
    """What a stored model may consist of, and what a new one may lose.

    ``max_auc_loss`` and ``max_log_loss_rise``: by so much a challenger may be worse
    than the champion whose place it takes.
    """

    trusted_types: tuple[str, ...] = ()
    max_auc_loss: Share = 0.01
    max_log_loss_rise: Share = 0.01


class Nightly(Section):
    """What `churn nightly` does beside its stages, and how it reports.

    ``train_every_days`` 0: never by age. ``heartbeat`` null: heartbeat.json in the
    reports folder. ``notify`` is a command
    and its arguments, run without a shell.
    """

    train_every_days: int = Field(
        default=7,
        ge=0,
        le=3650,
    )
    heartbeat: str | None = None
    notify: tuple[str, ...] = ()


class ScoreSettings(Section):
    """How long scores are kept, to compare them with outcomes and for other programs.

    ``keep_days`` 0: for ever.
    """

    keep_days: int = Field(
        default=400,
        ge=0,
        le=36500,
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 0 < self.keep_days < MIN_KEEP_DAYS:
            raise ValueError(
                f"keep_days must be at least {MIN_KEEP_DAYS}, or 0 for ever: other "
                "programs may read the scores of so many days by date"
            )
        return self


class Identity(Section):
    """Which ids make rows one person's."""

    not_a_user: tuple[str, ...] = ()
    never_join: tuple[str, ...] = ()


class Privacy(Section):
    """What happens to rows without consent, and to personal data inside properties."""

    refused_consent: Literal["drop", "keep"] = "drop"
    limited_tracking: Literal["unlink", "keep", "drop"] = "unlink"
    scrub_keys: tuple[str, ...] = ()
    scrub_patterns: tuple[Pattern, ...] = ()


class Gates(Section):
    """Limits that data and scores must keep before anything is sent."""

    max_age_days: int | None = Field(
        default=None,
        ge=0,
        le=3650,
    )
    max_model_age_days: Days = 90
    window_days: Days = 28
    country: Country | None = None
    closed: tuple[tuple[date, date], ...] = ()
    min_day_share: Share = 0.6
    max_day_share: float = Field(default=1.7, ge=1)
    max_unknown_rise: Share = 0.2
    max_clock_shift_hours: int = Field(
        default=3,
        ge=1,
        le=12,
    )
    max_backfill_rate: Share = 0.3
    max_copy_rate: Share = 0.3
    max_other_currency_rate: Share = 0.2
    min_match_rate: Share = 0.5
    max_score_shift: Share = 0.15
    max_calibration_shift: float = Field(default=0.6, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(first > last for first, last in self.closed):
            raise ValueError(
                "closed: the first day of a time must not be after its last"
            )
        return self
