"""The data sets of a worker. Sources are read once a sweep and shared as memory-mapped files."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nnexp.config.schema import DatasetConfig
from nnexp.data import Dataset, Source, load_source, split
from nnexp.data.dataset import Tables
from nnexp.sweeps.tasks import source_key


class DatasetCache:
    """Loads what is asked for and keeps what is still needed.

    Args:
        folder: where the workers of a sweep find each other's sources.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sources: dict[str, Source] = {}
        self._tables: dict[str, Tables] = {}
        self._datasets: dict[str, Dataset] = {}

    def keep(self, configs: Iterable[DatasetConfig]) -> None:
        """Let go of all that these configs do not need."""
        configs = list(configs)
        wanted, sources = {repr(c) for c in configs}, {source_key(c) for c in configs}
        self._datasets = {k: v for k, v in self._datasets.items() if k in wanted}
        self._sources = {k: v for k, v in self._sources.items() if k in sources}
        used = {id(dataset.table) for dataset in self._datasets.values()}
        self._tables = {
            key: {scaling: table for scaling, table in tables.items() if id(table) in used}
            for key, tables in self._tables.items()
            if key in sources
        }

    def dataset(self, config: DatasetConfig) -> Dataset:
        """The data set, its table shared with others that are scaled alike. Raises as ``load``."""
        key = repr(config)
        if key not in self._datasets:
            tables = self._tables.setdefault(source_key(config), {})
            self._datasets[key] = split(self.source(config), config, tables)
        return self._datasets[key]

    def source(self, config: DatasetConfig) -> Source:
        """From memory, else from the folder, else from where the config says; then it is shared."""
        key = source_key(config)
        if key not in self._sources:
            place = self._folder / hashlib.sha256(key.encode()).hexdigest()[:24]
            if not (place / "source.pickle").exists():
                _share(load_source(config), place)
            self._sources[key] = _shared(place)
        return self._sources[key]


def _share(source: Source, place: Path) -> None:
    place.mkdir(exist_ok=True)
    mine = f"{os.getpid()}."  # another worker may be about to share the same
    np.save(place / f"{mine}npy", source.x)
    (place / f"{mine}npy").rename(place / "x.npy")
    light = dataclasses.replace(source, x=source.x[:0])
    light.__dict__["fingerprint"] = source.fingerprint  # hashed once for all workers
    (place / f"{mine}pickle").write_bytes(pickle.dumps(light))
    (place / f"{mine}pickle").rename(place / "source.pickle")


def _shared(place: Path) -> Source:
    light: Source = pickle.loads((place / "source.pickle").read_bytes())
    # "c", for torch wants to be able to write, which nobody does; the file would stay as it is.
    source = dataclasses.replace(light, x=np.load(place / "x.npy", mmap_mode="c"))
    source.__dict__["fingerprint"] = light.fingerprint
    return source
