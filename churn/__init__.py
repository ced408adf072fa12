"""Churn prediction on your own event data, delivered to Braze."""

__version__ = "0.1.0"
