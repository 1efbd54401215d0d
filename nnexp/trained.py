"""Trained networks as files, and back: ``checkpoints/best.pt`` and ``checkpoints/last.pt``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nnexp.data import Dataset
from nnexp.data.raw_features import raw_features, require
from nnexp.engine import RunState
from nnexp.errors import ConfigError, DataError
from nnexp.models.choose import network_from
from nnexp.models.protocol import Network
from nnexp.registry import import_components
from nnexp.results.checkpoints import load_checkpoint, save_checkpoint

FORMAT = 1
ADDED = ("pixels",)
"""Keys that the first checkpoints do not have."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with all that it takes to use it on data as they come."""

    module: nn.Module  # scaled features [B, D] to logits [B, C], in evaluation mode
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...] = field(repr=False)
    shift: Tensor = field(repr=False)  # [D] float64
    scale: Tensor = field(repr=False)  # [D] float64
    pixels: bool = field(default=False, repr=False)  # features are bytes

    @torch.no_grad()
    def probabilities(self, raw: ArrayLike | Tensor) -> Tensor:
        """Return [B, C], on the CPU, for features [B, D] as the data set has them before scaling.

        Args:
            raw: a tensor, an array or a list of rows, columns in the order of ``feature_names``.

        Raises:
            DataError: the features are not [B, D] finite real numbers, or too large once scaled;
                the network has weights that are not finite, is in training mode, or its outputs
                for a row are not finite. A softmax would turn these into some class.
        """
        rows = raw_features(raw, self.feature_names, pixels=self.pixels)
        self._check_module()
        weight = next(self.module.parameters())
        scaled = ((rows - self.shift) * self.scale).to(weight.dtype)
        problem = f"is too large for the network, which computes in {_name(weight.dtype)}"
        require(scaled.isfinite(), rows, self.feature_names, problem)
        logits = self.module(scaled.to(weight.device)).cpu()
        overflown = (~logits.isfinite()).any(1).nonzero()[:1].flatten().tolist()
        for row in overflown:
            raise DataError(
                f"row {row}: the network's outputs are not finite; its features are far from those "
                "of the training data"
            )
        return logits.softmax(1)  # type: ignore[no-any-return]

    def predict(self, raw: ArrayLike | Tensor) -> list[str]:
        """Return the likeliest class's name for each row of features [B, D].

        Takes and raises what ``probabilities`` does.
        """
        return [self.class_names[i] for i in self.probabilities(raw).argmax(1).tolist()]

    def _check_module(self) -> None:
        """Users may have trained it further, or loaded the last weights of a run that diverged."""
        if any(part.training for part in self.module.modules()):
            raise DataError(
                "the network is in training mode, where its outputs depend on the other rows: call "
                "network.module.eval() first"
            )
        for name, tensor in self.module.state_dict().items():
            if not tensor.isfinite().all():
                raise DataError(f"the network's {name} is not finite: its training diverged")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def save_best(
    path: Path,
    config: Mapping[str, Any],
    network: Network,
    dataset: Dataset,
    state: RunState,
) -> None:
    """Write the weights of the best epoch, of which there must have been one."""
    assert state.best is not None
    content = _common(config, network, dataset)
    content["epoch"] = state.best_epoch
    content["model"] = network.tensors(*state.best)
    save_checkpoint(path, content)


def save_last(
    path: Path,
    config: Mapping[str, Any],
    network: Network,
    dataset: Dataset,
    state: RunState,
) -> None:
    """Write the weights of the last epoch, the optimizer's state and how far training is."""
    content = _common(config, network, dataset)
    content |= {
        key: getattr(state, key)
        for key in ("epoch", "step", "best_epoch", "best_loss", "stopping_best", "stale", "status")
    }
    content["model"] = network.tensors(state.params, state.stats)
    layout = network.parameters
    content["optimizer"] = {name: layout.unpack(flat) for name, flat in state.optimizer.items()}
    save_checkpoint(path, content)


def load_network(path: str | Path) -> TrainedNetwork:
    """The network of a checkpoint of a run.

    Raises:
        DataError: the file is missing, damaged or of another format.
        ConfigError: its model or activation is one of another package, which is not there.
    """
    content = load_checkpoint(Path(path))
    if content.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {content.get('format')} is not {FORMAT}, the one read here"
        )
    try:
        module = _module(content)
    except ConfigError:
        if not content["config"].get("imports"):
            raise
        import_components(content["config"]["imports"])  # as the run did; they may register it
        module = _module(content)
    return TrainedNetwork(
        module,
        tuple(content["class_names"]),
        tuple(content["feature_names"]),
        content["shift"],
        content["scale"],
        content.get("pixels", False),
    )


def _module(content: Mapping[str, Any]) -> nn.Module:
    return network_from(content["structure"]).as_module(content["model"]).eval()


def _common(config: Mapping[str, Any], network: Network, dataset: Dataset) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "config": config,
        "structure": network.saved(),
        "class_names": list(dataset.class_names),
        "feature_names": list(dataset.feature_names),
        "shift": dataset.shift,
        "scale": dataset.scale,
        "pixels": dataset.pixels is not None,
    }
