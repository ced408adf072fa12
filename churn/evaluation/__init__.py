"""How good the forecast is, measured at past cutoffs as it would have been used."""
