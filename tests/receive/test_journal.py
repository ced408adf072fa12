"""The journal of a source: all who wait hear what became of their lines."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from churn.receive.journal import Journal

NOW = datetime(2026, 6, 1, 5, 30, tzinfo=UTC)
LINE = b'{"postback": {}}\n'
FILE_BYTES = 2**20
PATIENCE_SECONDS = 10


async def _written_beside_one_that_gives_up(folder: Path) -> None:
    journal = Journal("adjust", folder, FILE_BYTES)
    async with asyncio.timeout(PATIENCE_SECONDS):
        hurried = asyncio.create_task(journal.write(LINE, NOW))
        patient = asyncio.create_task(journal.write(LINE, NOW))
        await asyncio.sleep(0)  # both are waiting now
        hurried.cancel()
        await patient
        await journal.write(LINE, NOW)
        await journal.close()


def test_one_that_gives_up_holds_up_no_other(tmp_path: Path) -> None:
    """The others of its group, and those after it, are written and hear of it."""
    asyncio.run(_written_beside_one_that_gives_up(tmp_path))
    [file] = tmp_path.iterdir()
    assert file.read_bytes() == 3 * LINE


async def _twice_into(folder: Path) -> None:
    journal = Journal("adjust", folder, FILE_BYTES)
    for _ in range(2):
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(ValueError, match="null byte"):
                await journal.write(LINE, NOW)
    await journal.close()


def test_any_failure_reaches_those_who_wait(tmp_path: Path) -> None:
    """Also one that no disk causes; the next group is tried again."""
    asyncio.run(_twice_into(tmp_path / "a\0b"))
