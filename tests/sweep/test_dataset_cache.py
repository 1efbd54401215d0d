"""The data sets of a worker: what is kept, what is shared, and where it lies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from nnexp.config.compose import CONF, register, to_config
from nnexp.config.schema import BundledConfig, DatasetConfig, DrawnDatasetConfig, TableConfig
from nnexp.data import Source, load, load_source
from nnexp.sweeps import dataset_cache as dataset_cache_module
from nnexp.sweeps.dataset_cache import DatasetCache
from nnexp.sweeps.tasks import Entry, Inspection
from nnexp.sweeps.worker import inspect_entries


def iris(seed: int, scaling: str = "none") -> BundledConfig:
    return BundledConfig(name="iris", source="iris", split_seed=seed, scaling=scaling)


def pixels(seed: int, scaling: str = "standard") -> DrawnDatasetConfig:
    return DrawnDatasetConfig(name="pixels", split_seed=seed, scaling=scaling)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the sources that were read from where their configs say."""
    names = []

    def read(config: DatasetConfig) -> Source:
        names.append(config.name)
        if config.name != "pixels":
            return load_source(config)
        draw = np.random.default_rng(0)
        return Source(
            "pixels", draw.integers(0, 256, (60, 4), dtype=np.uint8),
            np.arange(60, dtype=np.int64) % 2, ("a", "b"), tuple("wxyz"), unit=1 / 255,
        )  # fmt: skip

    monkeypatch.setattr(dataset_cache_module, "load_source", read)
    return names


def test_splits_that_are_scaled_alike_share_a_table(tmp_path: Path, loaded: list[str]) -> None:
    dataset_cache = DatasetCache(tmp_path)
    one, two = dataset_cache.dataset(iris(0)), dataset_cache.dataset(iris(1))
    assert one.table is two.table
    assert one.x is two.x
    assert not torch.equal(one.train, two.train)
    scaled = dataset_cache.dataset(iris(1, "standard"))
    assert scaled.table is not one.table
    assert torch.equal(scaled.x, load(iris(1, "standard")).x)
    assert loaded == ["iris"]


def test_pixels_are_one_table_in_a_file_of_all_workers(tmp_path: Path, loaded: list[str]) -> None:
    mine, others = DatasetCache(tmp_path), DatasetCache(tmp_path)
    one, two = mine.dataset(pixels(0)), mine.dataset(pixels(1))
    assert one.table is not two.table  # whose scaling differs
    assert one.pixels is two.pixels
    assert isinstance(mine.source(pixels(0)).x, np.memmap)
    assert one.pixels is not None
    assert one.pixels.data_ptr() == mine.source(pixels(0)).x.ctypes.data
    twin = others.dataset(pixels(0))
    assert twin.pixels is not one.pixels
    assert twin.pixels is not None
    assert torch.equal(twin.pixels, one.pixels)
    assert torch.equal(twin.x, one.x)
    assert twin.fingerprint == one.fingerprint
    assert loaded == ["pixels"]
    twin.pixels[0] = 7  # the file stays as it was
    assert torch.equal(DatasetCache(tmp_path).dataset(pixels(0)).x, one.x)


def test_what_is_not_wanted_is_let_go(tmp_path: Path, loaded: list[str]) -> None:
    dataset_cache = DatasetCache(tmp_path)
    kept, dropped = dataset_cache.dataset(pixels(0)), dataset_cache.dataset(pixels(1))
    dataset_cache.keep([pixels(0)])
    assert dataset_cache.dataset(pixels(0)) is kept
    again = dataset_cache.dataset(pixels(1))
    assert again is not dropped
    assert again.pixels is kept.pixels
    dataset_cache.keep([])
    assert dataset_cache.dataset(pixels(0)).table is not kept.table


def test_the_sizes_of_a_split_by_group_hang_on_its_seed(tmp_path: Path) -> None:
    """And those of folds on the fold. What trains together must have as many rows."""
    sizes = np.random.default_rng(1).integers(2, 26, 25).tolist()
    rows = [f"g{g},{n % 7},{'xy'[n % 2]}" for g, size in enumerate(sizes) for n in range(size)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["who,a,kind", *rows, ""]))
    table = TableConfig(path=str(path), target="kind", group="who")
    drawn = [dataclasses.replace(table, split_seed=seed) for seed in range(4)]
    folds = [
        BundledConfig(name="digits", split_seed=seed, folds=5, fold=fold)
        for fold in (0, 4)
        for seed in (0, 1)
    ]
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_config(compose("config"))
    entries = [
        Entry(num, dataclasses.replace(config, dataset=data), tmp_path, "arm")
        for num, data in enumerate([*drawn, *folds])
    ]
    found = list(inspect_entries(entries, DatasetCache(tmp_path), fetch=True))
    kinds = [found_one.kind for found_one in found if isinstance(found_one, Inspection)]
    wanted = [load(entry.config.dataset) for entry in entries]
    assert [(kind.num_train, kind.num_val) for kind in kinds] == [
        (data.num_train, data.num_val) for data in wanted
    ]
    assert len({data.num_train for data in wanted[:4]}) > 1
