"""What a run is called: its arm in a few words, the seed left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

# Overrides that say nothing about what is compared: the data set, which has a field of its own,
# and where and how it is all computed and shown.
_SILENT = (
    "seed",
    "debug",
    "model",
    "optimizer",
    "trainer.device",
    "trainer.threads",
    "trainer.checkpoint_seconds",
    "trainer.histograms",
    "trainer.pictures",
)
_SILENT_PREFIXES = ("~", "baseline", "hydra", "dataset")
_SPOKEN = ("dataset.num_train", "dataset.scaling")


def arm_name(composed: DictConfig, overrides: Sequence[str]) -> str:
    """For example ``deep · adam · lr=0.01``.

    Args:
        overrides: the job's overrides as Hydra gives them; what the arm was told apart by.
    """
    parts = [_name_of(composed, group) for group in ("model", "optimizer")]
    pair = "_".join(parts)
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        silent = key in _SILENT or key.startswith(_SILENT_PREFIXES)
        if (silent and key not in _SPOKEN) or (key == "experiment" and value == pair):
            continue
        parts.append(value if key == "experiment" else f"{key.rpartition('.')[2]}={value}")
    return " · ".join(parts)


def identity(composed: DictConfig) -> dict[str, Any]:
    """Seed and names of a config that was refused, as far as they can be made out."""
    seed = OmegaConf.select(composed, "seed", throw_on_resolution_failure=False)
    names = {group: _name_of(composed, group) for group in ("model", "optimizer", "dataset")}
    return {"seed": seed if type(seed) is int else 0, **names}


def _name_of(composed: DictConfig, group: str) -> str:
    if group not in composed or OmegaConf.is_missing(composed, group):
        return f"no {group}"
    return str(OmegaConf.select(composed[group], "name", throw_on_resolution_failure=False))
