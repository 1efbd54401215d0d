"""What a run predicted of its test rows: ``predictions.npz``, readable with numpy alone.

Axes: N test rows, C classes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.errors import DataError
from nnexp.runs.files import write_atomically
from nnexp.runs.folder import PREDICTIONS_FILE

_BASELINE = "baseline:"
_OF_BASELINE = "baseline probabilities:"
_OWN = ("probabilities", "labels", "rows")

Classes = NDArray[np.int32]
Answers = NDArray[Any]  # classes, or of a regression quantities in float64


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of the network at its best epoch, and of the baselines, on the same rows in one order.

    Where the target is a number, ``labels`` are floats, ``probabilities`` [N, 1] are what was
    predicted, and so are those of ``baselines`` [N].
    """

    probabilities: NDArray[Any]  # [N, C] float32; of a regression predictions [N, 1] float64
    labels: Answers  # [N], the right classes, or the quantity
    rows: Classes  # [N], their indices in the data set's table
    baselines: Mapping[str, Answers] = field(default_factory=dict)  # classes [N] by name
    baseline_probabilities: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """By name [N, C]: of runs that record further metrics, for the intervals of these."""

    @property
    def is_regression(self) -> bool:
        """Whether the answers are quantities."""
        return self.labels.dtype.kind == "f"

    @property
    def predicted(self) -> Answers:
        """The likeliest class [N] of each row, the first of equals; or the predicted quantity."""
        if self.is_regression:
            return self.probabilities[:, 0]
        classes: Classes = self.probabilities.argmax(1).astype(np.int32)
        return classes


def write_predictions(folder: Path, predictions: Predictions) -> None:
    """Write ``predictions.npz`` into ``folder``, atomically. The same numbers give the same bytes.

    Raises:
        OSError: it cannot be written.
    """
    buffer = io.BytesIO()
    arrays = {name: getattr(predictions, name) for name in _OWN}
    arrays |= {_BASELINE + name: classes for name, classes in predictions.baselines.items()}
    of_baselines = predictions.baseline_probabilities
    arrays |= {_OF_BASELINE + name: values for name, values in of_baselines.items()}
    np.savez(buffer, **arrays)
    write_atomically(folder / PREDICTIONS_FILE, buffer.getbuffer())


def read_predictions(folder: Path) -> Predictions:
    """Read the ``predictions.npz`` of ``folder``.

    Raises:
        DataError: it is missing, damaged, or not what ``write_predictions`` wrote.
    """
    path = folder / PREDICTIONS_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    # What zipfile and numpy raise where bytes are not those that were written.
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise DataError(f"{path} is damaged, or not a file of predictions") from error
    return _checked(path, arrays)


def _checked(path: Path, arrays: dict[str, NDArray[Any]]) -> Predictions:
    missing = [name for name in _OWN if name not in arrays]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}")
    own = {name: arrays[name] for name in _OWN}
    baselines = {
        name.removeprefix(_BASELINE): array
        for name, array in arrays.items()
        if name.startswith(_BASELINE)
    }
    of_baselines = {
        name.removeprefix(_OF_BASELINE): array
        for name, array in arrays.items()
        if name.startswith(_OF_BASELINE)
    }
    num_rows = len(own["labels"]) if own["labels"].ndim == 1 else -1
    every = {**own, **baselines, **{_OF_BASELINE + n: a for n, a in of_baselines.items()}}
    for name, array in every.items():
        if name == "probabilities" or name.startswith(_OF_BASELINE):
            if array.ndim != 2 or array.dtype.kind != "f":
                raise DataError(f"{path}: {name} are {_form(array)}")
        elif array.ndim != 1 or array.dtype.kind not in _kinds(name, own["labels"]):
            raise DataError(f"{path}: {name} is {_form(array)}")
        if len(array) != num_rows:
            raise DataError(f"{path}: {name} has {len(array)} rows, labels have {num_rows}")
    return Predictions(**own, baselines=baselines, baseline_probabilities=of_baselines)


def _kinds(name: str, labels: NDArray[Any]) -> str:
    """Of which kind an array may be: of classes, or of numbers where the labels are."""
    return "f" if labels.dtype.kind == "f" and name != "rows" else "iu"


def _form(array: NDArray[Any]) -> str:
    return f"{list(array.shape)} of {array.dtype}"
