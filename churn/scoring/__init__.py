"""Probabilities become scores, segments and reasons, and gates say whether they may
be sent.
"""
