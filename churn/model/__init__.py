"""The forecast: its members, how they are chosen, fitted, corrected and stored."""
