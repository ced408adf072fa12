"""Delivery: scores and findings in, attribute updates out. Knows no model, feature or
event.
"""
