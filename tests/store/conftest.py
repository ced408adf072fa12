"""Places to keep files in."""

from pathlib import Path

import pytest

from churn.store.places import Place


@pytest.fixture(params=["folder", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place, of each kind."""
    if request.param == "folder":
        return Place(str(tmp_path / "data" / "store"))
    request.getfixturevalue("server")
    return Place("s3://exports/data/store")
