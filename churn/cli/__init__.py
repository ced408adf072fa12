"""The command line. Each command reads the study, takes one step and prints the result.

Exit codes: 0 done, 1 refused or failed with one readable sentence, 2 wrong usage.
"""

from churn.cli.app import app, main

__all__ = ["app", "main"]
