"""Files beside the data that say of each row where it belongs: its part, or its fold.

Axes: ``M`` rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.data.source import Indices, quoted
from nnexp.data.split_columns import fold_number
from nnexp.errors import DataError

PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What a part of a split is called, by the words that stand for it."""


def read_split_file(path: str, num_rows: int, name: str) -> dict[str, Indices]:
    """Return the rows of each part that a file names, ascending, at least those of ``test``.

    The file says train, val or test, a line for each row; or it is JSON, an object of lists of row
    numbers from 0.

    Args:
        name: of the data set, for messages.

    Raises:
        DataError: a file that is missing or says something else, or of another number of rows.
    """
    what = f"dataset.split_file={path}"
    text = _read(path, what)
    if text.lstrip().startswith(("{", "[")):
        parts = _parts_of_json(text, num_rows, name, what)
    else:
        lines = _lines(text, num_rows, name, what, lambda word: word.lower() in PARTS)
        words = [PARTS.get(word.lower(), "") for word, _ in lines]
        if "" in words:
            word, number = lines[words.index("")]
            raise DataError(f"{what}: line {number}: {quoted(word)} is none of train, val and test")
        of_row = np.array(words)
        parts = {part: np.flatnonzero(of_row == part) for part in dict.fromkeys(words)}
    if not len(parts.get("test", ())):
        raise DataError(f"{what}: sets no test row apart")
    return parts


def read_fold_file(path: str, num_rows: int, name: str) -> Indices:
    """Return the fold of each row [M], which the file holds a line each.

    Raises:
        DataError: as ``read_split_file``.
    """
    what = f"dataset.fold_file={path}"
    lines = _lines(_read(path, what), num_rows, name, what, lambda word: fold_number(word) >= 0)
    folds = [fold_number(word) for word, _ in lines]
    for (word, number), fold in zip(lines, folds, strict=True):
        if fold < 0:
            raise DataError(
                f"{what}: line {number}: {quoted(word)} is not the number of a fold, 0, 1, 2, ..."
            )
    return np.array(folds, np.int64)


def _read(path: str, what: str) -> str:
    try:
        return Path(path).expanduser().read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{what}: no such file") from None
    except OSError as error:
        raise DataError(f"{what}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise DataError(f"{what}: is no text in UTF-8") from None


def _lines(text: str, num_rows: int, name: str, what: str, fits: Any) -> list[tuple[str, int]]:
    """The word of each row and the number of its line; one line more may be a header."""
    lines = [(line.strip().strip("\"'"), at) for at, line in enumerate(text.splitlines(), start=1)]
    while lines and not lines[-1][0]:
        lines.pop()
    if len(lines) == num_rows + 1 and not fits(lines[0][0]):
        lines = lines[1:]
    if len(lines) != num_rows:
        raise DataError(f"{what}: has {len(lines)} lines, but {name} has {num_rows} rows")
    return lines


def _parts_of_json(text: str, num_rows: int, name: str, what: str) -> dict[str, Indices]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"{what}: is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{what}: is no object with lists of rows, train, val and test")
    parts: dict[str, Indices] = {}
    part_of = np.full(num_rows, "", dtype="U5")
    for key, rows in found.items():
        part = PARTS.get(key.lower())
        if part is None or part in parts:
            problem = "is given twice" if part else "is none of train, val and test"
            raise DataError(f"{what}: {quoted(key)} {problem}")
        for row in rows if isinstance(rows, list) else [rows]:
            if type(row) is not int or not isinstance(rows, list):
                raise DataError(
                    f"{what}: {quoted(key)} must be a list of row numbers, got "
                    f"{quoted(json.dumps(row))}"
                )
            if not 0 <= row < num_rows:
                raise DataError(
                    f"{what}: {quoted(key)} has row {row}, but {name} has rows 0 to {num_rows - 1}"
                )
            if part_of[row]:
                other = f"{part_of[row]} and {part}" if part_of[row] != part else f"{part} twice"
                raise DataError(f"{what}: row {row} is in {other}")
            part_of[row] = part
        parts[part] = np.flatnonzero(part_of == part)
    return {part: rows for part, rows in parts.items() if len(rows)}  # of none it says nothing
