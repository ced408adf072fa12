"""Telephone numbers in the one form that Braze keeps, and looks users up by.

Source: Braze's page about users' phone numbers, read in November 2026.
"""

import re

US_DIGITS = 10


def in_one_form(text: str) -> str | None:
    """The digits of a number with its leading plus; None for a text without digits.

    Ten digits without a plus are a number in the United States.

    >>> in_one_form("+1 (724) 123-4567"), in_one_form("724.123.4567"), in_one_form("abc")
    ('+17241234567', '+17241234567', None)
    """
    digits = re.sub(r"[^0-9]", "", text)
    if not digits:
        return None
    if text.strip().startswith("+"):
        return f"+{digits}"
    return f"+1{digits}" if len(digits) == US_DIGITS else digits
