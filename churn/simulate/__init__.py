"""Simulated apps whose true churn probabilities are known, written as vendors' extracts."""
