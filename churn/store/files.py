"""Files written so that a crash leaves the old content or the new."""

import os
from pathlib import Path


def write_atomically(file: Path, content: bytes) -> None:
    """Write beside the file, flush to disk, then rename over it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
