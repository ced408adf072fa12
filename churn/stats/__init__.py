"""Statistics as pure functions of arrays; nothing here knows of churn."""
