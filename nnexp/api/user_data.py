"""Arrays and DataFrames that a user passes as ``data``, and the files that they become."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.api.overrides import quoted as in_hydra
from nnexp.data.source import quoted
from nnexp.data.sources.arrays import Arrays, checked_arrays, content_of, read_arrays
from nnexp.data.sources.frames import is_frame
from nnexp.errors import ConfigError, DataError
from nnexp.runs.files import write_atomically

_SUFFIX = ".npz"
_STEM = "data-"


def arrays_of(data: Any, target: str | None, test: Any) -> Arrays:
    """Check ``data=(X, y)``, or a DataFrame with a column of labels, and test rows like them.

    Raises:
        ConfigError: neither of both.
        DataError: naming the row and the column of a value that is missing or does not fit, or
            labels that are none.
    """
    given = _parts(data, target, "data")
    return checked_arrays(given, None if test is None else _parts(test, target, "test"), "data")


def file_name(arrays: Arrays) -> str:
    """A name that other data do not have, so that a folder that is used again keeps both."""
    digest = hashlib.sha256(arrays.columns.to_json().encode())
    for array in (arrays.x, arrays.y, arrays.test_x, arrays.test_y):
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return f"{_STEM}{digest.hexdigest()[:12]}{_SUFFIX}"


def write_once(arrays: Arrays, folder: Path) -> Path:
    """Write the arrays into ``folder``, if they are not there; the absolute path of the file."""
    path = folder.absolute() / file_name(arrays)
    if not path.exists():
        write_atomically(path, content_of(arrays))
    return path


def dataset_overrides(path: Path) -> list[str]:
    """What of the command line means this file."""
    return ["dataset=arrays", f"dataset.path={in_hydra(str(path))}"]


def refuse_dataset(overrides: list[str]) -> None:
    """Raise a ConfigError where a data set is chosen beside ``data``."""
    for text in overrides:
        if text.lstrip("+").startswith("dataset="):
            raise ConfigError(f"{text}: data replaces the data set; leave one of them out")


def recorded_arrays(config: dict[str, Any], folder: Path) -> Arrays | None:
    """The arrays that a run was trained on, from where they were written or beside the run.

    None if its data set is of another kind.

    Raises:
        DataError: the file is gone, or damaged.
    """
    dataset = config.get("dataset") or {}
    recorded = Path(str(dataset.get("path") or ""))
    if recorded.suffix != _SUFFIX:
        return None
    for path in (recorded, folder / recorded.name, folder.parent / recorded.name):
        if path.is_file():
            return read_arrays(path)
    raise DataError(f"{recorded}: the run's data are not there any more, which its classes are of")


def _parts(data: Any, target: str | None, what: str) -> tuple[Any, Any]:
    """Features and labels, apart."""
    if isinstance(data, tuple) and len(data) == 2:
        if target is not None and what == "data":
            raise ConfigError(f"target={target!r}: is for a DataFrame; (X, y) has its labels")
        return data[0], data[1]
    if not is_frame(data):
        raise ConfigError(f"{what}: must be (X, y), or a DataFrame beside target='column'")
    names = [str(name) for name in data.columns]
    if target is None:
        raise ConfigError(f"{what}: a DataFrame needs target='column', the column of the labels")
    if str(target) not in names:
        raise DataError(f"{what}: has no column {quoted(str(target))}; it has {', '.join(names)}")
    key = next(key for key in data.columns if str(key) == str(target))
    rest = [other for other in data.columns if other is not key and str(other) != str(target)]
    return data[rest], np.asarray(data[key])
