"""Where the receiver writes: its spool, and the place that ingest reads."""

from pathlib import Path

from churn.settings import Settings


def published(settings: Settings) -> str:
    """Where postbacks are published: absolute path or URL."""
    path = settings.receive.path
    return path if "://" in path else str(settings.path(path))


def spool(settings: Settings) -> Path:
    """Folder of the journals on this machine."""
    return settings.path(settings.receive.spool)
