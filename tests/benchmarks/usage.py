"""Processor seconds and memory of this process and its children."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any


def processor_seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """User and system seconds of some work, its children included."""
    before = used_seconds()
    work(*arguments)
    return used_seconds() - before


def used_seconds() -> float:
    """User and system seconds that this process and its children have used."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_megabytes() -> float:
    """The most memory that this process has had since its program began (Linux).

    The figure of ``resource`` begins with that of the parent process.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    kilobytes = status.partition("VmHWM:")[2].split()[0]
    return int(kilobytes) / 1024
