"""From a ``DatasetConfig`` to a ``Dataset``: tensors, splits, names and a fingerprint."""

from nnexp.data.load import is_here, load, load_source, split
from nnexp.data.types import Dataset, Source

__all__ = ["Dataset", "Source", "is_here", "load", "load_source", "split"]
