"""A table in a text file as a source.

From bytes to a source, a file a step: ``text``, ``found_out`` (separator and header), ``cells``,
``table``, ``labels``, ``features``, and ``source``, which puts them together.
"""

from nnexp.data.csv_source.source import load_csv

__all__ = ["load_csv"]
