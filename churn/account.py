"""The account that runs the program, for records of what a person has decided."""

import getpass


def name() -> str:
    """The user of this machine who runs the program, as far as that is known."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
