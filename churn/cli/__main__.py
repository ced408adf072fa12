"""Run the command line as ``python -m churn.cli``."""

from churn.cli import main

main()
