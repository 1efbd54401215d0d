"""conf/dataset/: every file composes to a checked config and loads, offline where it can."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from nnexp.config.compose import CONF, register, to_config
from nnexp.config.schema import (
    BUNDLED,
    GENERATORS,
    BundledConfig,
    CSVConfig,
    DatasetConfig,
    GeneratedConfig,
    IDXConfig,
)
from nnexp.data import load, load_source, split
from nnexp.errors import ConfigError

OWN = ("mnist", "fashion_mnist", "idx", "image_folder", "csv", "table", "arrays")
FILES = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))


def dataset_config(*overrides: str) -> DatasetConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return to_config(compose("config", overrides=list(overrides))).dataset


def test_the_files_are_those_that_are_promised() -> None:
    texts = ["text", "tatoeba", "wet", "wikipedia", "puzzle"]
    assert sorted([*BUNDLED, *GENERATORS, *OWN, *texts]) == FILES


@pytest.mark.parametrize("name", [*BUNDLED, *GENERATORS])
def test_offline_data_sets_load(name: str) -> None:
    config = dataset_config(f"dataset={name}", "seed=3")
    assert isinstance(config, BundledConfig if name in BUNDLED else GeneratedConfig)
    assert config.name == name
    assert config.split_seed == 3
    dataset = load(config)
    assert dataset.name == name
    assert dataset.num_train > 0.6 * len(dataset.x)


@pytest.mark.parametrize("name", FILES)
def test_each_begins_with_what_it_is(name: str) -> None:
    first = (CONF / "dataset" / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNEXP_DATA", raising=False)
    config = dataset_config(f"dataset={name}")
    assert isinstance(config, IDXConfig)
    assert (config.name, config.root) == (name, "data")
    monkeypatch.setenv("NNEXP_DATA", "/elsewhere")
    assert dataset_config(f"dataset={name}").root == "/elsewhere"  # type: ignore[attr-defined]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "cells.v2.csv"
    path.write_text("label,a\n" + "x,1\ny,2\n" * 20)
    config = dataset_config("dataset=csv", f"dataset.path={path}", "dataset.target=0")
    assert isinstance(config, CSVConfig)
    assert config.target == "0"
    assert load(config).name == "cells"
    last = dataset_config(
        "dataset=csv", f"dataset.path={path}", "dataset.target=-2", "dataset.missing=[NA,'']"
    )
    assert load(last).fingerprint == load(config).fingerprint


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([], r"^dataset\.path is required$"),
        (
            ["dataset.path=t.csv"],
            r"^dataset\.target is required: name the label column, e\.g\. dataset\.target=label$",
        ),
    ],
)
def test_csv_without_path_or_target(given: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        dataset_config("dataset=csv", *given)


def test_a_data_set_of_no_schema() -> None:
    with pytest.raises(ConfigError, match=r"^dataset=mine: its file must begin with one of"):
        load(DatasetConfig(name="mine"))


def test_one_source_serves_many_splits() -> None:
    configs = [
        BundledConfig(
            name="iris", source="iris", split_seed=seed, scaling=scaling, num_train=number
        )
        for seed in (0, 1)
        for scaling in ("none", "standard")
        for number in (None, 30)
    ]
    source = load_source(configs[0])
    for config in configs:
        alone, shared = load(config), split(source, config)
        assert alone.x.equal(shared.x)
        assert alone.train.equal(shared.train)
