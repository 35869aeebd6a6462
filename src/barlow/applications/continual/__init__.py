"""One network that learns from data sets one after another, and what keeps it from forgetting the first ones."""
