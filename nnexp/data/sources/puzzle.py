"""The puzzle as a data set: rows by their numbers, and which of them train, validate and test."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from nnexp.config.dataset_schema import DatasetConfig, PuzzleConfig
from nnexp.data.coded import ComputedClasses, ComputedTable, EpochRows, Generator
from nnexp.data.dataset import CodedSource, Dataset, Tables
from nnexp.data.permutation import Permutation
from nnexp.data.puzzle.rules import rules_of
from nnexp.data.puzzle.samples import Samples
from nnexp.data.puzzle.telling import telling
from nnexp.data.source import Indices
from nnexp.data.text_encoders import Codes, Places
from nnexp.errors import ConfigError

_VERSION = 1  # of the language: a change of what any index gives is a new one
_HASHED = 256  # samples of each part that the fingerprint vouches for


@dataclass(frozen=True)
class PuzzleRows(Generator):
    """Rows 0 to ``size - 1`` are those of the pool, the others the test samples."""

    size: int
    num_test: int
    pool: Samples
    test: Samples

    def __len__(self) -> int:
        return self.size + self.num_test

    def write(self, rows: Indices, codes: Codes) -> None:
        """See ``Generator``."""
        for samples, own, index in self._parts(rows):
            if len(own) == len(rows):
                samples.write(index, codes)
            elif len(own):
                codes[own], _ = samples.at(index)

    def classes(self, rows: Indices) -> Indices:
        """See ``Generator``."""
        found = np.empty(len(rows), dtype=np.int64)
        for samples, own, index in self._parts(rows):
            found[own] = samples.classes(index)
        return found

    def _parts(self, rows: Indices) -> list[tuple[Samples, Indices, Indices]]:
        """Samples, the places among the rows that are theirs, and their indices."""
        is_test = rows >= self.size
        pool, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
        return [(self.pool, pool, rows[pool]), (self.test, test, rows[test] - self.size)]


@dataclass(frozen=True, eq=False)
class PuzzleSource(CodedSource):
    """A seed and rules. ``x`` and ``y`` are empty."""

    rows: PuzzleRows | None = None

    own_table: ClassVar[bool] = False

    @classmethod
    def of(cls, config: PuzzleConfig) -> PuzzleSource:
        """The source that a config describes."""
        rules = rules_of(config.holdout, config.min_people, config.max_people, config.max_age)
        told = telling(config.encoding)
        width = told.width(max(of_one.max_people for of_one in rules))
        samples = [
            Samples(config.seed, part, of_one, config.encoding, width)
            for part, of_one in zip(("pool", "test"), rules, strict=True)
        ]
        return cls(
            name=config.name,
            x=np.empty((0, 0)),
            y=np.empty(0, dtype=np.int64),
            class_names=tuple(str(age) for age in range(1, config.max_age + 1)),
            feature_names=(),
            rows=PuzzleRows(config.rows, config.test_rows, *samples),
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over seed, rules, number of rows and the first samples of either part."""
        assert self.rows is not None
        header = {"version": _VERSION, **asdict(self.rows), "class_names": self.class_names}
        digest = hashlib.sha256(json.dumps(header).encode())
        for samples in (self.rows.pool, self.rows.test):
            codes, classes = samples.at(np.arange(_HASHED))
            digest.update(codes.tobytes() + classes.astype("<i8").tobytes())
        return digest.hexdigest()

    def split(self, config: DatasetConfig, tables: Tables) -> Dataset:
        """Rows of the pool in an order drawn from ``split_seed``: those to validate on come first,
        then those to train on, of which ``num_train`` takes the first; ``fraction`` takes the first
        of either.

        Raises:
            ConfigError: ``num_train`` is more than there are.
        """
        assert isinstance(config, PuzzleConfig)
        assert self.rows is not None
        size = self.rows.size
        num_val = max(1, round(config.val_fraction * size)) if config.val_fraction else 0
        count = size - num_val
        if config.num_train is not None:
            if config.num_train > count:
                raise ConfigError(
                    f"dataset.num_train={config.num_train}: {self.name} has {count} training "
                    "samples"
                )
            count = config.num_train
        elif (share := min(config.train_fraction, config.fraction)) < 1:
            count = max(1, round(share * count))
        shown = min(
            num_val, max(1, round(config.fraction * num_val))
        )  # of those that no training row is among
        pool = Permutation(size, config.split_seed, "split")
        encoder = _encoder(self.rows.pool)
        table = tables.setdefault(b"", ComputedTable(self.rows, encoder))
        return Dataset(
            name=self.name,
            table=table,
            y=ComputedClasses(self.rows),
            train=EpochRows(pool, num_val, count, min(count, config.epoch_rows or count)),
            val=torch.from_numpy(np.sort(pool.at(np.arange(shown)))),
            test=torch.arange(size, size + self.rows.num_test),
            class_names=self.class_names,
            feature_names=encoder.feature_names,
            fingerprint=self.fingerprint,
            official_test=True,
        )


def _encoder(samples: Samples) -> Places:
    return Places(telling(samples.encoding).symbols, samples.width, samples.encoding)
