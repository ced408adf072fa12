"""The ledger: what Braze acknowledged, kept in SQLite or PostgreSQL.

It is what the next export compares scores with, what an interrupted run is completed
from, and what a bad run is restored from.
"""
