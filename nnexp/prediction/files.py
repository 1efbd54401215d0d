"""A file of rows to predict, in any format that is read, as blocks of a table."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnexp.data.blocks import in_blocks_of
from nnexp.data.encoder import Encoder
from nnexp.data.parquet_blocks import parquet_blocks
from nnexp.data.readers.formats import SEPARATED, format_of, read_table_file
from nnexp.data.table import Table, Texts
from nnexp.data.text_blocks import Expected, line_blocks, text_blocks
from nnexp.errors import ConfigError, DataError
from nnexp.prediction.run_options import text_options
from nnexp.runs.trained_network import ROWS_AT_ONCE, TrainedNetwork

Tell = Callable[[int], None]
"""Is told how many bytes of a file have been read."""


def blocks_of(
    path: Path,
    network: TrainedNetwork,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    tell: Tell = lambda _: None,
    *,
    keep: Collection[str] | None = (),
    target: str | None = None,
) -> Iterator[Table]:
    """Read a file in blocks of ``ROWS_AT_ONCE`` rows, the last one with the rest.

    Args:
        network: says which columns there should be; one that reads text takes a line for a row.
        config: of the run, whose ``dataset`` says how a text is written.
        overrides: of these options.
        keep: further columns that are wanted, with text as it was written; None: all of them.
        target: of labels, if it is not that of training.

    Raises:
        ConfigError, DataError: as the readers.
    """
    encoder = network.table_encoder
    options = text_options(config, overrides)
    if network.text_encoder is not None:
        return line_blocks(path, options, ROWS_AT_ONCE, tell)
    expected = _expected(encoder, keep, target)
    suffix = path.suffix.lower()
    if suffix == ".npz" or (suffix == ".npy" and network.encoder is None):
        table = _arrays(path, encoder, network.feature_names)
        return in_blocks_of([table], ROWS_AT_ONCE)
    kind = format_of(str(path), option="path") if path.is_file() else SEPARATED
    if kind == SEPARATED:
        return text_blocks(path, options, expected, ROWS_AT_ONCE, tell)
    if overrides:
        raise ConfigError(f"{overrides[0]}: is for separated text, which {path} is not")
    if kind == "parquet":
        return in_blocks_of(parquet_blocks(path, expected, ROWS_AT_ONCE, tell), ROWS_AT_ONCE)
    table = read_table_file(str(path))
    if kind == "svmlight":
        table = _with_zeros(table, encoder)
    return in_blocks_of([table], ROWS_AT_ONCE)


def _with_zeros(table: Table, encoder: Encoder) -> Table:
    """A sparse table with the columns of training that no row of it has: they are 0."""
    assert table.names is not None
    names = [column.name for column in encoder.columns if column.name not in table.names]
    absent = [name for name in names if name.isdecimal()]
    return dataclasses.replace(
        table,
        names=(*table.names, *absent),
        columns=[*table.columns, *(np.zeros(table.num_rows) for _ in absent)],
    )


def _expected(encoder: Encoder, keep: Collection[str] | None, target: str | None) -> Expected:
    numeric = {
        column.name
        for column in encoder.columns
        if column.kind == "numeric" and column.number_format.is_plain
    }
    # A network of arrays gives its features numbers and names; a table without names, numbers.
    by_number = all(column.name == f"column {column.number}" for column in encoder.columns)
    return Expected(
        None if by_number else tuple(column.name for column in encoder.columns),
        frozenset(numeric.difference(numeric if keep is None else keep)),
        encoder.missing,
        _needed(encoder, keep, target),
    )


def _needed(
    encoder: Encoder, keep: Collection[str] | None, target: str | None
) -> frozenset[str] | None:
    """Names of the columns that are read; None: all of them."""
    if keep is None or target is not None:  # which may be the number of a column
        return None
    labels = () if encoder.target is None else (encoder.target,)
    return frozenset((*(column.name for column in encoder.columns), *labels, *keep))


def _arrays(path: Path, encoder: Encoder, feature_names: Sequence[str]) -> Table:
    """The ``x`` of an .npz file, and its ``y`` if it has one; or an .npy file, which is x."""
    if tuple(column.name for column in encoder.columns) != tuple(feature_names):
        raise DataError(
            f"{path}: holds numbers alone, but the network was trained on a table with the "
            f"columns {', '.join(column.name for column in encoder.columns)}; give such a table"
        )
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            found = {"x": loaded}
        else:
            with loaded as file:
                found = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise DataError(f"{path}: no file of arrays, or a damaged one") from error
    if "x" not in found:
        raise DataError(f"{path}: lacks the array x; it holds {', '.join(sorted(found))}")
    x, y = found["x"], found.get("y")
    if x.dtype.kind not in "biuf":
        raise DataError(f"{path}: x must hold numbers, got {x.dtype}")
    if x.ndim != 2 or x.shape[1] != len(feature_names):
        raise DataError(
            f"{path}: x must be [rows, {len(feature_names)}], a column for each feature; got "
            f"{list(x.shape)}"
        )
    columns: list[Any] = list(x.astype(np.float64).T)
    names = list(feature_names)
    if y is not None:
        if y.shape != (len(x),):
            raise DataError(f"{path}: y must be [{len(x)}], a label for each row of x")
        columns.append(Texts.of(map(str, y.tolist())))
        names.append(encoder.target or "y")
    return Table(str(path), tuple(names), columns, len(x))
