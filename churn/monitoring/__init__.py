"""What came true: past scores against their outcomes, and whether to go on sending.

At every scoring it is kept what was promised and how far the inputs had drifted. As
horizons close, outcomes are compared with that.
"""
