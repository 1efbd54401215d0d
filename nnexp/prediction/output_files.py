"""Files of predictions, CSV or Parquet: written block by block, there as a whole or not at all.

Axes: ``M`` rows of a block.
"""

from __future__ import annotations

import contextlib
import csv
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

import numpy as np
from numpy.typing import NDArray

from nnexp.data.table import Cells, Moments, Texts, as_texts
from nnexp.errors import DataError

Values = Cells | NDArray[np.float32]
"""Of a column: cells of the input, names of classes (``Texts``), or probabilities."""


class Writer(Protocol):
    """Takes blocks of columns; all blocks have the same ones."""

    def write(self, columns: Mapping[str, Values]) -> None:
        """Add rows. Raises OSError where the file cannot be written."""


def check_output(output: Path, inputs: Sequence[Path], *, force: bool) -> None:
    """Refuse an output that would destroy something.

    Raises:
        DataError: the output is one of the inputs, is there already and ``force`` is not given,
            has a suffix that is not written, or is in no folder.
    """
    if output.suffix.lower() not in (".csv", ".parquet"):
        raise DataError(f"{output}: must end in .csv or .parquet")
    if not output.absolute().parent.is_dir():
        raise DataError(f"{output}: there is no folder {output.parent}")
    if output.is_dir():
        raise DataError(f"{output}: is a folder")
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise DataError(f"{output}: is the input; give another name")
    if output.exists() and not force:
        raise DataError(f"{output}: is there already; --force replaces it")


@contextlib.contextmanager
def output_file(path: Path | None) -> Iterator[Writer]:
    """A writer of the format that the suffix says, on standard output if there is no path.

    The file appears under its name when the block ends without an error, and is then on the disk.
    """
    if path is None:
        yield CSVWriter(sys.stdout)
        return
    with replacing(path) as temporary:
        if path.suffix.lower() == ".parquet":
            with ParquetWriter(temporary) as writer:
                yield writer
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                yield CSVWriter(file)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, which takes its place if the block ends without an error.

    Raises:
        OSError: it cannot be written; ``path`` is named and left as it was.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp lets nobody else read
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        folder = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class CSVWriter:
    """Comma-separated text; a probability is the shortest text of its float32."""

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._began = False

    def write(self, columns: Mapping[str, Values]) -> None:
        """See ``Writer``."""
        if not self._began:
            self._writer.writerow(columns)
            self._began = True
        self._writer.writerows(zip(*map(_texts, columns.values()), strict=True))


def _texts(values: Values) -> Sequence[str]:
    if isinstance(values, np.ndarray) and values.dtype == np.float32:
        texts: list[str] = values.astype("U16").tolist()
        return texts
    cells = as_texts(values)  # type: ignore[arg-type]
    names = np.array([*cells.values, ""], dtype=object)
    found: list[str] = names[cells.codes].tolist()
    return found


class ParquetWriter:
    """Parquet: text as strings, numbers as float64, probabilities as float32, moments as such."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, columns: Mapping[str, Values]) -> None:
        """See ``Writer``."""
        import pyarrow as pa
        from pyarrow import parquet

        arrays = list(map(_arrow, columns.values()))
        if self._writer is None:
            fields = [
                pa.field(name, array.type) for name, array in zip(columns, arrays, strict=True)
            ]
            self._writer = parquet.ParquetWriter(self._path, pa.schema(fields))
        schema = self._writer.schema
        cast = [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(cast, schema=schema))


def _arrow(values: Values) -> Any:
    import pyarrow as pa

    if isinstance(values, Texts):
        places = pa.array(values.codes, mask=values.codes < 0)
        if not values.values:
            return pa.nulls(len(values.codes), pa.string())
        return pa.array(values.values, pa.string()).take(places)
    if isinstance(values, Moments):
        known = ~np.isnan(values.seconds)
        micros = np.where(known, values.seconds * 1e6, 0).round().astype(np.int64)
        return pa.array(micros, mask=~known).cast(pa.timestamp("us"))
    return pa.array(values, mask=np.isnan(values))
