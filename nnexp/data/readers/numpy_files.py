"""NumPy's .npy files: a table [M, D], or a structured array [M] with a column for each field.

Axes: ``M`` rows, ``D`` columns.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.data.readers.numpy_cells import table_of_array
from nnexp.data.readers.origin import Origin, first_line
from nnexp.data.table import Table
from nnexp.errors import DataError

MAGIC = b"\x93NUMPY"


def read_npy(file: Path, path: str, drop: Collection[Any] = ()) -> Table:
    """Read an .npy file, which is mapped into memory and read column by column.

    Args:
        path: the file's name in messages.
        drop: columns that keep their places but are not read, whatever they hold.

    Raises:
        ConfigError: no column is as ``drop`` says.
        DataError: the file is damaged, holds Python objects or no table.
    """
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise DataError(
                f"{path}: holds Python objects, which are not read since that could run code; save "
                "an array of numbers or text, or write the table as Parquet"
            ) from None
        raise DataError(f"{path}: damaged .npy file, {first_line(error)}") from error
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: damaged .npy file, {first_line(error)}") from error
    return table_of_array(array, Origin(path), drop)
