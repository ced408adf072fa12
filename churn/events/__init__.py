"""The event log, daily activity and users, made from extracts."""
