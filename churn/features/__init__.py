"""Snapshots: the features and the label of each user at each cutoff.

Input: the store's daily activity and users. Output: one row per eligible user and
cutoff. README.md beside this file explains windows, clocks, labels and features.
"""
