"""The exceptions of the package: what each one means and what to do about it.

    ChurnError
    ├── StudyError (ValueError)            the study file cannot be used
    ├── InputError (ValueError)            an input file cannot be read
    ├── StoreError (RuntimeError)          the store is missing, outdated or damaged
    │   └── BusyError                      another process holds the lock
    ├── CutoffError (ValueError)           the data cannot answer for this cutoff
    ├── LeakError (RuntimeError)           a feature sees the future
    ├── TrainingError (RuntimeError)       too little data to learn from
    ├── ModelError (RuntimeError)          a model cannot be trained, stored or used
    ├── GateError (RuntimeError)           data or scores look wrong; nothing is sent
    ├── ClusterError (RuntimeError)        other processes could not do their part
    ├── NotebookError (RuntimeError)       a notebook failed
    │   └── ParameterError (ValueError)    a notebook parameter cannot be used
    └── BrazeError (RuntimeError)          delivery failed
        ├── TransientBrazeError            another attempt may succeed
        └── TerminalBrazeError             another attempt would fail the same way

Each class also derives from the built-in exception in brackets. The command line prints
the message as one sentence and exits with the class's ``exit_code``. The first line of
each docstring is the error's row in churn/README.md.
"""

FAILED, DECIDE, LATER = 1, 3, 4
"""Exit codes: failed; a gate or limit asks for a decision; try again later."""


class ChurnError(Exception):
    """Base of everything this package raises on purpose.

    Catch it to handle every expected failure; the message says what to do.

    ``exit_code``: that of a command which it ends.
    """

    exit_code = FAILED


class StudyError(ChurnError, ValueError):
    """The study file is missing, is not TOML, or has wrong keys or values.

    The message lists every fault with its path. Correct churn.toml and run the command
    again.
    """


class InputError(ChurnError, ValueError):
    """An extract or another input file is missing, empty, damaged or lacks a column.

    Nothing of the ingest has been stored. Fetch the file again, remove it, or describe
    it in the study (columns, encoding, time zone), as the message says.
    """


class StoreError(ChurnError, RuntimeError):
    """The store is empty, locked, damaged, out of reach or made with other settings.

    Run `churn ingest` if it is empty or the settings of an extract have changed, or
    wait for the other process. If a setting that all tables depend on has changed, move
    the store away and ingest again. What was visible before is unchanged.
    """


class BusyError(StoreError):
    """Another process holds the lock of the store or of the night.

    Nothing was changed. Run the command again when the other one has ended.
    """

    exit_code = LATER


class CutoffError(ChurnError, ValueError):
    """A cutoff lies outside the days that the data covers.

    Choose one of the dates that the message names, or ingest newer extracts.
    """


class LeakError(ChurnError, RuntimeError):
    """The leakage check found features that changed with events at or after the cutoff.

    The features named in the message use information from the future. Correct them
    before training; no model was stored.
    """


class TrainingError(ChurnError, RuntimeError):
    """There are too few users, churners or cutoffs to train or test on.

    Ingest a longer history, shorten the windows in the study or ask for fewer cutoffs.
    """


class ModelError(ChurnError, RuntimeError):
    """A model is missing, holds types that are not trusted, or does not fit the study.

    Also raised for your own classifier if it cannot be trained or stored. Train a new
    model with `churn run train`. Never load a model file whose origin you do not know.
    """


class GateError(ChurnError, RuntimeError):
    """A gate failed and was not accepted by name, so nothing was sent.

    Read the finding in the message and repair the data. If the data is right, run again
    with the gate's name in `accept`.
    """

    exit_code = DECIDE


class ClusterError(ChurnError, RuntimeError):
    """Other processes, of this machine, Dask or Spark, could not do their part of a step.

    They can't be reached, were killed too often, or took longer than
    `cluster.wait_minutes`. The message names the step and the engine. Nothing of the
    step is visible: look at the engine's log and run the command again.
    """

    exit_code = LATER


class NotebookError(ChurnError, RuntimeError):
    """A notebook is missing or one of its cells failed.

    The executed copy with the failed cell is kept, and the message names it. Its exit
    code is that of the error which the cell raised.
    """

    def __init__(
        self,
        message: str,
        exit_code: int = FAILED,
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ParameterError(NotebookError, ValueError):
    """A notebook has no such parameter, or the value does not have its type.

    The message lists the parameters or the expected type. Correct `-p name=value`.
    """


class BrazeError(ChurnError, RuntimeError):
    """Delivery to Braze failed; the ledger knows what had been acknowledged by then.

    Remove the cause and run the export again: it sends only what is missing.
    """


class TransientBrazeError(BrazeError):
    """Braze could not be reached or was overloaded; another attempt may succeed.

    Raised for HTTP 429 and 5xx and for lost connections, once retries have failed for
    the study's `retry_seconds`. Run the export again later.

    ``wait_seconds``: the pause the server asked for, or None if it stated none.
    ``was_sent``: whether Braze may have applied the request although it did not
    acknowledge it.
    """

    exit_code = LATER

    def __init__(
        self, message: str, wait_seconds: float | None = None, was_sent: bool = True
    ) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.was_sent = was_sent


class TerminalBrazeError(BrazeError):
    """Braze refused the request, and another attempt would be refused as well.

    Raised for a wrong key, endpoint or request, and for a ledger that cannot be used.
    Correct the cause that the message names before running the export again.

    ``status``: the HTTP status, or None if no request was made.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
