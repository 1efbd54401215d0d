"""Rows split by time: who learns from the past is tested on what came later.

Axes: ``M`` rows.
"""

from __future__ import annotations

import logging

import numpy as np

from nnexp.config.schema import DatasetConfig, DrawnDatasetConfig
from nnexp.data.source import Doubles, Indices, Source, quoted
from nnexp.errors import ConfigError, DataError

log = logging.getLogger(__name__)


def rows_by_time(
    source: Source, times: Doubles, config: DrawnDatasetConfig
) -> tuple[Indices, Indices, Indices]:
    """Return the rows that train, validate and test, each ascending.

    Every training row is before every validation row, and these before every test row; rows of one
    time are on one side. The test rows, then the validation rows, are as many as their fractions
    say, or as near to that as equal times allow. ``num_train``, ``train_fraction`` and ``fraction``
    take the latest training rows, ``fraction`` the latest validation rows too. Nothing is drawn.

    Raises:
        DataError: too few different times, or a class that no training row has.
        ConfigError: ``num_train`` is more than there are, or leaves a class without a row.
    """
    order = np.argsort(times, kind="stable")  # rows of one time in the order of the table
    starts = np.flatnonzero(np.append(True, np.diff(times[order]) > 0))  # of each time
    parts = 3 if config.val_fraction else 2
    if len(starts) < parts:
        raise DataError(
            f"{source.name}: dataset.time has {len(starts)} different value"
            f"{'s' * (len(starts) != 1)}; training{', validation' * (parts == 3)} and test need "
            "one each"
        )
    total = len(order)
    wanted = total - max(1, round(config.test_fraction * total))
    test_from = _nearest(starts[parts - 1 :], wanted)
    val_from = test_from
    if config.val_fraction:
        wanted = test_from - max(1, round(config.val_fraction * total))
        val_from = _nearest(starts[(starts > 0) & (starts < test_from)], wanted)
    train, val, test = order[:val_from], order[val_from:test_from], order[test_from:]
    _require_classes(source, train)
    train = _latest(source, train, config)
    if config.fraction < 1 and len(val):
        val = val[-max(1, round(config.fraction * len(val))) :]
    log.info(
        "%s: split by dataset.time=%s, %d training, %d validation and %d test rows; seeds move "
        "none of them",
        source.name, getattr(config, "time", None), len(train), len(val), len(test),
    )  # fmt: skip
    return np.sort(train), np.sort(val), np.sort(test)


def _nearest(starts: Indices, wanted: int) -> int:
    """Of two that are as near the later one."""
    return int(starts[::-1][np.argmin(np.abs(starts[::-1] - wanted))])


def _latest(source: Source, train: Indices, config: DatasetConfig) -> Indices:
    """Of training rows in order of time as many as the config says."""
    number, option = config.num_train, f"num_train={config.num_train}"
    if number is None:
        share = min(config.train_fraction, config.fraction)  # one of them is 1
        option = f"train_fraction={share:g}" if config.fraction == 1 else f"fraction={share:g}"
        number = max(1, round(share * len(train)))
    if number > len(train):
        raise ConfigError(f"dataset.{option}: {source.name} has {len(train)} training samples")
    latest = train[len(train) - number :]
    for name in _lacking(source, latest):
        raise ConfigError(
            f"dataset.{option}: none of the latest {number} training samples has the class "
            f"{quoted(name)}"
        )
    return latest


def _require_classes(source: Source, train: Indices) -> None:
    for name in _lacking(source, train):
        raise DataError(
            f"{source.name}: no training row has the class {quoted(name)}: by dataset.time all of "
            "its rows are later than those that are trained on"
        )


def _lacking(source: Source, rows: Indices) -> list[str]:
    """Classes that none of the rows has; none where the target is no class."""
    if source.y.dtype.kind not in "iu":
        return []
    counts = np.bincount(source.y[rows], minlength=len(source.class_names))
    return [source.class_names[label] for label in np.flatnonzero(counts == 0).tolist()]
