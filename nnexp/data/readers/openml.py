"""Data sets of OpenML by name or number: downloaded once by scikit-learn, checked, and kept.

Axes: ``M`` rows, ``D`` columns.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import numpy as np

from nnexp.data.readers.frames import table_of_frame
from nnexp.data.readers.free_memory import require_memory
from nnexp.data.readers.numpy_cells import cells_of_array
from nnexp.data.readers.origin import Origin, first_line, require_shape, texts_in_use
from nnexp.data.table import Cells, Table
from nnexp.errors import ConfigError, DataError


@dataclass(frozen=True)
class OpenMLQuery:
    """Which data set of OpenML is meant: by name, and perhaps version, or by number."""

    name: str | None = None
    version: int | None = None  # None: the oldest that is active
    data_id: int | None = None
    target: str | None = None  # None: the target that OpenML names
    cache: str | None = None  # a folder; None: nnexp's in the user's cache folder

    def __str__(self) -> str:
        """For messages."""
        if self.data_id is not None:
            return f"OpenML {self.data_id}"
        return f"OpenML {self.name}" + (f" version {self.version}" if self.version else "")


def openml_table(query: OpenMLQuery) -> tuple[Table, str]:
    """Return a data set of OpenML, from the cache or downloaded, and the name of its target.

    scikit-learn's ``fetch_openml`` checks what it has by OpenML's MD5. Columns that OpenML says to
    ignore, and identifiers of rows, are left out. A sparse data set becomes dense.

    Raises:
        ConfigError: neither a name nor a number, both, or no column is called as ``target``.
        DataError: OpenML has no such data set or cannot be reached, the file in the cache is
            damaged, or a column cannot be read.
    """
    if (query.name is None) == (query.data_id is None):
        raise ConfigError("dataset=openml: give either the name of a data set or its data_id")
    if query.version is not None and query.data_id is not None:
        raise ConfigError("dataset=openml: a version goes with a name; a data_id says it all")
    cache = cache_folder(query.cache)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        bunch = _fetched(query, cache)
    details = bunch.details
    # Libraries warn of their own future by other classes.
    notes = [_note(warning) for warning in told if issubclass(warning.category, UserWarning)]
    origin = Origin(
        f"OpenML {details['name']} (version {details['version']}, data_id {details['id']})",
        notes=notes,
    )
    table = _table(bunch, origin)
    if query.target is not None:
        return table, table.title(table.find(query.target, "target"))
    targets = [str(name) for name in bunch.target_names]
    if len(targets) == 1:
        return table, targets[0]
    has = f"{len(targets)} targets, {', '.join(targets)}" if targets else "no target of its own"
    raise ConfigError(f"{origin.path}: has {has}; name one column with dataset.target")


def cache_folder(given: str | None) -> Path:
    """Return the folder that keeps what was downloaded."""
    if given is not None:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nnexp"


def _note(warning: warnings.WarningMessage) -> str:
    """What OpenML says of a data set, in one line: that it has errors, or newer versions."""
    return " ".join(str(warning.message).split())


def _fetched(query: OpenMLQuery, cache: Path) -> Any:
    from sklearn.datasets import fetch_openml

    has_pandas = importlib.util.find_spec("pandas") is not None
    try:
        return fetch_openml(
            name=query.name,
            version="active" if query.version is None else query.version,
            data_id=query.data_id,
            data_home=cache,
            target_column="default-target" if query.target is None else None,
            as_frame="auto" if has_pandas else False,
            parser="auto" if has_pandas else "liac-arff",
        )
    except (HTTPError, URLError, TimeoutError, ConnectionError) as error:
        reason = first_line(getattr(error, "reason", error))
        code = f"HTTP {error.code} {reason}" if isinstance(error, HTTPError) else reason
        raise DataError(
            f"{query}: not in the cache {cache}, and OpenML cannot be reached ({code}); run it "
            "once where there is a network, or set dataset.cache to a folder that has it"
        ) from error
    except OSError as error:
        raise DataError(f"{cache}: cannot be used as a cache, {first_line(error)}") from error
    except ValueError as error:
        if "STRING" in str(error):
            raise DataError(
                f"{query}: has columns of text, which take pandas to read; install nnexp[pandas]"
            ) from error
        if "md5" in str(error):
            raise DataError(
                f"{query}: the file in {cache} is not the published one (its MD5 is another); "
                "remove that folder, and it is downloaded again"
            ) from error
        raise DataError(f"{query}: {first_line(error)}") from error


def _table(bunch: Any, origin: Origin) -> Table:
    if bunch.frame is not None:
        table = table_of_frame(bunch.frame, origin.path)
        return origin.table(table.names, table.columns, table.num_rows)
    return _of_arrays(bunch, origin)


def _of_arrays(bunch: Any, origin: Origin) -> Table:
    """Without pandas, or of a sparse data set: numbers [M, D], which stand for categories."""
    data, targets = bunch.data, bunch.target
    num_rows = data.shape[0]
    require_memory(
        8 * num_rows * data.shape[1],
        f"{origin.path}: {num_rows} rows of {data.shape[1]} features, dense,",
        "take another data set",
    )
    if hasattr(data, "tocsc"):
        data = data.tocsc()
    names = [str(name) for name in bunch.feature_names]
    columns: list[Cells] = []
    for number, name in enumerate(names):
        values = data[:, [number]].toarray() if hasattr(data, "tocsc") else data[:, [number]]
        columns.append(_cells(values.reshape(-1), bunch.categories.get(name), name, origin))
    if targets is not None:
        by_target = np.asarray(targets).reshape(num_rows, -1)
        for number, name in enumerate(map(str, bunch.target_names)):
            names.append(name)
            columns.append(cells_of_array(by_target[:, number], name, origin))
    require_shape(origin.path, names, num_rows, len(names))
    return origin.table(names, columns, num_rows)


def _cells(values: Any, categories: Any, name: str, origin: Origin) -> Cells:
    if categories is None:
        return cells_of_array(values.astype(np.float64), name, origin)
    codes = np.where(np.isnan(values), -1, values).astype(np.int32)
    return texts_in_use(codes, [str(category).strip() for category in categories])
