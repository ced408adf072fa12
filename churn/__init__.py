"""Churn prediction on your own event data, delivered to Braze."""

import os

__version__ = "0.1.0"

# Before scikit-learn loads GNU OpenMP, whose threads spin long before they sleep:
# beside other work on the same cores a training then takes ten times as long. So short
# a spin cures that, and costs nothing on a quiet machine.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
