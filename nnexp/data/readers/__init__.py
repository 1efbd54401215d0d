"""Readers of tables in files of many formats, and of tables in memory; each ends in a ``Table``."""
