"""Extracts become an event log, daily activity and users."""
