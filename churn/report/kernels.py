"""The kernel of a run: where its sockets lie, and how it ended.

A kernel is reached through socket files, not through TCP ports that other users of the
machine could connect to. They lie in a temporary folder of this run alone, which is
removed with the run. A run that is killed leaves its folder behind; the next run
removes it. To tell it from the folder of a run that goes on, each run holds a lock in
its folder, and the operating system releases the lock of a process that has ended.
"""

import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from traitlets.config import Config

from churn.errors import NotebookError

DEATHS = (RuntimeError, NoSuchKernel, KeyboardInterrupt)
"""What a run raises whose kernel did not start, has died or was stopped."""

PREFIX = "churn-kernel-"
"""Beginning of the names of folders with sockets."""

LOCK = "lock"
CONNECTION = "kernel.json"
"""File that tells the kernel its sockets, kernel-ipc-1 to kernel-ipc-5 beside it."""

TRIED = "kernel-ipc-tried"
"""A longer name than a socket's, to find out whether paths may be that long."""


@dataclass
class Ending:
    """What is known of how a run ended early.

    ``status``: exit status of a kernel that ended by itself, negative for a signal that
    killed it. ``signal``: name of the signal that asked this process to end.
    """

    status: int | None = None
    signal: str = ""


@contextmanager
def private_sockets() -> Iterator[Config]:
    """Settings of jupyter_client for one kernel, whose sockets no other run shares.

    Raises NotebookError if no temporary folder can hold them. Where Python has no
    socket files, as on Windows, the kernel is reached through TCP.
    """
    if not hasattr(socket, "AF_UNIX"):
        yield Config()
        return
    folder, lock = _private_folder()
    _remove_abandoned(folder.parent)
    manager = {"transport": "ipc", "connection_file": str(folder / CONNECTION)}
    try:
        yield Config({"KernelManager": manager})
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _private_folder() -> tuple[Path, FileLock]:
    """A new folder for sockets, and its lock, which this process holds."""
    faults = []
    for home in _temporary_folders():
        try:
            return _make_folder(home)
        except OSError as error:
            faults.append(f"{home}: {error.strerror or error}")
    raise NotebookError(
        "no temporary folder can hold the sockets of a notebook's kernel "
        f"({'; '.join(faults)}). Set TMPDIR to a folder on this machine with a path "
        "of at most 60 characters"
    )


def _temporary_folders() -> list[Path]:
    """Where sockets may lie: TMPDIR and its like first, then folders with short paths."""
    places = [os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/var/tmp"]
    with contextlib.suppress(FileNotFoundError):
        places.insert(0, tempfile.gettempdir())
    return list(dict.fromkeys(Path(place) for place in places if place))


def _make_folder(home: Path) -> tuple[Path, FileLock]:
    """Make a folder for sockets; raises OSError if sockets can't lie there.

    It gets its lasting name only once its lock is held: whoever finds a folder of that
    name whose lock is free knows that its run has ended.
    """
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=home))
    folder = home / made.name.removeprefix(".")
    lock = FileLock(made / LOCK, timeout=0)
    try:
        lock.acquire()
        _try_socket(made / TRIED)
        made.rename(folder)
    except OSError:
        lock.release()
        shutil.rmtree(made, ignore_errors=True)
        raise
    return folder, lock


def _try_socket(path: Path) -> None:
    """Raise OSError if a path is too long for a socket, or its disk can't hold any."""
    with socket.socket(socket.AF_UNIX) as tried:
        tried.bind(str(path))
    path.unlink()


def _remove_abandoned(home: Path) -> None:
    """Remove the socket folders of this user's runs that were killed."""
    for folder in home.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            # A link could lead to any folder of the user's.
            if folder.is_symlink() or status.st_uid != os.getuid():
                continue
            with FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)


def watched(ending: Ending) -> type[AsyncKernelManager]:
    """A class of kernel manager for one run, which notes how the kernel ended.

    It raises RuntimeError if the kernel's process can't be started.
    """

    class Watched(AsyncKernelManager):
        async def start_kernel(  # type: ignore[override]  # declared for the other kind
            self, **options: Any
        ) -> None:
            try:
                await super().start_kernel(**options)
            except OSError as error:
                raise RuntimeError(error.strerror or str(error)) from error

        async def shutdown_kernel(  # type: ignore[override]
            self, now: bool = False, restart: bool = False
        ) -> None:
            # A kernel that is asked to end in the middle of a cell prints a traceback.
            is_hasty = now or bool(ending.signal)
            await super().shutdown_kernel(is_hasty, restart)

        async def cleanup_resources(  # type: ignore[override]
            self, restart: bool = False
        ) -> None:
            kernel = self.provisioner
            # A kernel that was shut down in good order has no process any more.
            if kernel is not None and kernel.has_process:
                ending.status = await kernel.poll()
            await super().cleanup_resources(restart)

    return Watched


def reason(death: BaseException, ending: Ending) -> str:
    """Why a run ended early.

    >>> reason(RuntimeError("Kernel died"), Ending(status=-9))
    'its kernel was killed by SIGKILL, as happens when memory runs out'
    """
    if isinstance(death, KeyboardInterrupt):
        return f"it was told to by {ending.signal or signal.SIGINT.name}"
    if ending.status is None:
        return f"its kernel could not be used ({death})"
    if ending.status >= 0:
        return f"its kernel ended by itself with exit status {ending.status}"
    name = signal.Signals(-ending.status).name
    hint = ", as happens when memory runs out" if name == "SIGKILL" else ""
    return f"its kernel was killed by {name}{hint}"


@contextmanager
def stoppable() -> Iterator[Ending]:
    """Raise KeyboardInterrupt where SIGTERM or SIGHUP would end this process at once.

    asyncio lets nothing else through. The same signal once more does what it always
    did. Outside the main thread, and for signals that somebody else handles or ignores,
    nothing changes.
    """
    ending = Ending()

    def stop(number: int, frame: Any) -> None:
        ending.signal = signal.Signals(number).name
        signal.signal(number, usual[number])
        # Tasks of asyncio that are cut short would report that, long after the reason.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise KeyboardInterrupt

    usual: dict[int, Any] = {}
    is_main = threading.current_thread() is threading.main_thread()
    for name in ("SIGINT", "SIGTERM", "SIGHUP") if is_main else ():
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        handler = number and signal.getsignal(number)
        if number and handler in (signal.SIG_DFL, signal.default_int_handler):
            usual[number] = signal.signal(number, stop)
    try:
        yield ending
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
