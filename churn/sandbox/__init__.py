"""A stand-in for Braze's /users/track on loopback. Useful to anyone who writes to it;
imports nothing of churn.
"""
