"""Arrays and DataFrames that a user passes as ``data``, and the files that they become."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnexp.api.overrides import quoted as in_hydra
from nnexp.config.schema import ArraysConfig, DatasetConfig, TableConfig
from nnexp.data.sources.arrays import Arrays, checked_arrays, content_of, read_arrays
from nnexp.data.sources.frames import is_frame
from nnexp.errors import ConfigError, DataError
from nnexp.runs.files import write_atomically
from nnexp.tasks import REGRESSION

if TYPE_CHECKING:
    from nnexp.data.sources.labelled import LabelledTable

_ARRAYS = ".npz"
_TABLE = ".feather"
_STEM = "data-"
_OWN_TABLE = re.compile(rf"{_STEM}[0-9a-f]{{12}}{re.escape(_TABLE)}")
_UNWRITTEN = Path("unwritten")  # stands for the folder of the files until the run has one


class UserData(ABC):
    """What was passed as ``data``, and checked as far as the config does not matter."""

    @abstractmethod
    def file_names(self) -> tuple[str, ...]:
        """Return names that other data do not have, so that a folder used again keeps both."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write the files into ``folder``, if they are not there."""

    @abstractmethod
    def overrides(self, given: Sequence[str], folder: Path = _UNWRITTEN) -> list[str]:
        """Return what means these data on the command line, before what the user has given.

        Raises:
            ConfigError: something given means other data.
        """

    @abstractmethod
    def check(self, config: DatasetConfig) -> None:
        """Raise what reading the files by this config would raise, with ``data`` for the file."""


@dataclass(frozen=True, eq=False)
class UserArrays(UserData):
    """``(X, y)``, of numbers."""

    arrays: Arrays

    def file_names(self) -> tuple[str, ...]:
        """See ``UserData``."""
        return (_file_name(self.arrays),)

    def write(self, folder: Path) -> None:
        """See ``UserData``."""
        write_once(self.arrays, folder)

    def overrides(self, given: Sequence[str], folder: Path = _UNWRITTEN) -> list[str]:
        """See ``UserData``."""
        _refuse(given, "dataset")
        path = folder.absolute() / _file_name(self.arrays)
        return ["dataset=arrays", f"dataset.path={in_hydra(str(path))}"]

    def check(self, config: DatasetConfig) -> None:
        """See ``UserData``."""
        if isinstance(config, ArraysConfig) and config.task == REGRESSION:
            self.arrays.quantities("data: y")
        else:
            self.arrays.labels("data: y")


@dataclass(frozen=True, eq=False)
class UserTable(UserData):
    """A DataFrame."""

    data: LabelledTable
    test: LabelledTable | None

    @cached_property
    def _names(self) -> tuple[str, ...]:
        digests = (hashlib.sha256(content).hexdigest()[:12] for content in self._contents())
        stems = (_STEM, f"test-{_STEM}")
        return tuple(f"{stem}{of}{_TABLE}" for stem, of in zip(stems, digests, strict=False))

    def _contents(self) -> Iterator[memoryview]:
        """Of the file of the data, and of that of the test rows if there are any.

        They are made anew for each use: they are as large as the data, which are here already.
        """
        from nnexp.data import table_files

        for rows in filter(None, (self.data, self.test)):
            yield table_files.content_of(rows.table, rows.place, rows.labels)

    def file_names(self) -> tuple[str, ...]:
        """See ``UserData``."""
        return self._names

    def write(self, folder: Path) -> None:
        """See ``UserData``."""
        paths = [folder.absolute() / name for name in self._names]
        if not all(path.exists() for path in paths):
            for path, content in zip(paths, self._contents(), strict=True):
                write_atomically(path, content)

    def overrides(self, given: Sequence[str], folder: Path = _UNWRITTEN) -> list[str]:
        """See ``UserData``."""
        _refuse(given, "dataset", "dataset.path", "dataset.test_path", "dataset.target")
        own = {"dataset.target": self.data.target, "dataset.name": "data"}
        paths = [str(folder.absolute() / name) for name in self._names]
        own |= dict(zip(("dataset.path", "dataset.test_path"), paths, strict=False))
        keys = [_key(text) for text in given]
        return [
            "dataset=table",
            *(f"{key}={_literally(value)}" for key, value in own.items() if key not in keys),
        ]

    def check(self, config: DatasetConfig) -> None:
        """See ``UserData``."""
        from nnexp.data.sources.labelled import whole_table
        from nnexp.data.tabular import understood

        if isinstance(config, TableConfig):
            understood(whole_table(self.data, self.test), config)


def user_data(data: Any, target: str | None, test: Any) -> UserData:
    """Check ``data=(X, y)``, or a DataFrame with a column of labels, and test rows like them.

    Raises:
        ConfigError: neither of both.
        DataError: naming the row and the column of a value that does not fit, or labels that are
            none.
    """
    if _is_pair(data):
        if target is not None:
            raise ConfigError(f"target={target!r}: is for a DataFrame; (X, y) has its labels")
        if not is_frame(data[0]):
            if test is not None and not _is_pair(test):
                raise ConfigError("test: must be (X, y), as data is")
            return UserArrays(checked_arrays(data, test, "data"))
    elif not is_frame(data):
        raise _refused("data")
    table = _labelled(data, target, "data")
    return UserTable(table, None if test is None else _test_rows(test, table))


def write_once(arrays: Arrays, folder: Path) -> Path:
    """Write the arrays into ``folder``, if they are not there; the absolute path of the file."""
    path = folder.absolute() / _file_name(arrays)
    if not path.exists():
        write_atomically(path, content_of(arrays))
    return path


def recorded_classes(
    config: dict[str, Any], folder: Path, names: Sequence[str]
) -> NDArray[Any] | None:
    """Return the classes [C] of a run on arrays or a DataFrame, in the type of the labels.

    None if its data set is of another kind.

    Args:
        folder: of the run; its data are where they were written, or beside it.
        names: of the classes, as the network has them.

    Raises:
        DataError: the file of the data is gone, or damaged.
    """
    dataset = config.get("dataset") or {}
    recorded = Path(str(dataset.get("path") or ""))
    is_table = _OWN_TABLE.fullmatch(recorded.name) is not None
    if recorded.suffix != _ARRAYS and not is_table:
        return None
    for path in (recorded, folder / recorded.name, folder.parent / recorded.name):
        if path.is_file() and is_table:
            from nnexp.data.table_files import classes_of

            return classes_of(path, str(dataset.get("target")), names)
        if path.is_file():
            return read_arrays(path).labels(str(folder)).classes
    raise DataError(f"{recorded}: the run's data are not there any more, which its classes are of")


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2


def _refused(what: str) -> ConfigError:
    return ConfigError(f"{what}: must be (X, y), or a DataFrame beside target='column'")


def _labelled(
    given: Any, target: str | None, what: str, like: LabelledTable | None = None
) -> LabelledTable:
    from nnexp.data.sources.labelled import beside, by_column

    if _is_pair(given):
        return beside(given[0], given[1], what, like)
    if not is_frame(given):
        raise _refused(what)
    if target is None:
        raise ConfigError(f"{what}: a DataFrame needs target='column', the column of the labels")
    return by_column(given, str(target), what)


def _test_rows(test: Any, data: LabelledTable) -> LabelledTable:
    """Of ``data=(X, y)``, a DataFrame with a column that is called as the labels are will do."""
    from nnexp.data.sources.labelled import as_test_rows

    return as_test_rows(_labelled(test, data.target, "test", data), data)


def _file_name(arrays: Arrays) -> str:
    digest = hashlib.sha256(arrays.columns.to_json().encode())
    for array in (arrays.x, arrays.y, arrays.test_x, arrays.test_y):
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return f"{_STEM}{digest.hexdigest()[:12]}{_ARRAYS}"


def _literally(text: str) -> str:
    """As Hydra has it, where OmegaConf is not to look for an interpolation."""
    return in_hydra(text.replace("${", "\\${"))


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def _refuse(given: Sequence[str], *keys: str) -> None:
    """Raise a ConfigError where other data are chosen beside ``data``."""
    for text in given:
        if _key(text) in keys:
            raise ConfigError(f"{text}: data replaces the data set; leave one of them out")
