"""Columns of Arrow as the cells of a table; what Parquet, Feather and DataFrames have in common.

| Arrow's type | cells |
|---|---|
| integers, floats | numbers; a column with an integer beyond 2**53, which no float64 holds: texts |
| decimals | the nearest numbers; a column with more than 15 digits, where those differ: texts |
| booleans | the texts True and False |
| text, text in bytes, dictionaries | texts, each distinct one once; blanks around are taken off |
| dates, timestamps | moments; without a time zone they are taken for UTC |
| times of day | text, 13:30:00, as files of text have it |
| durations | numbers of seconds, which a note says |
| null | no cells |
| lists, structs, maps, unions, bytes, extension types | refused, naming column and type |

Axes: ``M`` rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nnexp.data.readers.origin import (
    DIGITS,
    EXACT,
    Origin,
    first_line,
    no_cells,
    texts_in_use,
    texts_of_booleans,
)
from nnexp.data.source import Doubles, quoted
from nnexp.data.table import Cells, Moments, Texts, as_texts
from nnexp.errors import DataError

_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86400.0


def cells_of_arrow(column: pa.ChunkedArray, name: str, origin: Origin) -> Cells:
    """Return the cells of an Arrow column [M].

    Raises:
        DataError: a column of a type that is no single value a row, or naming the row of a value
            that is infinite or no text.
    """
    kind = column.type
    if pa.types.is_run_end_encoded(kind):
        column = pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks])
        kind = column.type
    if pa.types.is_dictionary(kind):
        return _of_dictionaries(column, name, origin)
    if pa.types.is_boolean(kind):
        return _of_booleans(column)
    if pa.types.is_floating(kind):
        return origin.finite(_doubles(column), name)
    if pa.types.is_integer(kind):
        return _of_integers(column)
    if pa.types.is_decimal(kind):
        return _of_decimals(column)
    if _is_text(kind) or _is_bytes(kind):
        text = _text(column, name, origin)
        return _of_dictionaries(text.dictionary_encode(), name, origin)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return _of_moments(column)
    if pa.types.is_time(kind):
        text = pc.replace_substring_regex(column.cast(pa.string()), r"(\.\d*?)0+$", r"\1")
        text = pc.replace_substring_regex(text, r"\.$", "")
        return _of_dictionaries(text.dictionary_encode(), name, origin)
    if pa.types.is_duration(kind):
        origin.converted(name, f"is a duration ({kind}), read as a number of seconds")
        return _seconds(column)
    if pa.types.is_null(kind):
        return no_cells(len(column))
    raise origin.refused(name, f"holds {kind}, which is not one value a row")


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _doubles(column: pa.ChunkedArray) -> Doubles:
    """Numbers [M], NaN for a null; copied, so that Arrow's memory is free once they are read."""
    values = np.empty(len(column))
    start = 0
    for chunk in column.chunks:
        stop = start + len(chunk)
        values[start:stop] = chunk.to_numpy(zero_copy_only=False)
        start = stop
    return values


def _of_booleans(column: pa.ChunkedArray) -> Texts:
    known = None if not column.null_count else column.is_valid().to_numpy()
    return texts_of_booleans(column.fill_null(False).to_numpy(), known)


def _of_integers(column: pa.ChunkedArray) -> Cells:
    return _doubles(column) if are_exact(column) else _of_texts(column.cast(pa.string()))


def are_exact(integers: pa.ChunkedArray | pa.Array) -> bool:
    """Return whether every integer is a float64."""
    limits = pc.min_max(integers).as_py()
    return limits["min"] is None or -EXACT <= limits["min"] <= limits["max"] <= EXACT


def _of_decimals(column: pa.ChunkedArray) -> Cells:
    """By way of text, which is rounded correctly; Arrow's own conversion is off by a bit or so."""
    text = column.cast(pa.string())
    if column.type.precision > DIGITS:
        digits = pc.replace_substring_regex(text, r"E.*$|[-.]", "")
        longest = pc.max(pc.utf8_length(pc.utf8_trim(digits, "0"))).as_py()
        if longest is not None and longest > DIGITS:
            return _of_texts(pc.replace_substring_regex(text, r"(\.\d*?)0+$|\.$", r"\1"))
    return _doubles(text.cast(pa.float64()))


def _of_moments(column: pa.ChunkedArray) -> Moments:
    if pa.types.is_date(column.type):
        return Moments(_doubles(column.cast(pa.date32()).cast(pa.int32())) * _DAY, has_time=False)
    seconds = _seconds(column)
    has_time = column.type.tz is not None or bool(np.any(seconds[~np.isnan(seconds)] % _DAY))
    return Moments(seconds, has_time)


def _seconds(column: pa.ChunkedArray) -> Doubles:
    """Integers of some unit as seconds, to the nearest float64."""
    integers = column.cast(pa.int32() if pa.types.is_time32(column.type) else pa.int64())
    return _doubles(integers) / _SECOND[column.type.unit]


def _text(column: pa.ChunkedArray, name: str, origin: Origin) -> pa.ChunkedArray:
    """As text. Some programs write text to Parquet as bytes without saying that it is text."""
    if _is_text(column.type):
        is_view = pa.types.is_string_view(column.type)
        return column.cast(pa.large_string()) if is_view else column
    try:
        return column.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        raise origin.refused(name, f"holds {column.type} that is not UTF-8 text") from None


def _of_texts(column: pa.ChunkedArray) -> Texts:
    """Texts [M] without blanks around them."""
    return _joined(column.dictionary_encode(), _values)


def _values(dictionary: pa.Array) -> list[str | None]:
    return [None if value is None else value.strip() for value in dictionary.to_pylist()]


def _of_dictionaries(column: pa.ChunkedArray, name: str, origin: Origin) -> Texts:
    """Codes and texts [M], whatever the type of the values; chunks may differ in their values."""

    def values(dictionary: pa.Array) -> list[str | None]:
        if _is_text(dictionary.type):
            return _values(dictionary)
        inner = Origin(origin.path, way_out=origin.way_out)
        texts = as_texts(cells_of_arrow(pa.chunked_array([dictionary]), name, inner))
        return [None if code < 0 else texts.values[code] for code in texts.codes.tolist()]

    try:
        return _joined(column, values)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{origin.path}: column {quoted(name)}: a text is not UTF-8 ({first_line(error)})"
        ) from None


def _joined(column: pa.ChunkedArray, values: Callable[[pa.Array], list[str | None]]) -> Texts:
    """Codes [M] into the texts of all chunks; ``values`` gives those of a chunk's dictionary."""
    places: dict[str, int] = {}
    codes = np.empty(len(column), np.int32)
    start = 0
    last: pa.Array | None = None
    new: NDArray[np.int32] = np.empty(0, np.int32)
    for chunk in column.chunks:
        if last is None or not chunk.dictionary.equals(last):
            last = chunk.dictionary
            found = [
                -1 if text is None else places.setdefault(text, len(places))
                for text in values(last)
            ]
            new = np.array([*found, -1], np.int32)
        stop = start + len(chunk)
        indices = chunk.indices.cast(pa.int64()).fill_null(-1)
        codes[start:stop] = new[indices.to_numpy(zero_copy_only=False)]
        start = stop
    return texts_in_use(codes, list(places))
