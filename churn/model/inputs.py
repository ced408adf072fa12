"""What the members of a blend are asked: rows, and the rows with features replaced."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from churn.model.btyd import BuyTillYouDie


@dataclass(frozen=True)
class Inputs:
    """Rows as members see them, and what replaces the columns of each group.

    - ``values``: shape (n_rows, n_columns), the features and, if there is one, the
      parametric forecast as last column; NaN where a value is missing.
    - ``typical``: shape (n_columns,), what replaces a feature; not used for the
      forecast.
    - ``group``: shape (n_columns,), the number of each column's group. The forecast
      has the number ``n_groups`` and is never replaced on its own.
    - ``forecasts``: the forecasts with a group's features replaced, shape (n_rows,)
      each, by number of the groups on which the forecast depends.
    """

    values: np.ndarray
    typical: np.ndarray
    group: np.ndarray
    n_groups: int
    forecasts: Mapping[int, np.ndarray]

    def column(self, position: int) -> "Inputs":
        """The same rows with a single feature."""
        return replace(
            self,
            values=self.values[:, [position]],
            typical=self.typical[[position]],
            group=self.group[[position]],
            forecasts={},
        )


Probabilities = Callable[[Inputs], np.ndarray]
"""Probabilities of churn, shape (1 + n_groups, n_rows).

The first are those of the rows as they are, the others those with a group replaced.
"""


def inputs(
    forecast: BuyTillYouDie,
    x: np.ndarray,
    typical: np.ndarray,
    group: np.ndarray,
    n_groups: int,
) -> Inputs:
    """The inputs of members behind ``forecast``, from features alone.

    ``x``: shape (n_rows, n_features). ``typical`` and ``group``: shape (n_features,).
    """
    if forecast.columns is None:
        return Inputs(x, typical, group, n_groups, {})
    columns = list(forecast.columns)
    seen = x[:, columns]
    forecasts = {
        number: forecast.log_odds(
            np.where(group[columns] == number, typical[columns], seen)
        )
        for number in set(group[columns]) & set(range(n_groups))
    }
    # Columns lie in one piece each, because trees read one column at a time.
    values = np.empty((len(x), x.shape[1] + 1), order="F")
    values[:, :-1] = x
    values[:, -1] = forecast.log_odds(seen)
    return Inputs(
        values=values,
        typical=np.append(typical, np.nan),
        group=np.append(group, n_groups),
        n_groups=n_groups,
        forecasts=forecasts,
    )
