"""The whole exception tree.

    ChurnError
    ├── StudyError (ValueError)            churn.toml can't be used
    ├── InputError (ValueError)            an extract can't be read
    ├── StoreError (RuntimeError)          data/store is missing, older or made for another study
    ├── CutoffError (ValueError)           a cutoff the data can't answer for
    ├── LeakError (RuntimeError)           the leakage check found a feature that uses the future
    ├── TrainingError (RuntimeError)       too little to learn from
    ├── ModelError (RuntimeError)          a model file that must not be loaded or doesn't fit
    ├── GateError (RuntimeError)           data or scores that look wrong; nothing is sent
    ├── NotebookError (RuntimeError)       a notebook that failed
    │   └── ParameterError (ValueError)    a parameter the notebook doesn't have, or can't take
    └── BrazeError (RuntimeError)          delivery
        ├── TransientBrazeError            worth another try: 429, 5xx, lost connections
        └── TerminalBrazeError             never retried: bad key, bad endpoint, refused request

The command line prints the message of any of these as one sentence and exits with 1.
"""


class ChurnError(Exception):
    """Base of everything this package raises on purpose."""


class StudyError(ChurnError, ValueError):
    """The study file is missing, unreadable or has faults; the message lists every
    fault with its path.
    """


class InputError(ChurnError, ValueError):
    """An extract is missing, empty, unreadable or lacks a needed column."""


class StoreError(ChurnError, RuntimeError):
    """The store is missing, empty, of another version or was made for another study."""


class CutoffError(ChurnError, ValueError):
    """The cutoff lies outside what the data covers."""


class LeakError(ChurnError, RuntimeError):
    """Features changed although only events at or after the cutoff did."""


class TrainingError(ChurnError, RuntimeError):
    """Too few users, churners or cutoffs to train or test on."""


class ModelError(ChurnError, RuntimeError):
    """A stored model is missing, holds types that aren't allowed, or needs other
    features.
    """


class GateError(ChurnError, RuntimeError):
    """A gate failed and wasn't accepted by name."""


class NotebookError(ChurnError, RuntimeError):
    """A notebook failed; the executed copy is kept and named in the message."""


class ParameterError(NotebookError, ValueError):
    """A parameter that the notebook doesn't have, or whose value can't be read."""


class BrazeError(ChurnError, RuntimeError):
    """Delivery to Braze failed."""


class TransientBrazeError(BrazeError):
    """May succeed if tried again.

    ``wait_seconds`` is the pause the server asked for, null if it stated none.
    ``was_sent``: whether what was tried may have been applied, though nobody said so.
    """

    def __init__(
        self, message: str, wait_seconds: float | None = None, was_sent: bool = True
    ) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.was_sent = was_sent


class TerminalBrazeError(BrazeError):
    """Must not be tried again as it stands.

    ``status`` is the HTTP status, null where no request was made.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
