"""Confidence intervals of shares."""

from typing import Any

Z = 1.96
"""Half-width of a 95 % interval in standard errors."""


def wilson(share: Any, n: Any) -> tuple[Any, Any]:
    """The 95 % Wilson score interval of a share of ``n``: its lower and upper end.

    Numbers, arrays or polars expressions.

    >>> low, high = wilson(0.0, 50)
    >>> round(low, 3), round(high, 3)
    (0.0, 0.071)
    """
    spread = Z * (share * (1 - share) / n + Z**2 / (4 * n**2)) ** 0.5
    middle = share + Z**2 / (2 * n)
    width = 1 + Z**2 / n
    return (middle - spread) / width, (middle + spread) / width
