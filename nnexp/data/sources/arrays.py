"""Arrays as a source: an .npz file with the table, its labels and, if there are, test rows.

Axes: ``M`` rows, ``N`` test rows, ``D`` features.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.config.schema import ArraysConfig
from nnexp.data.source import Doubles, Indices, Source, quoted
from nnexp.data.sources.frames import (
    Columns,
    Labels,
    encode_labels,
    is_frame,
    labels_of,
    numbers_of,
    quantities_of,
    shape_of,
)
from nnexp.errors import DataError
from nnexp.tasks import CLASSIFICATION, REGRESSION

_KINDS = "biuf"


@dataclass(frozen=True, eq=False)
class Arrays:
    """What an .npz file of a data set holds: features, and labels as they are."""

    x: NDArray[Any]  # [M, D], finite numbers
    y: NDArray[Any]  # [M], as ``labels_of`` returns them
    columns: Columns  # that the features are, or were made from
    test_x: NDArray[Any] | None = None  # [N, D], official test rows
    test_y: NDArray[Any] | None = None  # [N]

    def labels(self, where: str) -> Labels:
        """Encode the labels of all rows, test rows last.

        Raises:
            DataError: one class only, or a class that only test rows have.
        """
        if self.test_y is None:
            return encode_labels(self.y, where)
        known = np.unique(self.y)
        for row in np.flatnonzero(~np.isin(self.test_y, known))[:1]:
            raise DataError(
                f"{where}: test row {row}: no training row has the class "
                f"{quoted(str(self.test_y[row]))}"
            )
        return encode_labels(np.concatenate([self.y, self.test_y]), where)

    def quantities(self, where: str) -> Doubles:
        """Return the target of a regression of all rows, test rows last.

        Raises:
            DataError: it is no number, or all are one number.
        """
        y = self.y if self.test_y is None else np.concatenate([self.y, self.test_y])
        return quantities_of(y, where)


def checked_arrays(given: tuple[Any, Any], test: tuple[Any, Any] | None, what: str) -> Arrays:
    """Check features and labels, and test rows like them; whether the labels are classes or a
    quantity is asked when the task is known.

    Args:
        given: X, an array of numbers, and y.
        what: the name of ``given`` in messages; test rows are called ``test``.

    Raises:
        DataError: naming the row and the column of a value that is missing or does not fit, or
            labels that are none.
    """
    _rows, width = shape_of(given[0], f"{what}: X")
    columns = Columns.of_numbers([f"x{i}" for i in range(width)])
    x, y = _checked_pair(*given, columns, what)
    if test is None:
        arrays = Arrays(x, y, columns)
    else:
        test_x, test_y = _checked_pair(*test, columns, "test")
        if (test_y.dtype.kind == "U") != (y.dtype.kind == "U"):
            raise DataError(f"test: y holds {test_y.dtype}, but the labels of {what} are {y.dtype}")
        arrays = Arrays(x, y, columns, test_x, test_y)
    return arrays


def content_of(arrays: Arrays) -> memoryview:
    """Return what an .npz file of the arrays holds. The same arrays give the same bytes."""
    content: dict[str, Any] = {
        "x": arrays.x,
        "y": arrays.y,
        "columns": np.array(arrays.columns.to_json()),
    }
    if arrays.test_x is not None and arrays.test_y is not None:
        content |= {"test_x": arrays.test_x, "test_y": arrays.test_y}
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    return buffer.getbuffer()


def read_arrays(path: Path) -> Arrays:
    """Read an .npz file of a data set, whoever wrote it.

    Raises:
        DataError: it is missing, damaged, or not what ``ArraysConfig`` describes.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: holds a single array; an .npz file has x and y")
            found = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataError(f"dataset.path={path}: no such file") from None
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise DataError(f"{path}: no .npz file of arrays, or a damaged one") from error
    lacking = [name for name in ("x", "y") if name not in found]
    if lacking:
        there = ", ".join(sorted(found)) or "nothing"
        raise DataError(f"{path}: lacks the array {lacking[0]}; it holds {there}")
    if ("test_x" in found) != ("test_y" in found):
        raise DataError(f"{path}: test_x and test_y go together, and one of them is absent")
    return _checked(found, path)


def load_arrays(config: ArraysConfig) -> Source:
    """The rows of ``config.path``, its test rows last. Raises DataError as ``read_arrays``."""
    arrays = read_arrays(Path(config.path).expanduser())
    return _source(config.name, arrays, config.path, config.task)


def source_of(name: str, loaded: Any, what: str, task: str = CLASSIFICATION) -> Source:
    """The rows of a data set of another package.

    Args:
        task: of the run: auto, classification or regression.
        loaded: ``(X, y)`` or ``(X, y, test_X, test_y)``. A DataFrame is a table as any file is,
            with the options of ``ColumnsConfig`` at their defaults.
        what: who returned it, for messages.

    Raises:
        DataError: it is something else, or as ``checked_arrays`` or ``source_of_table``.
    """
    if not isinstance(loaded, tuple) or len(loaded) not in (2, 4):
        shown = f"{len(loaded)} values" if isinstance(loaded, tuple) else type(loaded).__name__
        raise DataError(f"{what} must return (X, y) or (X, y, test_X, test_y), not {shown}")
    test = (loaded[2], loaded[3]) if len(loaded) == 4 else None
    if is_frame(loaded[0]):
        from nnexp.data.sources.labelled import source_of_frame

        return source_of_frame(name, (loaded[0], loaded[1]), test, what, task)
    return _source(name, checked_arrays((loaded[0], loaded[1]), test, what), what, task)


def _source(name: str, arrays: Arrays, where: str, task: str) -> Source:
    y: Indices | Doubles
    names: tuple[str, ...] = ()
    if task == REGRESSION:
        y = arrays.quantities(f"{where}: y")
    else:
        labels = arrays.labels(f"{where}: y")
        y, names = labels.codes, labels.names
    x, test = arrays.x, None
    if arrays.test_x is not None:
        test = np.arange(len(x), len(x) + len(arrays.test_x), dtype=np.int64)
        x = np.concatenate([x, arrays.test_x])
    return Source(
        name=name,
        x=x.astype(np.float64),
        y=y,
        class_names=names,
        feature_names=arrays.columns.feature_names,
        one_hot=arrays.columns.one_hot,
        test=test,
    )


def require_finite(x: NDArray[Any], names: tuple[str, ...], where: str) -> None:
    """Check features [M, D].

    Raises:
        DataError: naming the first that is not finite, by row, column and value.
    """
    for row, column in np.argwhere(~np.isfinite(x))[:1]:
        name, value = quoted(names[column]), x[row, column]
        raise DataError(f"{where}: row {row}, column {name}: {value:g} is not a finite number")


def _checked(found: dict[str, NDArray[Any]], path: Path) -> Arrays:
    columns = _columns(found, path)
    names = columns.feature_names
    parts: dict[str, NDArray[Any]] = {}
    for prefix in ("", "test_") if "test_x" in found else ("",):
        x = found[f"{prefix}x"]
        y = labels_of(found[f"{prefix}y"], f"{path}: {prefix}y", fractions=True)
        where = f"{path}: {prefix}x"
        rows, width = shape_of(x, where)
        if x.dtype.kind not in _KINDS:
            raise DataError(f"{where}: must hold numbers, got {x.dtype}")
        if width != len(names):
            raise DataError(f"{where}: has {width} columns, but there are {len(names)} names")
        if rows != len(y):
            raise DataError(f"{where}: has {rows} rows, but {prefix}y has {len(y)}")
        require_finite(x, names, where)
        parts |= {f"{prefix}x": x, f"{prefix}y": y}
    return Arrays(**parts, columns=columns)


def _columns(found: dict[str, NDArray[Any]], path: Path) -> Columns:
    """What the file says of its columns, or numbers named by ``feature_names``, or x0, x1, ..."""
    if "columns" in found:
        try:
            return Columns.from_json(str(found["columns"]))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: its description of columns is damaged") from error
    if "feature_names" in found:
        names = tuple(map(str, found["feature_names"].reshape(-1).tolist()))
    else:
        names = tuple(f"x{i}" for i in range(shape_of(found["x"], f"{path}: x")[1]))
    return Columns.of_numbers(names)


def _checked_pair(x: Any, y: Any, columns: Columns, what: str) -> tuple[NDArray[Any], NDArray[Any]]:
    labels = labels_of(y, f"{what}: y", fractions=True)
    features = numbers_of(x, columns.names, f"{what}: X")
    if len(features) != len(labels):
        raise DataError(f"{what}: X has {len(features)} rows, but y has {len(labels)}")
    if not len(labels):
        raise DataError(f"{what}: has no rows")
    return features, labels
