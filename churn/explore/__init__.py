"""What an analyst looks at before modelling.

``inventory``: what came in. ``retention``: who returns after silence. ``definitions``:
which silence to call churn. Every function returns a frame; ``churn.report`` words it.
"""
