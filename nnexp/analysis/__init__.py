"""Statistics over the results of many runs."""
