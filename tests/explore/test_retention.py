"""Retention and the return curve, against values computed by hand."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from churn.events import ingest
from churn.explore import retention
from churn.settings import Settings
from churn.store import open_filled


def test_retention_counts_users_by_months_since_first_seen(
    tmp_path: Path, make_study: Callable[..., Settings]
) -> None:
    """Of three users of January two are active in February: shares 1 and 2/3. March,
    which is not covered to its end, is not shown.
    """
    filler = "".join(
        f"z,open,2026-0{m}-{d:02d}\n"
        for m in (1, 2, 3)
        for d in range(1, 29 if m < 3 else 10)
    )
    (tmp_path / "events.csv").write_text(
        "user_id,event,time\na,open,2026-01-05\na,open,2026-02-07\nb,open,2026-01-09\n"
        + filler
    )
    settings = make_study()
    ingest.ingest(settings, progress=False)
    table = retention.retention(open_filled(settings))
    assert table["cohort"].unique().to_list() == [date(2026, 1, 1)]
    assert table["n_users"].to_list() == [3, 3]
    assert table["share"].to_list() == pytest.approx([1, 2 / 3])


def test_the_return_curve_is_not_fooled_by_the_end_of_the_data(
    tmp_path: Path, make_study: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where everybody comes every third day, the silences cut off by the end of the
    data do not count as losses.
    """
    monkeypatch.setattr(retention, "MIN_AT_RISK", 1)
    days = [
        f"u{i},open,2026-01-{d:02d}\n"
        for i in range(20)
        for d in range(1 + i % 3, 31, 3)
    ]
    (tmp_path / "events.csv").write_text("user_id,event,time\n" + "".join(days))
    settings = make_study()
    ingest.ingest(settings, progress=False)
    curve = retention.return_curve(open_filled(settings))
    assert curve.filter(pl.col("silence_days") < 3)["return_rate"].to_list() == [1, 1]


def test_the_shortest_horizon_is_the_first_below_the_share() -> None:
    """The first silence under the given share; null if no silence falls so low."""
    curve = pl.DataFrame({"silence_days": [1, 7, 14], "return_rate": [0.9, 0.2, 0.05]})
    assert retention.shortest_horizon(curve, 0.1) == 14
    assert retention.shortest_horizon(curve, 0.01) is None
