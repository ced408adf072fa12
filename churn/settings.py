"""churn.toml, checked and frozen: what churn means for this product."""

import codecs
import difflib
import itertools
import os
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from churn.errors import StudyError
from churn.kinds import EVENT_KINDS


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(
            f"{name!r} is no time zone; write one like 'UTC' or 'Europe/Berlin'"
        )
    return name


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(
            f"{name!r} is no encoding; write one like 'utf-8' or 'latin-1'"
        ) from None


def _known_pattern(pattern: str) -> str:
    import polars as pl  # here, since few studies have patterns

    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
    return pattern


def _no_credentials(path: str) -> str:
    if "://" in path and "@" in urlsplit(path).netloc:
        raise ValueError(
            "holds credentials; leave them out and set them in the environment"
        )
    return path


def _no_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password or "password" in parts.query.lower():
        raise ValueError(
            "holds a password; leave it out and set CHURN_LEDGER_URL in the environment"
        )
    return url


def _endpoint(url: str) -> str:
    parts = urlsplit(url)
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise ValueError(
            f"{url!r} must be an https address such as https://rest.fra-02.braze.eu (http only on loopback)"
        )
    if parts.path.strip("/"):
        raise ValueError(
            f"{url!r} must end after the host name; the path is ours to add"
        )
    return url.rstrip("/")


TRUTH = "truth.parquet"
"""File of true churn probabilities that a simulation writes beside its study."""

Zone = Annotated[str, AfterValidator(_known_zone)]
Days = Annotated[int, Field(ge=1, le=3650)]
SegmentName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,254}$")]
AttributeName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,254}$")]


class Part(BaseModel):
    """Base of every table of the study: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Extract(Part):
    """Files received from one analytics tool."""

    source: Literal[
        "adjust", "amplitude", "appsflyer", "branch", "currents", "ga4", "table"
    ]
    path: Annotated[
        str, Field(min_length=1), AfterValidator(_no_credentials)
    ]  # file, folder, glob, or an s3://, gs:// or az:// address
    timezone: Zone = "UTC"  # of times written without a zone
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    columns: dict[
        str, str
    ] = {}  # ours = theirs, where a file's own names differ from the usual ones
    kinds: dict[str, str] = {}  # event name = kind, for names the reader can't know
    settling_days: int | None = Field(
        default=None, ge=0, le=60
    )  # null: the source's usual one
    covered_until: date | None = None  # last complete day, where the data can't tell

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = sorted(set(self.kinds.values()) - set(EVENT_KINDS))
        if unknown:
            raise ValueError(
                f"kinds: {', '.join(unknown)} unknown; there are {', '.join(EVENT_KINDS)}"
            )
        return self


class Activity(Part):
    """Which events count as being active, and the one currency that revenue is summed
    in.
    """

    counts_as_active: tuple[
        str, ...
    ] = ()  # event names or kind:<kind>; empty: all a person caused
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")


class Windows(Part):
    """All in days, all half-open, all counted from the cutoff."""

    observation_days: Days = 90
    eligible_days: Days = 28
    lead_days: int = Field(default=0, ge=0, le=365)
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


class Backtest(Part):
    """How many cutoffs are trained and tested on, and how far apart they lie."""

    step_days: Days = 7
    n_train_cutoffs: int = Field(default=24, ge=1, le=500)
    n_test_cutoffs: int = Field(default=4, ge=1, le=100)
    max_training_rows: int = Field(
        default=500_000, ge=1000
    )  # beyond, a share of the users is learned from


class Segment(Part):
    """A named risk band, from a probability up or a share of the judged users; it ends
    where the one before begins.
    """

    name: SegmentName
    from_probability: float | None = Field(default=None, ge=0, le=1)
    share: float | None = Field(
        default=None, gt=0, le=1
    )  # of the judged users, riskiest first; the last: the rest
    capacity: int | None = Field(
        default=None, ge=1
    )  # most users it may hold; who doesn't fit goes to the next one


class Policy(Part):
    """Who is judged, and how far a user's rank must move before the segment follows."""

    band: float = Field(
        default=0.8, ge=0, le=1
    )  # share of the smaller side of a boundary, by rank; 0: a plain cut
    min_tenure_days: int = Field(
        default=0, ge=0, le=3650
    )  # users seen for fewer days are not judged; 0: all are
    unknown_segment: SegmentName = "unknown"  # where those are


def _segment_faults(segments: tuple[Segment, ...], policy: Policy) -> list[str]:
    names = [s.name for s in segments]
    starts = [s.from_probability for s in segments if s.from_probability is not None]
    shares = [s.share for s in segments if s.share is not None]
    by_rank, total = bool(shares) and not starts, sum(shares)
    falling = (
        len(starts) == len(segments)
        and starts[-1:] == [0]
        and all(a > b for a, b in itertools.pairwise(starts))
    )
    faults = {
        "cut all by from_probability or all by share": bool(starts and shares),
        "list them highest first, each starting lower, the last at 0.0": not shares
        and not falling,
        "each but the last needs a share": by_rank
        and any(s.share is None for s in segments[:-1]),
        f"the shares add up to {total:g}, not 1 (the last may be left out)": by_rank
        and (total > 1 + 1e-9 or (segments[-1].share is not None and total < 1 - 1e-9)),
        "the last one takes whoever is left and can't have a capacity": any(
            s.capacity for s in segments[-1:]
        ),
        "two share a name": len(set(names)) < len(names),
        f"one has the name of policy.unknown_segment, {policy.unknown_segment!r}": policy.unknown_segment
        in names,
    }
    return [sentence for sentence, is_wrong in faults.items() if is_wrong]


class Gates(Part):
    """Limits that data and scores must keep before anything is sent."""

    window_days: Days = 28  # how far back the days are judged
    min_day_share: float = Field(
        default=0.6, ge=0, le=1
    )  # of the events usual for that weekday
    max_day_share: float = Field(default=1.7, ge=1)
    max_unknown_rise: float = Field(
        default=0.2, ge=0, le=1
    )  # of the share of events without a user
    max_clock_shift_hours: int = Field(
        default=3, ge=1, le=12
    )  # from which a day's hours are moved too far
    max_backfill_rate: float = Field(
        default=0.3, ge=0, le=1
    )  # of a day's receipts that are over seven days old
    max_copy_rate: float = Field(
        default=0.3, ge=0, le=1
    )  # of an ingest's rows that are copies within it
    max_other_currency_rate: float = Field(
        default=0.2, ge=0, le=1
    )  # of the window's amounts
    min_match_rate: float = Field(
        default=0.5, ge=0, le=1
    )  # of scored users that have an identifier Braze knows
    max_score_shift: float = Field(
        default=0.15, ge=0, le=1
    )  # mean probability against the churn rate in training
    max_calibration_shift: float = Field(
        default=0.6, ge=0
    )  # log-odds; 0.6 is at most 15 points of probability


class Identity(Part):
    """Which ids make rows one person's."""

    not_a_user: tuple[str, ...] = ()  # user ids that stand for nobody, such as "guest"
    never_join: tuple[str, ...] = ()  # id types not to join by, such as "idfa"


class Privacy(Part):
    """What is done with rows of people who said no, and with personal data inside
    properties.
    """

    refused_consent: Literal["drop", "keep"] = (
        "drop"  # rows whose analytics consent was refused
    )
    limited_tracking: Literal["unlink", "keep", "drop"] = (
        "unlink"  # unlink: advertising ids join nothing
    )
    scrub_keys: tuple[
        str, ...
    ] = ()  # property names whose values are removed, beside the usual ones
    scrub_patterns: tuple[
        Annotated[str, AfterValidator(_known_pattern)], ...
    ] = ()  # and what else is removed


class Braze(Part):
    """Where segments go and under which names."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] = "https://rest.fra-02.braze.eu"
    workspace: str = "default"  # our label; the ledger is kept apart by it
    identifier: Literal["external_id", "user_alias", "braze_id", "email", "phone"] = (
        "external_id"
    )
    alias_label: str | None = None  # of user_alias: an id type, such as "appsflyer_id"
    create_unknown_users: bool = False
    segment_attribute: AttributeName = "churn_segment"
    score_attribute: AttributeName | None = (
        "churn_score"  # null in code only; "" in the file switches it off
    )
    score_step: int = Field(
        default=10, ge=1, le=100
    )  # a score alone is sent once it moved this far
    lapsed_value: str | None = (
        None  # told once to users no longer scored; null removes the attributes
    )
    changed_attribute: AttributeName | None = None  # date of the last change of segment
    reason_attribute: AttributeName | None = (
        None  # the first reason; never sent by itself
    )
    ledger: Annotated[str, AfterValidator(_no_password)] = (
        "sqlite:///data/store/ledger.db"
    )
    id_lists: str | None = (
        None  # folder of one CSV of identifiers per segment, written with every export
    )
    bulk: bool = False  # /users/track/bulk, for contracts that have it
    batch_size: int = Field(default=75, ge=1, le=1000)
    max_body_bytes: int = Field(default=1_800_000, ge=10_000, le=4_000_000)
    requests_per_second: float = Field(default=50, gt=0, le=1000)
    requests_per_hour: int | None = Field(default=None, ge=1)
    leave_rate: float = Field(
        default=0.2, ge=0, lt=1
    )  # share of the server's own limit left to other senders
    concurrency: int = Field(default=16, ge=1, le=256)
    timeout_seconds: float = Field(
        default=30, gt=0, le=300
    )  # until an answer counts as lost
    retry_seconds: float = Field(
        default=900, gt=0, le=86_400
    )  # until a batch that fails stops the run
    quiet_seconds: float = Field(
        default=30, ge=0, le=3600
    )  # after lost requests, before another run sends
    max_run_minutes: float = Field(default=720, gt=0)
    max_change_rate: float = Field(
        default=0.5, ge=0, le=1
    )  # of users told, whose segment one run may change
    max_users: int | None = Field(default=None, ge=1)  # that one run may write

    @property
    def path(self) -> str:
        """Of the endpoint that is written to."""
        return "/users/track/bulk" if self.bulk else "/users/track"

    @property
    def kind(self) -> str:
        """What the ledger files identifiers under: aliases of another label are other
        people.
        """
        return f"user_alias:{self.alias_label}" if self.alias_label else self.identifier

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.identifier == "user_alias") != (self.alias_label is not None):
            raise ValueError(
                'alias_label goes with identifier = "user_alias", and only with it'
            )
        if self.batch_size > 75 and not self.bulk:
            raise ValueError(
                "batch_size is at most 75; only the bulk endpoint takes more"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("score_attribute") == "":
            return {**data, "score_attribute": None}
        return data


class Settings(Part):
    """What one study file says. Everything but ``extracts`` has a default."""

    timezone: Zone = "UTC"
    store: str = "data/store"
    reports: str = "reports"
    random_state: int = Field(default=0, ge=0)
    extracts: tuple[Extract, ...] = Field(min_length=1)
    activity: Activity = Activity()
    windows: Windows = Windows()
    backtest: Backtest = Backtest()
    segments: tuple[Segment, ...] = (
        Segment(name="high", from_probability=0.6),
        Segment(name="medium", from_probability=0.3),
        Segment(name="low", from_probability=0.0),
    )
    policy: Policy = Policy()
    identity: Identity = Identity()
    privacy: Privacy = Privacy()
    gates: Gates = Gates()
    braze: Braze = Braze()
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if faults := _segment_faults(self.segments, self.policy):
            raise ValueError(f"segments: {'; '.join(faults)}")
        return self

    @property
    def folder(self) -> Path:
        """The study file's folder; every relative path in the study starts there."""
        return self._folder

    @property
    def is_simulated(self) -> bool:
        """Whether the study's users are invented: their true probabilities lie beside."""
        return (self._folder / TRUTH).is_file()

    def path(self, relative: str) -> Path:
        """An absolute path for one written in the study."""
        return (self._folder / relative).resolve()

    @property
    def sources(self) -> tuple[str, ...]:
        """The extracts' sources in the study's order, each once: where two report the
        same, the first one counts.
        """
        return tuple(dict.fromkeys(extract.source for extract in self.extracts))

    @property
    def store_path(self) -> Path:
        """Folder of event log, activity, models and scores."""
        return self.path(self.store)

    @property
    def reports_path(self) -> Path:
        """Folder that holds one run folder per notebook execution."""
        return self.path(self.reports)

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy address of the ledger; CHURN_LEDGER_URL in the environment
        wins.
        """
        url = os.environ.get("CHURN_LEDGER_URL") or self.braze.ledger
        prefix = "sqlite:///"
        return (
            f"{prefix}{self.path(url.removeprefix(prefix))}"
            if url.startswith(prefix)
            else url
        )


def load(path: str | Path | None = None) -> Settings:
    """Read and check a study file.

    ``path`` null: CHURN_STUDY from the environment, else the first churn.toml from the
    working folder upward. Raises StudyError naming every fault at once, each with its
    path in the file.
    """
    file = find(path)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyError(f"{file} can't be read: {error}") from error
    return parse(data, file.parent, file.name)


def find(path: str | Path | None = None) -> Path:
    """The study file meant: ``path``, else CHURN_STUDY, else the nearest churn.toml."""
    if wanted := path or os.environ.get("CHURN_STUDY"):
        file = Path(wanted).expanduser().resolve()
        if not file.is_file():
            raise StudyError(
                f"there is no study file {file}; give one with --study PATH"
            )
        return file
    files = candidates()
    if not files:
        raise StudyError(
            f"no churn.toml in {Path.cwd()} or above; give one with --study PATH"
        )
    return files[0]


def candidates() -> list[Path]:
    """Every churn.toml from the working folder upward, then the package's own."""
    package_home = Path(__file__).resolve().parents[1]
    folders = [Path.cwd(), *Path.cwd().parents, package_home]
    files = (folder / "churn.toml" for folder in folders)
    return list(dict.fromkeys(file for file in files if file.is_file()))


def parse(data: dict[str, Any], folder: Path, name: str = "churn.toml") -> Settings:
    """Settings from parsed TOML; ``folder`` is where its relative paths start."""
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        faults = [_fault(dict(e)) for e in error.errors(include_url=False)]
        if (
            len(faults) > 1
        ):  # an extract that failed is also missing from the list; say it once
            faults = [
                f for f in faults if not f.startswith("extracts: Tuple should have")
            ]
        listed = "\n".join(f"  {f}" for f in faults)
        raise StudyError(f"{name} has {len(faults)} fault(s):\n{listed}") from None
    settings._folder = folder.resolve()
    return settings


def _fault(error: dict[str, Any]) -> str:
    where = ".".join(str(p) for p in error["loc"]) or "study"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key{_did_you_mean(error['loc'])}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"


def _did_you_mean(loc: tuple[Any, ...]) -> str:
    fields: dict[str, Any] = dict(Settings.model_fields)
    for step in loc[:-1]:
        if isinstance(step, str) and step in fields:
            fields = dict(_part_of(fields[step].annotation).model_fields)
    close = difflib.get_close_matches(str(loc[-1]), fields, n=1)
    return (
        f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(fields)}"
    )


def _part_of(annotation: Any) -> type[BaseModel]:
    inner = getattr(annotation, "__args__", (annotation,))[0]
    return (
        inner if isinstance(inner, type) and issubclass(inner, BaseModel) else Settings
    )
