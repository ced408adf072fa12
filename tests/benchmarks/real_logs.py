"""The real event logs of the benchmarks: the study and the test cutoffs of each.

Test cutoffs were set by the calendar alone, before any result: from the first with
three mature training cutoffs to the last whose horizon the log covers, a horizon or
more apart. In oulad_vle they and their horizons lie inside the course presentations:
Feb to Sep 2013, Oct 2013 to Jan 2014, Oct 2014 to Jun 2015. All three logs are public:
oulad_vle is the Open University Learning Analytics dataset, online_retail_ii is in the
UCI repository, collegemsg in the Stanford SNAP collection.
"""

from datetime import date
from pathlib import Path
from typing import Any

from churn.settings import Settings, parse

DATA = Path(__file__).resolve().parents[3] / "shared/data"
LOGS: dict[str, dict[str, Any]] = {
    "oulad_vle": {
        "windows": {"horizon_days": 30, "eligible_days": 30},
        "activity": {},
        "train": ["2013-04-01", "2013-05-01", "2013-06-01", "2013-07-01"],
        "tests": "2013-05-15 2013-06-15 2013-07-15 2013-08-15 2013-11-15 2013-12-15 "
        "2014-12-15 2015-01-15 2015-02-15 2015-03-17 2015-04-16",
    },
    "online_retail_ii": {
        "windows": {"horizon_days": 90, "eligible_days": 90, "observation_days": 365},
        "activity": {"currency": "GBP"},
        "train": ["2010-06-01", "2010-09-01", "2010-12-01", "2011-03-01", "2011-06-01"],
        "tests": "2010-09-01 2010-12-01 2011-03-01 2011-06-01 2011-09-01",
    },
    "collegemsg": {
        "windows": {"horizon_days": 14, "eligible_days": 30},
        "activity": {"counts_as_active": ["message_sent"]},
        # Eleven days with hardly a message, which are taken as they are.
        "gates": {"closed": [["2004-06-16", "2004-06-26"]]},
        "train": ["2004-05-15", "2004-05-22", "2004-05-29"],
        "tests": "2004-06-15 2004-06-29 2004-07-13 2004-07-27 2004-08-10 2004-08-24 "
        "2004-09-07 2004-09-21 2004-10-05",
    },
}


def study(name: str, data: Path, folder: Path) -> Settings:
    """The study of a log, with all other settings at their default.

    ``data`` holds NAME/events.parquet; the store is made in ``folder``.
    """
    extract = {
        "source": "table",
        "path": str((data / name / "events.parquet").resolve()),
    }
    return parse(
        {
            "extracts": [extract],
            "windows": LOGS[name]["windows"],
            "activity": LOGS[name]["activity"],
            "gates": LOGS[name].get("gates", {}),
        },
        folder,
    )


def cutoffs(name: str) -> list[date]:
    """The test cutoffs of a log."""
    return [date.fromisoformat(day) for day in LOGS[name]["tests"].split()]
