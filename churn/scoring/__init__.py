"""Scores, segments and reasons from probabilities, and the gates that check them."""
