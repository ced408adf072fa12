"""The forecasting model: how its members are chosen, fitted, corrected and stored."""
