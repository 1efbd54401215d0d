"""Say that a table will not fit before it is read."""

from __future__ import annotations

import torch

from nnexp.errors import DataError

_SHARE = 0.8  # of what is free


def require_memory(needed: int, what: str, way_out: str) -> None:
    """Check that so many bytes are free.

    Args:
        what: with the file, as ``a.svm: 9 rows of 3 features, dense,``.

    Raises:
        DataError: they are not.
    """
    free = free_bytes()
    if free is not None and needed > _SHARE * free:
        raise DataError(f"{what} would take {_size(needed)}, and {_size(free)} are free; {way_out}")


def free_bytes() -> int | None:
    """Return how much memory is free; None where nobody says."""
    from nnexp.out_of_memory import memory_of

    found = memory_of(torch.device("cpu"))
    return None if found is None else found[1]


def _size(count: int) -> str:
    unit, name = next((u for u in _UNITS if count >= u[0]), _UNITS[-1])
    return f"{count / unit:,.1f} {name}"


_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
