"""A stand-in for Braze's /users/track that listens on this machine only.

It imports nothing else of churn, so that anyone who writes to Braze can use it.
README.md in this folder says what it imitates, and what it doesn't.
"""
