"""What a run is called: its arm in a few words, the seed left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nnexp.config.schema import Config

# Overrides that say nothing about what is compared: where and how it is computed and shown.
_SILENT = (
    "seed",
    "imports",
    "objective",
    "metrics",
    "model",
    "optimizer",
    # Which data a run sees is told by their name, beside the arm.
    "dataset",
    "dataset.name",
    "dataset.path",
    "dataset.test_path",
    "dataset.root",
    "dataset.download",
    "dataset.class_names",
    "trainer.device",
    "trainer.threads",
    "trainer.cuda_graphs",
    "trainer.checkpoint_seconds",
    "trainer.histograms",
    "trainer.pictures",
)
_SILENT_PREFIXES = (
    "~", "hydra", "report", "dataset.urls", "dataset.train_images", "dataset.train_labels",
    "dataset.test_images", "dataset.test_labels",
)  # fmt: skip


def arm_name(composed: DictConfig, overrides: Sequence[str]) -> str:
    """For example ``deep · adam · lr=0.01``: model, optimizer, and what was overridden, sorted.

    Args:
        overrides: the job's overrides as Hydra gives them; what the arm was told apart by.
    """
    parts = [_name_of(composed, group) for group in ("model", "optimizer")]
    pair = "_".join(parts)
    told = {}
    for override in overrides:
        key, _, text = override.lstrip("+").partition("=")
        if key not in _SILENT and not key.startswith(_SILENT_PREFIXES):
            told[key] = text
    for key, text in sorted(told.items()):
        if key == "experiment":
            parts += [text] if text not in (pair, "null") else []
        else:
            parts.append(f"{key.rpartition('.')[2]}={_value(composed, key, text)}")
    return " · ".join(parts)


def _value(composed: DictConfig, key: str, text: str) -> str:
    """The value as it was composed, so that 1e-2 and 0.01 are one arm; ``text`` for a choice."""
    value = OmegaConf.select(composed, key, throw_on_resolution_failure=False)
    if isinstance(value, float):
        return f"{value:g}"
    return text if value is None or isinstance(value, DictConfig) else str(value).replace(" ", "")


def identity(composed: DictConfig) -> dict[str, Any]:
    """Seed and names of a config that was refused, as far as they can be made out."""
    seed = OmegaConf.select(composed, "seed", throw_on_resolution_failure=False)
    names = {group: _name_of(composed, group) for group in ("model", "optimizer", "dataset")}
    return {"seed": seed if type(seed) is int else 0, **names}


def names_of(config: Config) -> dict[str, Any]:
    """The same of a sound config."""
    groups = ("model", "optimizer", "dataset")
    return {"seed": config.seed, **{group: getattr(config, group).name for group in groups}}


def _name_of(composed: DictConfig, group: str) -> str:
    if group not in composed or OmegaConf.is_missing(composed, group):
        return f"no {group}"
    return str(OmegaConf.select(composed[group], "name", throw_on_resolution_failure=False))
