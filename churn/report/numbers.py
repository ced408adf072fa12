"""Numbers as sentences write them: shares, counts, and spans of time."""

from datetime import date

from churn.settings import Windows


def percent(share: float) -> str:
    """A share in whole percent; one that is neither 0 nor 1 never looks as if it were.

    >>> percent(0.762), percent(0.002), percent(0.999), percent(0)
    ('76%', 'under 1%', 'over 99%', '0%')
    """
    if 0 < share < 0.005:
        return "under 1%"
    if 0.995 <= share < 1:
        return "over 99%"
    return f"{share:.0%}"


def one_in(share: float) -> str:
    """A share as people say it.

    >>> one_in(0.05), one_in(0.4)
    ('1 in 20 (5%)', '1 in 2.5 (40%)')
    """
    many = 1 / share
    times = f"{many:,.0f}" if many >= 10 else f"{many:.2g}"
    return f"1 in {times} ({100 * share:.3g}%)"


def counted(n: int, thing: str) -> str:
    """A number of things, with separators and an s where it takes one.

    >>> counted(1, "file"), counted(1204, "file")
    ('1 file', '1,204 files')
    """
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def span(first: date, last: date) -> str:
    """Two dates as a span, or the one date that both are.

    >>> span(date(2026, 1, 1), date(2026, 1, 9)), span(date(2026, 1, 1), date(2026, 1, 1))
    ('2026-01-01 to 2026-01-09', '2026-01-01')
    """
    return f"{first}" if first == last else f"{first} to {last}"


def within(windows: Windows) -> str:
    """In which time after a date a user must come back to have stayed.

    >>> within(Windows(horizon_days=28)), within(Windows(lead_days=7, horizon_days=28))
    ('within 28 days', 'within 28 days after the next 7')
    """
    lead = f" after the next {windows.lead_days}" if windows.lead_days else ""
    return f"within {windows.horizon_days} days{lead}"
