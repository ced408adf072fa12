"""The forecast: what predicts, how it is chosen, fitted, corrected and stored."""
