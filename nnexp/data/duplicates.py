"""Rows on both sides of a split: with them, memorising scores as well as generalising.

Copies of training rows are looked for among held-out rows; and columns that name what rows belong
to, a patient say, whose label all of its rows have.
"""

from __future__ import annotations

import logging

import numpy as np

from nnexp.data.source import Indices, Source, quoted
from nnexp.data.split import Rows
from nnexp.rng import Bits, mix

log = logging.getLogger(__name__)

_WORTH_TELLING = 0.05  # of the held-out rows
_FEWEST = 10  # copies from which a warning is due: a few may be chance
_BY_CHANCE = 0.1  # of the rows that are equal in their features, those with another label


_FEWEST_NAMES = 10  # from which a column may name what rows belong to
_ROWS_OF_A_NAME = 3  # on average: that so many rows have one label is no chance
_SAMPLE = 1000  # rows that tell of most columns that they hold no whole numbers
_LARGEST = 2.0**53
_ONE_RANGE_EACH = 3  # classes of numbers in order change so often at least, times the classes


def warn_of_shared_groups(source: Source, rows: Rows) -> None:
    """Warn of a column whose values have one label each and rows on both sides of the split.

    Where the value names a patient or a device, the network may learn it by heart. Not told where
    groups are kept together, or of numbers whose classes lie in a few ranges.
    """
    if source.encoder is None or source.groups is not None:
        return
    if source.y.dtype.kind not in "iu":
        return
    start = 0
    for column in source.encoder.columns:
        width = len(column.feature_names)
        values = _names(source, start, width) if column.kind in ("categorical", "numeric") else None
        start += width
        if values is None or not _has_one_label_each(values, source):
            continue
        both = np.isin(values[rows.test], values[rows.train])
        if int(both.sum()) < max(_FEWEST, _WORTH_TELLING * len(rows.test)):
            continue
        reference = column.name if column.number is None else column.number
        rest = f"if it names what rows belong to, dataset.group={reference} keeps them on one side"
        if not _is_drawn(source):
            rest = "if it names what rows belong to, memorising it is rewarded"
        number = len(np.unique(values))
        log.warning(
            "%s: each of the %d values of column %s has one label in all of its rows, and %d of %d "
            "test rows have a value that training rows have too; %s",
            source.name, number, quoted(column.name), int(both.sum()), len(rows.test),
            rest,
        )  # fmt: skip


def _is_drawn(source: Source) -> bool:
    """Whether ``dataset.group`` could draw the split."""
    return source.test is None and source.times is None


def _names(source: Source, start: int, width: int) -> Indices | None:
    """A number for the value of each row [M] in one column, which may name something; else None."""
    if width > 1 and (start, start + width) in source.one_hot:
        if width < _FEWEST_NAMES:
            return None
        codes: Indices = source.x[:, start : start + width].argmax(1).astype(np.int64)
        return codes
    values = source.x[:, start]
    some = values[:_SAMPLE]
    if width > 1 or not np.array_equal(some, np.floor(some)):  # NaN included
        return None
    if not np.array_equal(values, np.floor(values)) or np.abs(values).max() > _LARGEST:
        return None
    return values.astype(np.int64)


def _has_one_label_each(values: Indices, source: Source) -> bool:
    """Whether the values are names by their number, and the label of each is one."""
    y, class_names = source.strata
    if not source.class_names:  # a quantity may hang on a number without being named by it
        return False
    if len(values) > _SAMPLE and not _is_one_label(values[:_SAMPLE], y[:_SAMPLE]):
        return False  # as most columns are, at little cost
    names, first = np.unique(values, return_index=True)
    if not _FEWEST_NAMES <= len(names) <= len(values) / _ROWS_OF_A_NAME:
        return False
    if not _is_one_label(values, y):
        return False
    of_name = y[first]
    is_ordered = np.count_nonzero(np.diff(of_name)) < _ONE_RANGE_EACH * len(class_names)
    return len(names) >= 2 * len(class_names) and not is_ordered


def _is_one_label(values: Indices, y: Indices) -> bool:
    """Whether rows of one value have one label."""
    names, first, places = np.unique(values, return_index=True, return_inverse=True)
    return bool(np.array_equal(y[first][places.reshape(-1)], y)) and len(names) > 1


def warn_of_duplicates(source: Source, rows: Rows) -> None:
    """Warn where held-out rows, features and label alike, are training rows too.

    Where the features are so coarse that rows with other labels are equal in them as well, equal
    rows are nothing strange. Only rows of tables are compared.
    """
    if source.encoder is None:
        return
    features = _keys(source)
    labels = source.y.view(np.uint64) if source.y.dtype.kind == "f" else source.y.astype(np.uint64)
    labelled = _mixed(features.view(np.uint64), labels).view(np.int64)
    unclear = _with_several_labels(features[rows.train], labelled[rows.train])
    for part, held_out in (("validation", rows.val), ("test", rows.test)):
        copied = np.isin(labelled[held_out], labelled[rows.train])
        alike = np.isin(features[held_out], features[rows.train])
        chance = int((alike & (~copied | np.isin(features[held_out], unclear))).sum())
        copies = int(copied.sum())
        few = copies < max(_FEWEST, _WORTH_TELLING * len(held_out))
        if few or chance > _BY_CHANCE * int(alike.sum()):
            continue
        hint = ""
        if source.groups is None and _is_drawn(source):
            hint = "; dataset.group keeps rows that belong together on one side"
        log.warning(
            "%s: %d of %d %s rows are copies of training rows, label and all, so that memorising "
            "them is rewarded%s",
            source.name, copies, len(held_out), part, hint,
        )  # fmt: skip


def _with_several_labels(features: Indices, labelled: Indices) -> Indices:
    """The features that rows of several labels have."""
    _, first = np.unique(labelled, return_index=True)
    found, counts = np.unique(features[first], return_counts=True)
    return found[counts > 1]


def _keys(source: Source) -> Indices:
    """A number [M] for every row: the same where the features are, by a hash of 64 bits."""
    x = source.x.astype(np.float64, copy=False)
    found = np.zeros(len(x), np.uint64)
    for column in range(x.shape[1]):
        bits = (np.ascontiguousarray(x[:, column]) + 0.0).view(np.uint64)  # -0.0 becomes 0.0
        found = _mixed(found, bits)
    return found.view(np.int64)


def _mixed(found: Bits, bits: Bits) -> Bits:
    """A hash of what was found so far and of what comes to it."""
    return mix((found ^ bits) + np.uint64(0x9E3779B97F4A7C15))
