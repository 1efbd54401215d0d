"""Files in the format of SVMlight and LIBSVM: a label, then the features that are not zero.

Axes: ``M`` rows, ``D`` features.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from nnexp.data.readers.free_memory import require_memory
from nnexp.data.readers.origin import Origin, dropped_columns, no_cells, require_shape
from nnexp.data.source import printable, quoted
from nnexp.data.table import Cells, Table
from nnexp.errors import DataError

TARGET = "label"
"""The name of the first column, which holds the labels."""


def read_svmlight(content: bytes, path: str, drop: Collection[Any] = ()) -> Table:
    """Read a file of SVMlight or LIBSVM into a dense table.

    Its columns are ``label`` and the features by their numbers in the file, which begin at 1, or at
    0 where a feature 0 occurs. A feature that a row does not have is 0.

    Args:
        content: of the file, unpacked.
        path: its name in messages.
        drop: columns that keep their places but are not read.

    Raises:
        ConfigError: no column is as ``drop`` says.
        DataError: naming the line of what is no such row, or the table is too large for memory.
    """
    from sklearn.datasets import load_svmlight_file

    lines = [number for number, line in _rows(content)]
    require_shape(path, None, len(lines), 1)
    try:
        sparse, labels = load_svmlight_file(io.BytesIO(content), zero_based=True)
    except (ValueError, OverflowError) as error:
        _refuse_line(content, path)
        raise DataError(f"{path}: {printable(str(error))}") from None
    num_rows, width = sparse.shape
    require_memory(
        8 * num_rows * max(0, width - len(drop)),
        f"{path}: {num_rows} rows of {width} features, dense,",
        "take fewer rows, or leave features out with dataset.drop",
    )
    by_column = sparse.tocsc()
    first = 0 if width and by_column.indptr[1] else 1  # column 0 is empty where they begin at 1
    names = [TARGET, *(str(number) for number in range(first, width))]
    origin = Origin(path, line=lines.__getitem__)
    if b" qid:" in content:
        origin.notes.append("qid, the query that a row belongs to, is no column")
    dropped = dropped_columns(path, names, len(names), drop)
    columns: list[Cells] = [no_cells(num_rows)] * len(names)
    if 0 not in dropped:
        columns[0] = origin.finite(labels.astype(np.float64), TARGET)
    for column in range(first, width):
        number = column - first + 1
        if number in dropped:
            continue
        dense = np.zeros(num_rows)
        start, stop = by_column.indptr[column : column + 2]
        dense[by_column.indices[start:stop]] = by_column.data[start:stop]
        columns[number] = origin.finite(dense, names[number])
    return origin.table(names, columns, num_rows)


def _rows(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are neither blank nor a comment, with their numbers from 1."""
    for number, line in enumerate(content.split(b"\n"), 1):
        row = line.partition(b"#")[0].strip()
        if row:
            yield number, row


def is_row(line: bytes) -> bool:
    """Return whether a line may be one of such a file: a label, then features by number."""
    return bool(_ROW.fullmatch(line.partition(b"#")[0].strip()))


_NUMBER = rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ROW = re.compile(_NUMBER + rb"(?:\s+qid:\d+)?(?:\s+\d+:" + _NUMBER + rb")*")
_LABELS = re.compile(_NUMBER + rb"(?:," + _NUMBER + rb")+")
_CELL = re.compile(rb"(?:qid:\d+|\d+:" + _NUMBER + rb")")


def _refuse_line(content: bytes, path: str) -> None:
    """Name the first line that is no row."""
    for number, row in _rows(content):
        label, *cells = row.split()
        where = f"{path}: line {number}"
        if _LABELS.fullmatch(label):
            raise DataError(
                f"{where}: {_shown(label)}: several labels a row, where a class is one; "
                "give each row one label"
            )
        if not re.fullmatch(_NUMBER, label):
            raise DataError(f"{where}: the label {_shown(label)} is not a number")
        last = -1
        for cell in cells:
            if not _CELL.fullmatch(cell):
                raise DataError(f"{where}: {_shown(cell)} is no feature, as 3:0.5 is")
            if cell.startswith(b"qid"):
                continue
            feature = int(cell.partition(b":")[0])
            if feature <= last:
                raise DataError(
                    f"{where}: feature {feature} follows feature {last}; their numbers must grow"
                )
            last = feature


def _shown(part: bytes) -> str:
    return quoted(part.decode(errors="backslashreplace"))
