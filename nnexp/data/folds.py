"""K-fold: which rows each fold tests.

Over all folds every row is tested once. What a fold does not test is trained and validated on.

Axes: ``M`` rows, ``K`` folds, ``G`` groups, ``C`` strata.
"""

from __future__ import annotations

import numpy as np

from nnexp.config.schema import DrawnDatasetConfig
from nnexp.data.source import Indices, Source
from nnexp.data.split_files import read_fold_file
from nnexp.errors import ConfigError, DataError
from nnexp.rng import Bits, random_bits, uniform


def test_rows_of_fold(source: Source, config: DrawnDatasetConfig) -> Indices:
    """Return the rows that ``dataset.fold`` tests, ascending.

    Raises:
        ConfigError: there is no such fold.
        DataError: fewer rows or groups than folds, or folds that are given and skip a number, or
            cut through a group.
    """
    assert config.fold is not None
    folds = _given(source, config)
    if folds is None:
        assert config.folds is not None
        folds = drawn_folds(source, config.folds, config.split_seed)
    return np.flatnonzero(folds == config.fold)


def drawn_folds(source: Source, num_folds: int, seed: int) -> Indices:
    """Return the fold of each row [M]: stratified where there are classes, groups kept together.

    Sizes of folds differ by a row at most, and a class's rows in them by a row, where there are no
    groups. Raises DataError for fewer rows or groups than folds.
    """
    strata = strata_of(source)
    num_units = len(strata) if source.groups is None else int(source.groups.max()) + 1
    if num_units < num_folds:
        units = "rows" if source.groups is None else "groups"
        raise DataError(
            f"dataset.folds={num_folds}: {source.name} has {num_units} {units}, and each fold "
            "needs one"
        )
    keys = random_bits(num_units, seed, "folds")
    if source.groups is not None:
        return _folds_of_groups(source.groups, strata, num_folds, keys)[source.groups]
    # Dealt out like cards, class after class, each in random order.
    folds = np.empty(len(strata), np.int64)
    folds[np.lexsort((keys, strata))] = np.arange(len(strata)) % num_folds
    return folds


def strata_of(source: Source) -> Indices:
    """Return the class of each row [M], or 0 for all where the target is no class."""
    return source.strata[0]


def _folds_of_groups(groups: Indices, strata: Indices, num_folds: int, keys: Bits) -> Indices:
    """The fold of each group [G].

    They go one by one, large ones rather early than late, to the fold that has fewest rows of their
    classes, and of these to the smallest. A fold that has no group takes the smallest one of the
    fold that has most.
    """
    counts = np.zeros((len(keys), int(strata.max()) + 1), np.int64)
    np.add.at(counts, (groups, strata), 1)
    of_group = np.zeros(len(keys), np.int64)
    held = np.zeros((num_folds, counts.shape[1]))
    shares = counts / counts.sum(axis=0)
    sizes = counts.sum(axis=1)
    for group in np.argsort(-sizes * (0.5 + uniform(keys)), kind="stable"):
        full = (held * shares[group]).sum(axis=1)
        of_group[group] = np.lexsort((held.sum(axis=1), full.round(12)))[0]
        held[of_group[group]] += shares[group]
    for fold in range(num_folds):
        if not (of_group == fold).any():
            fullest = int(np.bincount(of_group, minlength=num_folds).argmax())
            spare = np.flatnonzero(of_group == fullest)
            of_group[spare[np.lexsort((keys[spare], sizes[spare]))[0]]] = fold
    return of_group


def _given(source: Source, config: DrawnDatasetConfig) -> Indices | None:
    """Folds that a column or a file gives; None where there are none."""
    if config.fold_file is not None:
        option = f"fold_file={config.fold_file}"
        folds = read_fold_file(config.fold_file, len(source.y), source.name)
    elif source.folds is not None:
        option = f"fold_column={getattr(config, 'fold_column', '')}"
        folds = source.folds
    else:
        return None
    present = np.unique(folds)
    num_folds = int(present[-1]) + 1
    if len(present) < num_folds:
        lacking = int(np.flatnonzero(~np.isin(np.arange(num_folds), present))[0])
        raise DataError(
            f"dataset.{option}: no row is of fold {lacking}, but some are of fold {num_folds - 1}"
        )
    if num_folds < 2:
        raise DataError(f"dataset.{option}: all rows are of fold 0; at least 2 folds are needed")
    if config.folds is not None and config.folds != num_folds:
        raise ConfigError(f"dataset.folds={config.folds}: dataset.{option} has {num_folds} folds")
    if config.fold is not None and config.fold >= num_folds:
        raise ConfigError(
            f"dataset.fold={config.fold}: must be less than {num_folds}, the folds "
            f"of dataset.{option}"
        )
    require_whole_groups(source, folds, f"dataset.{option}")
    return folds


def require_whole_groups(source: Source, part: Indices, option: str) -> None:
    """Raise DataError if rows of one group are of different parts [M], as ``option`` gives them;
    a part below 0 is none."""
    if source.groups is None:
        return
    rows = np.flatnonzero(part >= 0)
    order = rows[np.lexsort((part[rows], source.groups[rows]))]
    same = source.groups[order][1:] == source.groups[order][:-1]
    for at in np.flatnonzero(same & (part[order][1:] != part[order][:-1]))[:1].tolist():
        raise DataError(
            f"{option}: rows {order[at]} and {order[at + 1]} (from 0) are on two sides, and "
            "dataset.group keeps them together"
        )
