"""What churn.toml says, checked at once and frozen.

The file itself, churn.toml at the top of the repository, explains every key; the
classes here give its type, bounds and default.
"""

from churn.settings.audiences import Audience
from churn.settings.braze import Braze
from churn.settings.cluster import Cluster
from churn.settings.sections import (
    Activity,
    Backtest,
    Csv,
    Extract,
    Gates,
    Identity,
    ModelSettings,
    Privacy,
    Windows,
)
from churn.settings.segments import Policy, Segment
from churn.settings.study_file import (
    TRUTH,
    Settings,
    candidates,
    demos,
    find,
    load,
    parse,
)

__all__ = [
    "TRUTH",
    "Activity",
    "Audience",
    "Backtest",
    "Braze",
    "Cluster",
    "Csv",
    "Extract",
    "Gates",
    "Identity",
    "ModelSettings",
    "Policy",
    "Privacy",
    "Segment",
    "Settings",
    "Windows",
    "candidates",
    "demos",
    "find",
    "load",
    "parse",
]
