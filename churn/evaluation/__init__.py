"""How good the forecast is: played through at past cutoffs, as it would have been used."""
