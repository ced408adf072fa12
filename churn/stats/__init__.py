"""Statistics as pure functions of numpy arrays.

Throughout, n is the number of observations and k the number of rows of weights, each of
which stands for a resample: with one row of ones a function returns the plain figure.
"""
