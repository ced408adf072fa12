"""Where a kernel's sockets lie, and how a run is told that ended early."""

import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from churn.errors import NotebookError
from churn.report import kernels
from churn.report.kernels import Ending


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only temporary folder there is; short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(kernels, "_temporary_folders", lambda: [Path(folder)])
        yield Path(folder)


def folder_of(config: kernels.Config) -> Path:
    """Where the sockets of a kernel with these settings would lie."""
    return Path(config.KernelManager.connection_file).parent


def test_each_run_has_a_private_folder_which_goes_with_it(home: Path) -> None:
    """Two at once share nothing, nobody else may look in, and nothing stays."""
    with kernels.private_sockets() as one, kernels.private_sockets() as other:
        folders = {folder_of(one), folder_of(other)}
        assert len(folders) == 2
        assert {folder.parent for folder in folders} == {home}
        modes = {stat.S_IMODE(folder.stat().st_mode) for folder in folders}
        assert modes == {0o700}
        assert one.KernelManager.transport == "ipc"
    assert list(home.iterdir()) == []


def test_the_next_run_removes_what_a_killed_one_left(home: Path) -> None:
    """Its lock is free; the folder of a run that goes on, a link, and what others put
    there stay.
    """
    left, lock = kernels._make_folder(home)
    (left / "kernel-ipc-1").touch()
    lock.release()  # as the operating system does for a process that was killed
    kept = home / "mine"
    kept.mkdir()
    link = home / f"{kernels.PREFIX}link"
    link.symlink_to(kept)
    with kernels.private_sockets() as running, kernels.private_sockets():
        assert not left.exists()
        assert folder_of(running).is_dir()
    assert sorted(home.iterdir()) == [link, kept]
    assert list(kept.iterdir()) == []


def test_a_temporary_folder_whose_path_is_too_long_is_passed_over(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket's path holds some hundred bytes. Where no folder is short enough, the
    error says what to set, and nothing is left.
    """
    long = home / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(kernels, "_temporary_folders", lambda: [long, home])
    with kernels.private_sockets() as config:
        assert folder_of(config).parent == home
    monkeypatch.setattr(kernels, "_temporary_folders", lambda: [long])
    with (
        pytest.raises(NotebookError, match=r"too long\)\. Set TMPDIR to a folder"),
        kernels.private_sockets(),
    ):
        pass
    assert list(long.iterdir()) == []


@pytest.mark.parametrize(
    ("death", "ending", "expected"),
    [
        (RuntimeError("Kernel died"), Ending(-15), "was killed by SIGTERM"),
        (RuntimeError("Kernel died"), Ending(-9), "when memory runs out"),
        (RuntimeError("Kernel died"), Ending(3), "by itself with exit status 3"),
        (RuntimeError("no answer"), Ending(), "could not be used (no answer)"),
        (KeyboardInterrupt(), Ending(), "was told to by SIGINT"),
        (KeyboardInterrupt(), Ending(signal="SIGHUP"), "was told to by SIGHUP"),
    ],
)
def test_every_end_has_its_reason(
    death: BaseException, ending: Ending, expected: str
) -> None:
    """A signal is named, and so is what usually sends it."""
    assert expected in kernels.reason(death, ending)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_end_is_an_exception_inside_a_run_only(number: int) -> None:
    """It is named; afterwards, and at the second signal, it does what it did before."""
    # The tests themselves may run under nohup, which ignores SIGHUP.
    outside = signal.signal(number, signal.default_int_handler)
    try:
        with kernels.stoppable() as ending:
            assert signal.getsignal(number) is not signal.default_int_handler
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), number)
            assert signal.getsignal(number) is signal.default_int_handler
        assert ending.signal == signal.Signals(number).name
    finally:
        signal.signal(number, outside)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As nohup wants it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with kernels.stoppable() as ending:
            os.kill(os.getpid(), signal.SIGHUP)
        assert ending == Ending()
    finally:
        signal.signal(signal.SIGHUP, before)
