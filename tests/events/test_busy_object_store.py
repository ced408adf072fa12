"""An object store that is busy for a while, and one that answers again."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from churn.events import ingest
from churn.settings import Settings
from churn.store import open_filled

from ..object_server import Server

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize("moment", [0.0, 0.3])
def test_an_ingest_outlives_a_busy_object_store(
    tmp_path: Path,
    make_study: Callable[..., Settings],
    server: Server,
    moment: float,
) -> None:
    """Three requests in a row answered with 503, at the start and in the middle, only
    delay it.
    """
    settings = make_study(
        store="s3://exports/store", extracts=[{"source": "table", "path": "*.csv"}]
    )
    for number in range(2):
        lines = [f"u{i},open,2026-03-0{number + 1}T10:{i:02d}:00" for i in range(50)]
        text = "user_id,event,time\n" + "\n".join(lines)
        (tmp_path / f"{number}.csv").write_text(text)
        if number == 1:
            busy = threading.Timer(moment, lambda: setattr(server, "n_busy", 3))
            busy.start()
        ingest.ingest(settings, NOW, progress=False)
    busy.join()
    assert not server.n_busy
    assert open_filled(settings).scan("events").collect().height == 100
