"""Rows on both sides of a split: with them, memorising scores as well as generalising."""

from __future__ import annotations

import logging

import numpy as np

from nnexp.data.source import Indices, Source
from nnexp.data.split import Rows
from nnexp.rng import Bits, mix

log = logging.getLogger(__name__)

_WORTH_TELLING = 0.05  # of the held-out rows
_FEWEST = 10  # copies from which a warning is due: a few may be chance
_BY_CHANCE = 0.1  # of the rows that are equal in their features, those with another label


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
        if source.groups is None and source.test is None:
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
