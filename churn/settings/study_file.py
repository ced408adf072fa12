"""The study file as a whole: found, read and checked."""

import difflib
import os
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from churn.errors import StudyError
from churn.settings.audiences import Audience, audience_faults
from churn.settings.braze import Braze
from churn.settings.cluster import Cluster
from churn.settings.receive import Receive
from churn.settings.sections import (
    Activity,
    Backtest,
    Extract,
    Gates,
    Identity,
    ModelSettings,
    Nightly,
    Privacy,
    ScoreSettings,
    Windows,
)
from churn.settings.segments import Policy, Segment, segment_faults
from churn.settings.values import Section, StoreAddress, Zone

TRUTH = "truth.parquet"
"""File of true churn probabilities that a simulation writes beside its study."""

DEMO = Path("data/demo/churn.toml")
"""Where `churn demo` writes its study, from the folder in which it was started."""


class Settings(Section):
    """What one study file says. Everything but ``extracts`` has a default."""

    timezone: Zone = "UTC"
    store: StoreAddress = "data/store"
    store_buckets: int | None = Field(default=None, ge=32, le=16_384)
    reports: str = "reports"
    keep_reports_days: int | None = Field(default=None, ge=1)
    random_state: int = Field(default=0, ge=0)
    now: date | None = None
    extracts: tuple[Extract, ...] = Field(min_length=1)
    activity: Activity = Activity()
    windows: Windows = Windows()
    backtest: Backtest = Backtest()
    model: ModelSettings = ModelSettings()
    segments: tuple[Segment, ...] = (
        Segment(name="high", from_probability=0.6),
        Segment(name="medium", from_probability=0.3),
        Segment(name="low", from_probability=0.0),
    )
    policy: Policy = Policy()
    identity: Identity = Identity()
    privacy: Privacy = Privacy()
    gates: Gates = Gates()
    nightly: Nightly = Nightly()
    scores: ScoreSettings = ScoreSettings()
    braze: Braze = Braze()
    receive: Receive = Receive()
    audiences: tuple[Audience, ...] = ()
    cluster: Cluster = Cluster()
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @field_validator("store_buckets")
    @classmethod
    def _check_buckets(cls, number: int | None) -> int | None:
        if number is not None and number.bit_count() != 1:
            raise ValueError("must be a power of two, such as 64 or 128")
        return number

    @model_validator(mode="after")
    def _check(self) -> Self:
        if faults := segment_faults(self.segments, self.policy):
            raise ValueError(f"segments: {'; '.join(faults)}")
        faults = audience_faults(
            self.audiences,
            self.segments,
            self.policy,
            self.identity,
            self.privacy,
        )
        if faults:
            raise ValueError(f"audiences: {'; '.join(faults)}")
        return self

    @property
    def addresses(self) -> list[str]:
        """Id types that are personal addresses and that the study asks for, sorted.

        The event log holds no other e-mail addresses and telephone numbers.
        """
        asked: set[str] = {self.braze.identifier}
        for audience in self.audiences:
            asked.update(audience.ids)
        return sorted(asked & {"email", "phone"})

    @property
    def folder(self) -> Path:
        """The study file's folder; every relative path in the study starts there."""
        return self._folder

    @property
    def is_simulated(self) -> bool:
        """Whether the study's users are invented: their true probabilities lie beside."""
        return (self._folder / TRUTH).is_file()

    def refuse_invented_users(self) -> None:
        """Raise StudyError if invented users would be sent to more than a sandbox."""
        if self.is_simulated and not self.braze.is_sandbox:
            raise StudyError(
                f"the study in {self._folder} holds invented users, which are sent to "
                f"a sandbox only; its endpoint is {self.braze.endpoint}: start "
                "`churn sandbox` and use its address"
            )

    def path(self, relative: str) -> Path:
        """An absolute path for one written in the study."""
        return (self._folder / relative).resolve()

    def address(self, written: str) -> str:
        """A URL as it stands in the study, or the absolute path of a relative one."""
        return written if "://" in written else str(self.path(written))

    @property
    def sources(self) -> tuple[str, ...]:
        """The extracts' sources in the study's order, each once.

        Where two of them report the same event, that of the first one counts.
        """
        return tuple(dict.fromkeys(extract.source for extract in self.extracts))

    @property
    def store_address(self) -> str:
        """Where event log, activity, models and scores are: absolute path or URL."""
        return self.address(self.store)

    @property
    def store_path(self) -> Path:
        """Folder of the store. Raises StudyError if it is in an object store."""
        if "://" in self.store:
            raise StudyError(f"store: {self.store} isn't a folder on this machine")
        return self.path(self.store)

    @property
    def reports_path(self) -> Path:
        """Folder that holds one run folder per notebook execution."""
        return self.path(self.reports)

    @property
    def heartbeat_path(self) -> Path:
        """File that says how far the newest night has come."""
        named = self.nightly.heartbeat
        return self.path(named) if named else self.reports_path / "heartbeat.json"

    @property
    def spool_path(self) -> Path:
        """Folder of received postbacks that are not published yet."""
        return self.path(self.receive.spool)

    @property
    def ledger_url(self) -> str:
        """SQLAlchemy address of the ledger.

        CHURN_LEDGER_URL in the environment takes precedence over the study file.
        """
        url = os.environ.get("CHURN_LEDGER_URL") or self.braze.ledger
        prefix = "sqlite:///"
        if not url.startswith(prefix):
            return url
        return f"{prefix}{self.path(url.removeprefix(prefix))}"


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
    package_home = Path(__file__).resolve().parents[2]
    folders = [Path.cwd(), *Path.cwd().parents, package_home]
    files = (folder / "churn.toml" for folder in folders)
    return list(dict.fromkeys(file for file in files if file.is_file()))


def demos() -> list[Path]:
    """The studies of `churn demo`, started here or beside one of the candidates."""
    homes = [Path.cwd(), *(file.parent for file in candidates())]
    files = dict.fromkeys(home / DEMO for home in homes)
    return [file for file in files if file.is_file()]


def parse(
    data: dict[str, Any],
    folder: Path,
    name: str = "churn.toml",
) -> Settings:
    """Settings from parsed TOML; ``folder`` is where its relative paths start."""
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        faults = [_fault(dict(e)) for e in error.errors(include_url=False)]
        if len(faults) > 1:
            # An extract with a fault is missing from the list as well: report it once.
            empty = "extracts: Tuple should have"
            faults = [fault for fault in faults if not fault.startswith(empty)]
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise StudyError(f"{name} has {len(faults)} fault(s):\n{listed}") from None
    settings._folder = folder.resolve()
    if settings.now and not settings.is_simulated:
        raise StudyError(
            f"{name}: now is for a simulated app, which has {TRUTH} beside its study; "
            "remove it and state the present of a single run with --now"
        )
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
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(fields)}"


def _part_of(annotation: Any) -> type[BaseModel]:
    inner = getattr(annotation, "__args__", (annotation,))[0]
    is_section = isinstance(inner, type) and issubclass(inner, BaseModel)
    return inner if is_section else Settings
