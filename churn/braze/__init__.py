"""Delivery to Braze: scores and findings in, attribute updates out.

It knows no model, feature or event. README.md in this folder is the guide.
"""
