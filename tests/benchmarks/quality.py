"""The default model beside alternatives, on real logs and on simulated worlds.

    python -m tests.benchmarks.quality [--logs oulad_vle online_retail_ii collegemsg]
    python -m tests.benchmarks.quality --worlds markov:0 bgnbd:0 random:2000
    python -m tests.benchmarks.quality --curve 500 1000 2000 5000 10000 30000 100000
    python -m tests.benchmarks.quality --timing

The default model is the one that a backtest chooses, with all settings at their
default. Every peer (peers.py) learns from the same rows and predicts the same rows; it
needs the dependency group `peers`. ``--features`` without a name leaves out all peers
but the recency rule. ``--work`` keeps the predictions of peers by their input, so that
they run again only when it changed. peer_featuretools.py, which runs in an environment
of its own, reads its tasks there and leaves its predictions there. churnkit, another
end-to-end peer, is missing because its pinned dependencies could not be resolved.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from . import real_logs
from .common import DATA, filled, parser, show, wide_tables
from .quality_figures import table, verdicts
from .quality_predictions import predictions
from .quality_worlds import curve, simulated, timing


def real(name: str, data: Path, work: Path, features: Sequence[str]) -> None:
    """Print the table and the verdicts of one log."""
    store = filled(real_logs.study(name, data, work / name))
    tests = real_logs.cutoffs(name)
    wide, choices = predictions(store, tests, work / name, features, has_events=True)
    wide.write_parquet(work / name / "predictions.parquet")
    figures = table(wide)
    n_users = wide["user_id"].n_unique()
    print(
        f"\n## {name}: {wide.height} rows of {n_users} users, {len(tests)} test "
        f"cutoffs, churn rate {wide['churned'].mean():.3f}"
    )
    print(choices.select(pl.selectors.exclude(pl.List, pl.Struct)))
    show(figures, work / name / "table.csv")
    print("\n".join(verdicts(figures)), flush=True)


def options() -> argparse.Namespace:
    """The command line's options."""
    work = Path(tempfile.gettempdir()) / "quality"
    logs = list(real_logs.LOGS)
    command = parser(__doc__)
    command.add_argument("--data", type=Path, default=DATA)
    command.add_argument("--work", type=Path, default=work)
    command.add_argument("--logs", nargs="*", default=logs, choices=logs)
    command.add_argument("--worlds", nargs="+", default=[], metavar="KIND:SEED")
    command.add_argument(
        "--features",
        nargs="*",
        default=["RFM", "ours"],
        help="features of the peers; with --worlds, none means no peers at all",
    )
    command.add_argument("--users", type=int, default=30_000)
    command.add_argument("--days", type=int, default=240)
    command.add_argument("--curve", type=int, nargs="+", default=[], metavar="USERS")
    command.add_argument("--timing", action="store_true")
    return command.parse_args()


def main() -> None:
    """Print what was asked for; without an option, the real logs."""
    given = options()
    with wide_tables(float_precision=4, fmt_str_lengths=40):
        if given.worlds:
            sizes = (given.users, given.days, given.work, given.features)
            named = [part.split(":") for part in given.worlds]
            rows = [simulated(kind, int(seed), *sizes) for kind, seed in named]
            show(pl.DataFrame(rows), given.work / "worlds.csv")
        if given.curve:
            show(curve(given.curve, given.days, given.work), given.work / "curve.csv")
        if given.timing:
            show(timing(given.users, given.days), given.work / "timing.csv")
        if not (given.worlds or given.curve or given.timing):
            for name in given.logs:
                real(name, given.data, given.work, given.features)


if __name__ == "__main__":
    main()
