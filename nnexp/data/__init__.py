"""From a ``DatasetConfig`` to a ``Dataset``: tensors, splits, names and a fingerprint."""

from nnexp.data.dataset import Dataset, ScaledTable
from nnexp.data.load import is_here, load, load_source, split
from nnexp.data.types import Source

__all__ = ["Dataset", "ScaledTable", "Source", "is_here", "load", "load_source", "split"]
