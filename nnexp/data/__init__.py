"""From a ``DatasetConfig`` to a ``Dataset``: tensors, splits, names and a fingerprint."""

from nnexp.data.dataset import Dataset, ScaledTable, load, load_source, split
from nnexp.data.source import Source

__all__ = ["Dataset", "ScaledTable", "Source", "load", "load_source", "split"]
