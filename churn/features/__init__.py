"""Daily activity becomes snapshots: features and a label per user and cutoff."""
