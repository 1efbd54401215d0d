"""What a file does not say of itself: its separator, and whether its first row is a header."""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections import Counter
from collections.abc import Sequence

from nnexp.config.schema import CSVConfig
from nnexp.data.columns import is_number
from nnexp.data.csv_source.cells import cells_of, lines_of, reader_of
from nnexp.errors import ConfigError, DataError

_SEPARATORS = "\t;|, "  # by how rarely each stands inside a cell
_TYPED = {"\t": "tab"}  # as dataset.separator takes it
_SAMPLE = 200  # rows that are looked at


def find_separator(text: str, config: CSVConfig) -> str:
    """What separates the cells of a table.

    Raises:
        DataError: the file is empty, or nothing separates its cells.
    """
    if not _sample(text, config):
        raise DataError(f"{config.path}: empty, no rows")
    best = _best_separator(text, config)
    if best is None:
        raise DataError(
            f"{config.path}: one column only, or a separator that is none of tab ; | , and space; "
            "give it with dataset.separator"
        )
    return best


def require_separator(text: str, separator: str, config: CSVConfig) -> None:
    """The separator that the config gives stands in the first row.

    Raises:
        ConfigError: it does not; one that does is named.
    """
    reader = reader_of(lines_of(text, config.comment), separator, config.quote)
    with contextlib.suppress(csv.Error):  # told where all rows are read
        rows = (cells_of(cells, separator) for cells in reader)
        if len(next(filter(any, rows), "")) == 1:
            best = _best_separator(text, config)
            hint = f" (did you mean '{_TYPED.get(best, best)}'?)" if best else ""
            raise ConfigError(
                f"dataset.separator={config.separator}: none in line {reader.line_num} of "
                f"{config.path}{hint}"
            )


def _sample(text: str, config: CSVConfig) -> list[str]:
    lines = (line for line in lines_of(text, config.comment) if line.strip())
    return list(itertools.islice(lines, _SAMPLE))


def _best_separator(text: str, config: CSVConfig) -> str | None:
    """The separator that cuts most of the first rows into the same number of cells, at least 2."""
    sample = _sample(text, config)
    best, most = None, 0
    for separator in _SEPARATORS:
        widths: Counter[int] = Counter()
        # A wrong separator breaks quoted cells; the end of the sample may cut a right one.
        with contextlib.suppress(csv.Error):
            for row in reader_of(iter(sample), separator, config.quote):
                widths[len(cells_of(row, separator))] += 1
        width, rows = widths.most_common(1)[0] if widths else (0, 0)
        if width > 1 and rows > most:
            best, most = separator, rows
    return best


def looks_like_header(
    first: Sequence[str], body: Sequence[Sequence[str]], config: CSVConfig
) -> bool:
    """Whether a file's first row names its columns.

    It does not if it is all numbers, has a missing value, or has a text that comes again in its
    column. Else its texts are names; numbers beside them are names if they count up by one. A
    first row without others names columns only if it holds no number.

    Raises:
        DataError: a text stands above numbers, but numbers beside it look like values.
    """
    above_numbers = False
    for name, *cells in zip(first, *body[:_SAMPLE], strict=True):
        if name in cells and not is_number(name) and name:
            return False
        if name in config.missing and name:
            return False
        known = [cell for cell in cells if cell not in config.missing]
        if name and known and not is_number(name) and all(map(is_number, known)):
            above_numbers = True
    numbers = [float(name) for name in first if is_number(name)]
    texts = [name for name in first if name and not is_number(name)]
    if not texts:
        return False
    if not numbers:
        return above_numbers or len(set(texts)) == len(texts)
    if body and len(numbers) > 1 and all(b - a == 1 for a, b in itertools.pairwise(numbers)):
        return True
    if above_numbers:
        raise DataError(
            f"{config.path}: cannot tell whether the first row names the columns; "
            "say so with dataset.header=true or dataset.header=false"
        )
    return False
