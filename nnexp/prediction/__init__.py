"""Predictions of trained networks: for files of any length, evaluated, and networks exported."""
