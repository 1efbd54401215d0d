"""From a config, or a checkpoint, to the network that it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nnexp.config.schema import Config, ModelConfig
from nnexp.models.layout import Structure
from nnexp.models.module_network import module_network
from nnexp.models.protocol import Network


def network_of(config: Config, num_features: int, num_classes: int) -> Network:
    """The network that a config means for data of so many features and classes.

    The MLP's are a ``ModelConfig``. Every other model is a registered ``torch.nn.Module``, whose
    hyperparameters are the config's fields but for its name.

    Raises:
        ConfigError: as ``module_network``.
    """
    model: Any = config.model
    if not isinstance(model, ModelConfig):
        options = {field.name: getattr(model, field.name) for field in fields(model)}
        name = options.pop("name")
        return module_network(name, options, num_features, num_classes)
    return Structure(
        num_features,
        tuple(model.hidden),
        num_classes,
        activation=model.activation,
        norm=model.norm,
        residual=model.residual,
        bias=model.bias,
    )


def network_from(saved: Mapping[str, Any]) -> Network:
    """The network whose ``Network.saved`` a checkpoint has.

    Raises:
        ConfigError: its model is not registered, or is no longer what it was.
    """
    if "module" in saved:
        sizes = saved["num_features"], saved["num_classes"]
        return module_network(saved["module"], saved["hyperparameters"], *sizes)
    return Structure.from_saved(saved)
