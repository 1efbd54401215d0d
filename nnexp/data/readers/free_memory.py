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
    from nnexp.out_of_memory import memory_of

    found = memory_of(torch.device("cpu"))
    if found is not None and needed > _SHARE * found[1]:
        raise DataError(
            f"{what} would take {_gigabytes(needed)}, and {_gigabytes(found[1])} are free; "
            f"{way_out}"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
