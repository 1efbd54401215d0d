"""Sweeps: many runs composed, planned and trained together, each as if it had run alone."""
