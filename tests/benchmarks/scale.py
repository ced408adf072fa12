"""What nights cost from a thousand to five hundred million users: points, and a fit.

    python -m tests.benchmarks.scale measure --app markov 20000 240
    python -m tests.benchmarks.scale measure --app markov 200000 240 --hold-out
    python -m tests.benchmarks.scale fit [--chart scale.html]
    python -m tests.benchmarks.scale worlds

``measure`` simulates an app, ingests it, and adds to the file of points what the steps
of a night cost, each in a process of its own: processor seconds and peak memory.
``fit`` prints the coefficients, how far the fit is from the points that it was fitted
to, and from those that were held out. ``worlds`` applies it to apps of 1, 50 and 500
million users, whose users and events are stated in ``scale_worlds.py``. The model and
what follows from it are explained in scale.md.
"""

import tempfile
from argparse import Namespace
from pathlib import Path

import polars as pl

from . import common, scale_fit, scale_worlds
from .scale_steps import App, points

POINTS = Path(__file__).with_name("scale_points.csv")
"""The points of scale.md."""


def main() -> None:
    """Do what the command line says."""
    given = options()
    {"measure": measure, "fit": fit, "worlds": worlds}[given.what](given)


def options() -> Namespace:
    """The command line's options."""
    parser = common.parser(__doc__)
    parser.add_argument("what", choices=["measure", "fit", "worlds"])
    parser.add_argument("--points", type=Path, default=POINTS, metavar="FILE")
    parser.add_argument(
        "--app",
        nargs=3,
        action="append",
        default=[],
        metavar=("WORLD", "USERS", "DAYS"),
    )
    parser.add_argument("--hold-out", action="store_true", help="don't fit to them")
    parser.add_argument("--repeat", type=int, default=1, metavar="RUNS")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="html, svg or png")
    return parser.parse_args()


def measure(given: Namespace) -> None:
    """Measure apps one after the other, and add their points to the file."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        for world, n_users, n_days in given.app:
            app = App(world, int(n_users), int(n_days), not given.hold_out)
            added = pl.DataFrame(list(points(app, folder, given.repeat)))
            if given.points.exists():
                kept = pl.read_csv(given.points).filter(pl.col("app") != app.name)
                added = pl.concat([kept, added], how="vertical_relaxed")
            added.write_csv(given.points, float_precision=4)
            print(added.filter(pl.col("app") == app.name), flush=True)


def fit(given: Namespace) -> None:
    """Print the coefficients, and the model beside every point; draw them."""
    measured = pl.read_csv(given.points)
    model = scale_fit.fit(measured.filter("is_fitted"))
    table = scale_fit.compared(model, measured)
    errors = table.group_by("step", "figure", "is_fitted", maintain_order=True).agg(
        n=pl.len(),
        worst=pl.col("error").abs().max(),
        mean=pl.col("error").abs().mean(),
    )
    with common.wide_tables(float_precision=4):
        for (step, name), line in model.items():
            terms = (f"{c:.3g} {what}" for what, c in line.coefficients.items())
            print(f"{step}, {name}: {' + '.join(terms)}")
        print(errors, table.filter(~pl.col("is_fitted")), sep="\n")
    if given.chart:
        from . import scale_chart

        scale_chart.drawn(table).save(given.chart)


def worlds(given: Namespace) -> None:
    """Print what the model says of much larger apps."""
    model = scale_fit.fit(pl.read_csv(given.points).filter("is_fitted"))
    with common.wide_tables(float_precision=2):
        print(scale_worlds.table(model), scale_worlds.requests(), sep="\n")


if __name__ == "__main__":
    main()
