"""Atomic replacement of a file: after a crash it is either wholly old or wholly new."""

import os
from pathlib import Path


def write_atomically(file: Path, content: bytes) -> None:
    """Replace a file's content in one step, creating its folder if needed.

    The content is written to a temporary file beside it, flushed to disk and renamed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
