"""The BG/NBD world: its truth against the published formula, direct integration and the
window's limits.
"""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import beta, gamma

from churn.settings import Windows
from churn.simulate.bgnbd import DAY, Parameters, Seen, bgnbd, probability
from churn.simulate.world import truth

SMOOTH = Parameters(r=2, alpha=3, a=2, b=4)


def seen(x: int, last: float, length: float, tenure: float = 0) -> Seen:
    """One user's record."""
    return Seen(*(np.array([value]) for value in (x, last, length, tenure)))


@pytest.mark.parametrize("p", [Parameters(), SMOOTH])
@pytest.mark.parametrize(
    ("x", "last", "length"), [(0, 0, 20), (1, 3, 20), (12, 11, 60), (400, 85.5, 90)]
)
def test_death_is_as_fader_hardie_and_lee_give_it(
    p: Parameters, x: int, last: float, length: float
) -> None:
    """Whole life in sight, endless horizon: 1 − P(alive) in closed form."""
    odds_of_death = (
        p.a / (p.b + x - 1) * ((p.alpha + length) / (p.alpha + last)) ** (p.r + x)
        if x
        else 0
    )
    got = probability(seen(x, last, length), p, lead=0, horizon=np.inf)
    assert got[0] == pytest.approx(odds_of_death / (1 + odds_of_death), rel=1e-9)


@pytest.mark.parametrize(
    ("x", "last", "length", "tenure", "lead"),
    [
        (0, 0, 9, 0, 0),
        (0, 0, 9, 0, 5),
        (2, 6, 9, 0, 0),
        (1, 2, 9, 30, 0),
        (6, 20, 30, 80, 0),
        (6, 29, 30, 80, 7),
    ],
)
def test_truth_equals_direct_integration(
    x: int, last: float, length: float, tenure: float, lead: float
) -> None:
    """Over all rates and dropout probabilities, with and without a life before the
    window and a lead time.
    """
    node, weight = np.polynomial.legendre.leggauss(200)
    rate, d = np.meshgrid(10 * (1 + node), (1 + node) / 2)
    lived = (
        gamma.pdf(rate, SMOOTH.r, scale=1 / SMOOTH.alpha)
        * beta.pdf(d, SMOOTH.a, SMOOTH.b)
        * np.outer(weight, weight)
    )
    lived *= np.exp(-rate * d * tenure) * rate**x
    alive = lived * (1 - d) ** x * np.exp(-rate * length)
    dead = lived * d * (1 - d) ** (x - 1) * np.exp(-rate * last) * (x > 0)
    silent = 1 - np.exp(-rate * d * lead) * (1 - np.exp(-rate * 14))
    got = probability(seen(x, last, length, tenure), SMOOTH, lead, horizon=14)
    assert got[0] == pytest.approx(
        (dead + alive * silent).sum() / (dead + alive).sum(), rel=1e-9
    )


def test_truth_knows_the_window_and_the_first_event_only() -> None:
    """Without the repeat events before the window and with others after the cutoff: the
    same truth.
    """
    world, windows = bgnbd(300, 120, seed=2), Windows(observation_days=40)
    before = (world.second < 60 * DAY) & (
        np.arange(len(world.user)) != world.first[world.user]
    )
    kept = ~before & (world.second < 110 * DAY)
    other = replace(
        world, user=world.user[kept], second=world.second[kept], name=world.name[kept]
    )
    at = world.start + timedelta(days=100)
    one, two = (
        truth(w, windows).filter(pl.col("cutoff") == at) for w in (world, other)
    )
    assert before.sum() > 200
    assert one.height > 50
    assert one.equals(two)


def test_everybody_starts_with_an_event_and_nobody_lives_after_dropping_out() -> None:
    """The first event is on the install's day, one second later; with certain dropout
    only one repeat event follows.
    """
    world = bgnbd(400, 90, seed=4, parameters=Parameters(r=50, alpha=10, a=1e6, b=1e-3))
    installed, moments = world.moments(np.random.default_rng(0))
    firsts = moments.unique("user", keep="first", maintain_order=True)
    assert firsts["day"].to_list() == world.arrival.tolist()
    assert (firsts["second"].to_numpy() == installed + 1).all()
    assert moments.group_by("user").len()["len"].max() == 2


def test_the_mean_rate_is_the_gammas() -> None:
    """Hardly anybody drops out: events per day of life come to r / alpha."""
    world = bgnbd(2000, 90, seed=5, parameters=Parameters(a=1e-3, b=1e3))
    days = 90 - world.second[world.first] / DAY
    assert (len(world.user) - 2000) / days.sum() == pytest.approx(0.9 / 3.0, rel=0.05)
