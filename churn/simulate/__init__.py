"""Simulated apps whose true churn probabilities are known, written as vendors' files.

``extracts.write`` writes a world of ``extracts.WORLDS`` and its true probabilities.
"""
