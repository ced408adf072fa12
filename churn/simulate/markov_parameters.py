"""Parameters of the Markov world, and the defaults of the simulated app "Meadow".

T types of users, S hidden states, E event names. The default states are keen, casual,
fading, gone and uninstalled.
"""

from dataclasses import dataclass, field

import numpy as np

EVENTS = (
    "af_login",
    "af_content_view",
    "af_search",
    "af_add_to_cart",
    "af_purchase",
    "af_level_achieved",
    "af_share",
    "af_rate",
)

TYPE_SHARE = np.array([0.2, 0.3, 0.3, 0.2])

FIRST_STATE = np.array(
    [
        [0.8, 0.2, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.0, 0.0, 0.0],
        [0.7, 0.2, 0.1, 0.0, 0.0],
    ]
)

TRANSITION = np.array(
    [
        [
            [0.970, 0.024, 0.006, 0.000, 0.000],
            [0.030, 0.945, 0.025, 0.000, 0.000],
            [0.005, 0.025, 0.915, 0.050, 0.005],
            [0.000, 0.001, 0.000, 0.994, 0.005],
            [0.000, 0.000, 0.000, 0.000, 1.000],
        ],
        [
            [0.930, 0.050, 0.020, 0.000, 0.000],
            [0.025, 0.935, 0.040, 0.000, 0.000],
            [0.005, 0.020, 0.905, 0.062, 0.008],
            [0.000, 0.001, 0.000, 0.993, 0.006],
            [0.000, 0.000, 0.000, 0.000, 1.000],
        ],
        [
            [0.960, 0.030, 0.010, 0.000, 0.000],
            [0.015, 0.960, 0.025, 0.000, 0.000],
            [0.004, 0.016, 0.945, 0.032, 0.003],
            [0.000, 0.001, 0.000, 0.995, 0.004],
            [0.000, 0.000, 0.000, 0.000, 1.000],
        ],
        [
            [0.780, 0.130, 0.090, 0.000, 0.000],
            [0.020, 0.860, 0.120, 0.000, 0.000],
            [0.005, 0.015, 0.820, 0.130, 0.030],
            [0.000, 0.001, 0.000, 0.985, 0.014],
            [0.000, 0.000, 0.000, 0.000, 1.000],
        ],
    ]
)

RATE = np.array(
    [
        [3.80, 1.10, 0.12, 0.002, 0.0],
        [1.45, 0.32, 0.05, 0.002, 0.0],
        [0.35, 0.10, 0.03, 0.002, 0.0],
        [1.60, 0.30, 0.05, 0.001, 0.0],
    ]
)

WEEKDAY = np.array(
    [
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [1.1, 1.1, 1.0, 1.0, 1.0, 0.9, 0.9],
        [0.5, 0.5, 0.6, 0.6, 1.0, 2.0, 1.8],
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    ]
)

MIX = np.array(
    [
        [0.25, 0.30, 0.12, 0.08, 0.06, 0.12, 0.05, 0.02],
        [0.30, 0.35, 0.14, 0.07, 0.03, 0.07, 0.03, 0.01],
        [0.22, 0.28, 0.10, 0.06, 0.04, 0.25, 0.04, 0.01],
        [0.45, 0.30, 0.15, 0.04, 0.01, 0.03, 0.01, 0.01],
    ]
)


@dataclass(frozen=True)
class Parameters:
    """Parameters of a Markov world.

    - ``events``: names of the in-app events.
    - ``type_share``: shape (T,), share of each type of user.
    - ``first_state``: shape (T, S), probability of each state on the day of arrival.
    - ``transition``: shape (T, S, S), from a day's state to the next day's.
    - ``rate``: shape (T, S), events on an average day.
    - ``weekday``: shape (T, 7), factor of the rate by weekday, Monday first.
    - ``mix``: shape (T, S, E), share of each event name by type and state, or shape
      (T, 1, E) if it is the same in all states.
    - ``active_names``: names of the events that count as being active; empty for all.
    - ``level``: shape (days,), factor of all rates by day; the last value holds for all
      later days.
    - ``hazard``: the same for the odds of the last two states.

    The last two states are always gone and uninstalled. Uninstalled is never left, and
    entering it writes one uninstall event.
    """

    events: tuple[str, ...] = EVENTS
    type_share: np.ndarray = field(default_factory=TYPE_SHARE.copy)
    first_state: np.ndarray = field(default_factory=FIRST_STATE.copy)
    transition: np.ndarray = field(default_factory=TRANSITION.copy)
    rate: np.ndarray = field(default_factory=RATE.copy)
    weekday: np.ndarray = field(default_factory=WEEKDAY.copy)
    mix: np.ndarray = field(default_factory=MIX[:, None].copy)
    active_names: tuple[str, ...] = ()
    level: np.ndarray = field(default_factory=lambda: np.ones(1))
    hazard: np.ndarray = field(default_factory=lambda: np.ones(1))

    @property
    def is_active(self) -> np.ndarray:
        """Whether each event name counts as being active, shape (E,)."""
        names = self.active_names or self.events
        return np.array([name in names for name in self.events])

    @property
    def mix_by_state(self) -> np.ndarray:
        """Share of each event name by type and state, shape (T, S, E)."""
        n_types, n_states = self.rate.shape
        return np.broadcast_to(self.mix, (n_types, n_states, len(self.events)))

    def active_rate(self, day: int, weekday: int) -> np.ndarray:
        """``daily_rate`` of the events that count as being active, shape (T, S)."""
        share = self.mix_by_state[..., self.is_active].sum(axis=-1)
        return np.asarray(share * self.daily_rate(day, weekday))

    def daily_rate(
        self,
        day: int,
        weekday: int,
    ) -> np.ndarray:
        """Events by type and state on a day of the log, shape (T, S).

        ``weekday`` is that day's, 0 for Monday.
        """
        factor = self.weekday[:, weekday : weekday + 1]
        return self.rate * factor * _lasting(self.level, day)

    def step(self, day: int) -> np.ndarray:
        """Transition probabilities from this day to the next, shape (T, S, S)."""
        odds = self.transition.copy()
        odds[..., -2:] *= _lasting(self.hazard, day)
        return odds / odds.sum(axis=-1, keepdims=True)


def _lasting(factors: np.ndarray, day: int) -> float:
    return float(factors[min(day, len(factors) - 1)])
