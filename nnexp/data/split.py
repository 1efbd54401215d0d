"""Which rows train, which validate and which test.

Classes keep their shares in every part (the largest remainders get the rows left over), and every
class has a training row. In each class the rows are put in one random order that depends on
``split_seed`` alone: first come the test rows, then the validation rows, then the training rows. So
``val_fraction`` does not move a test row, and neither ``num_train`` nor ``train_fraction`` moves a
test or a validation row. ``fraction`` takes nested subsets of training and validation rows, and
moves no test row: a learner with few rows has few to choose its hyperparameters by.

Test rows may also be given: by the data, by ``split_file``, as one of ``folds``, or by ``time``.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass

import numpy as np

from nnexp.config.schema import DatasetConfig, DrawnDatasetConfig
from nnexp.data.by_time import rows_by_time
from nnexp.data.folds import require_whole_groups, test_rows_of_fold
from nnexp.data.source import Indices, Source, quoted
from nnexp.data.split_files import read_split_file
from nnexp.errors import ConfigError, DataError
from nnexp.rng import Bits, random_bits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Ascending indices into a source's rows; no row is in two parts."""

    train: Indices
    val: Indices
    test: Indices
    same_test: bool = False  # for every ``split_seed``


def draw_rows(source: Source, config: DatasetConfig) -> Rows:
    """Official rows as they are, the others drawn; of the training rows the first ``num_train``.

    ``train_fraction`` and ``fraction`` take a training row of each class at least.

    Raises:
        DataError: too few rows for every class to have a training row.
        ConfigError: ``num_train`` is more than there are, or fewer than classes.
    """
    if source.times is not None:
        assert isinstance(config, DrawnDatasetConfig)
        return Rows(*rows_by_time(source, source.times, config), same_test=True)
    source, left_out = _with_given_rows(source, config)
    if source.groups is not None:
        assert isinstance(config, DrawnDatasetConfig)
        return _limited(draw_groups(source, source.groups, config, left_out), source, config)
    strata, names = source.strata
    num_rows, num_classes = len(strata), len(names)
    keys = random_bits(num_rows, config.split_seed, "split", *_counters(config))
    free = np.ones(num_rows, dtype=bool)
    for official in (source.test, source.val, left_out):
        if official is not None:
            free[official] = False
    classes = [np.flatnonzero(free & (strata == label)) for label in range(num_classes)]
    _require_training_rows(source, classes)
    classes = [rows[np.argsort(keys[rows], kind="stable")] for rows in classes]

    num_free = sum(map(len, classes))
    num_test = num_val = 0
    if source.test is None:
        assert isinstance(config, DrawnDatasetConfig)
        num_test = max(1, round(config.test_fraction * num_free))
    if source.val is None and config.val_fraction:
        num_val = max(1, round(config.val_fraction * num_free))
    if num_free - num_test - num_val < num_classes:
        raise DataError(
            f"{source.name}: {num_free} rows are too few for {num_classes} classes, each of which "
            f"needs a training row, beside {num_test + num_val} rows that are held out"
        )
    sizes = np.array([len(rows) for rows in classes])
    test_sizes = _share(num_test, sizes, sizes - 1)
    val_sizes = _share(num_val, sizes, sizes - 1 - test_sizes)
    _warn_of_rare_classes(source, sizes)

    parts = list(zip(classes, test_sizes, test_sizes + val_sizes, strict=True))
    train = nested([rows[stop:] for rows, _, stop in parts], keys)
    val = source.val
    if val is None:
        val = np.concatenate([rows[start:stop] for rows, start, stop in parts])
    test = np.concatenate([rows[:start] for rows, start, _ in parts])
    train = _first(train, source, config)
    return Rows(
        np.sort(train),
        np.sort(_fewer(val, source, keys, config)),
        np.sort(test if source.test is None else source.test),
        same_test=source.test is not None and not _counters(config),
    )


_NO_ROWS = np.zeros(0, dtype=np.int64)


def _with_given_rows(source: Source, config: DatasetConfig) -> tuple[Source, Indices]:
    """The source with the test rows, and perhaps validation rows, that options give; and the rows
    that have no part in the split.

    Raises:
        ConfigError: the source has official test rows, or there is no such fold.
        DataError: a file that does not fit the source, or a split that cuts through a group.
    """
    if not isinstance(config, DrawnDatasetConfig):
        return source, _NO_ROWS
    option, is_fold = config.split_file, config.fold is not None
    if option is None and not is_fold:
        return source, _NO_ROWS
    if source.test is not None:
        given = f"fold={config.fold}" if is_fold else f"split_file={option}"
        raise ConfigError(
            f"dataset.{given}: {source.name} has official test rows; a split is given where test "
            "rows would be drawn"
        )
    if option is None:
        return dataclasses.replace(source, test=test_rows_of_fold(source, config)), _NO_ROWS
    parts = read_split_file(option, len(source.y), source.name)
    part = np.full(len(source.y), -1)
    for number, rows in enumerate(parts.values()):
        part[rows] = number
    left_out = np.flatnonzero(part < 0) if "train" in parts else _NO_ROWS
    if len(left_out):
        log.info("dataset.split_file=%s: %d rows have no part in it", option, len(left_out))
    elif "train" not in parts:
        part[part < 0] = len(parts)
    # Rows that are to be drawn from are cut by group.
    require_whole_groups(source, part, f"dataset.split_file={option}")
    return dataclasses.replace(source, test=parts["test"], val=parts.get("val")), left_out


def _counters(config: DatasetConfig) -> tuple[int, ...]:
    """Of the fold that is tested, if one is: each draws its own validation rows."""
    fold = getattr(config, "fold", None)
    return () if fold is None else (fold,)


def _first(train: Indices, source: Source, config: DatasetConfig) -> Indices:
    """So many of the training rows, in the order of ``nested``, as the config says."""
    if config.num_train is not None:
        _check_num_train(source, config.num_train, len(train))
        return train[: config.num_train]
    share = min(config.train_fraction, config.fraction)  # one of them is 1
    if share < 1:
        return train[: max(len(source.strata[1]), round(share * len(train)))]
    return train


def _fewer(val: Indices, source: Source, keys: Bits, config: DatasetConfig) -> Indices:
    """Of the validation rows the share ``fraction``, nested and stratified, a row at least."""
    if config.fraction == 1 or not len(val):
        return val
    ordered = val[np.argsort(keys[val], kind="stable")]
    strata, names = source.strata
    classes = [ordered[strata[ordered] == label] for label in range(len(names))]
    return nested(classes, keys)[: max(1, round(config.fraction * len(val)))]


# --------------------------------------------------------------------------------------------------
# Rows that belong together: the ten recordings of one patient.
# --------------------------------------------------------------------------------------------------


_OUT = 3  # what has no part in the split


def draw_groups(
    source: Source, groups: Indices, config: DrawnDatasetConfig, left_out: Indices = _NO_ROWS
) -> Rows:
    """Whole groups for each part: no group has rows in two of them.

    Groups go one by one, in random order, to the part that lacks most of their classes' rows; a
    group whose class no training row has yet goes to training. The parts have about the sizes and
    the shares of classes that are asked for, as far as the groups allow. (The largest first would
    come closer, but some groups would then be tested for every seed and others for none.) Groups
    whose rows are given, test rows say, are where they are.

    Raises:
        DataError: fewer groups than parts, or a class that one group alone has and no training row
            could have.
    """
    strata, names = source.strata
    counts = np.zeros((int(groups.max()) + 1, len(names)), dtype=np.int64)
    np.add.at(counts, (groups, strata), 1)
    np.subtract.at(counts, (groups[left_out], strata[left_out]), 1)
    num_groups = len(counts)
    fractions = np.array([1.0, config.val_fraction, config.test_fraction])
    part = np.where(counts.any(axis=1), -1, _OUT)
    for number, rows in ((1, source.val), (2, source.test)):
        if rows is not None:
            part[groups[rows]] = number
            fractions[number] = 0.0
    fractions[0] = 1 - fractions[1] - fractions[2]
    free = part < 0
    drawn = [number for number in range(len(fractions)) if number == 0 or fractions[number] > 0]
    if free.sum() < len(drawn):
        parts = [("training", "validation", "test")[number] for number in drawn]
        listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
        left = "" if free.all() else f", {free.sum()} of them not in test rows that are given"
        raise DataError(
            f"{source.name}: dataset.group has {num_groups} different values{left}; {listed} "
            "need one each"
        )
    wanted = fractions[:, np.newaxis] * counts[free].sum(axis=0)  # of each part and class
    lacking = wanted.copy()
    keys = random_bits(num_groups, config.split_seed, "split", *_counters(config))
    for group in np.argsort(keys, kind="stable"):
        if not free[group]:
            continue
        mine = counts[group]
        new = (mine > 0) & (lacking[0] == wanted[0])  # classes without a training row so far
        share = np.minimum(mine, lacking).sum(axis=1) / np.maximum(wanted.sum(axis=1), 1)
        share[[number for number in range(len(fractions)) if number not in drawn]] = -np.inf
        part[group] = 0 if new.any() else int(np.argmax(share + 1e-9 * fractions))
        lacking[part[group]] -= mine
    for needy in drawn[1:]:
        if not (part == needy).any():
            part[_spare_group(part, counts, keys)] = needy
    of_row = part[groups]
    of_row[left_out] = _OUT
    train, val, test = (np.flatnonzero(of_row == which) for which in range(3))
    return Rows(train, val, test, source.test is not None and not _counters(config))


def _spare_group(part: Indices, counts: Indices, keys: Bits) -> int:
    """The smallest training group without which every class still has a training row."""
    total = counts[part == 0].sum(axis=0)
    for group in np.lexsort((keys, counts.sum(axis=1))):
        if part[group] == 0 and (total - counts[group] > 0).all():
            return int(group)
    return int(np.flatnonzero(part == 0)[0])  # that a class has no training row is told then


def _limited(rows: Rows, source: Source, config: DatasetConfig) -> Rows:
    """With as many training rows as are asked for, drawn from all groups that train, and as many
    validation rows, from all that validate."""
    keys = random_bits(len(source.y), config.split_seed, "split of groups")
    strata, names = source.strata
    of_class = [rows.train[strata[rows.train] == label] for label in range(len(names))]
    _require_training_rows(source, of_class)
    of_class = [part[np.argsort(keys[part], kind="stable")] for part in of_class]
    train = _first(nested(of_class, keys), source, config)
    val = np.sort(_fewer(rows.val, source, keys, config))
    return dataclasses.replace(rows, train=np.sort(train), val=val)


def _share(total: int, sizes: Indices, most: Indices) -> Indices:
    """``total`` rows over the classes in proportion to ``sizes``, of no class more than ``most``.

    Each class gets the whole part of its quota, the largest remainders get one more, and what a
    class cannot give goes to the next. ``total`` must not exceed ``most.sum()``.
    """
    quota = total * sizes / sizes.sum()
    shares: Indices = np.minimum(np.floor(quota).astype(np.int64), most)
    while (left := total - int(shares.sum())) > 0:
        short = np.where(shares < most, quota - shares, -np.inf)
        order = np.argsort(-short, kind="stable")[:left]
        shares[order[shares[order] < most[order]]] += 1
    return shares


def nested(classes: list[Indices], keys: Bits) -> Indices:
    """All rows in an order of which every beginning is stratified and holds every class.

    ``classes`` holds each class's rows in random order. The i-th of n rows of a class belongs at
    (i + 1/2) / n of the way; the first row of each class comes before all others.
    """
    rows = np.concatenate(classes)
    rank = np.concatenate([np.arange(len(part)) for part in classes])
    size = np.concatenate([np.full(len(part), len(part)) for part in classes])
    return rows[np.lexsort((keys[rows], (rank + 0.5) / size, rank > 0))]


def _require_training_rows(source: Source, classes: list[Indices]) -> None:
    for name, rows in zip(source.strata[1], classes, strict=True):
        if not len(rows):
            raise DataError(f"{source.name}: class {quoted(name)} has no row to train on")


def _warn_of_rare_classes(source: Source, sizes: Indices) -> None:
    """A single row may be real, or a misspelt label: training goes on, but not in silence."""
    single = [name for name, size in zip(source.strata[1], sizes, strict=True) if size == 1]
    if single:
        log.warning(
            "%s: a single row, which is trained on and never validated, has class %s",
            source.name,
            ", ".join(map(quoted, single[:5])) + (", ..." if len(single) > 5 else ""),
        )


def _check_num_train(source: Source, num_train: int, available: int) -> None:
    num_classes = len(source.strata[1])
    if num_train > available:
        raise ConfigError(
            f"dataset.num_train={num_train}: {source.name} has {available} training samples"
        )
    if num_train < num_classes:
        raise ConfigError(
            f"dataset.num_train={num_train}: must be at least {num_classes}, "
            f"one row of each class of {source.name}"
        )
