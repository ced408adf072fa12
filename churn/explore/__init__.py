"""What came in, who returns after silence, and which silence to call churn."""
