"""How much the classes count in training: ``trainer.balance_classes``, ``trainer.class_weights``.

Axes: ``C`` classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnexp.config.schema import TrainerConfig
from nnexp.data.dataset import Dataset
from nnexp.errors import ConfigError, did_you_mean


def class_weights(dataset: Dataset, trainer: TrainerConfig) -> Tensor | None:
    """Return the weights of the classes [C], float64; None if all count alike.

    Balanced, a class of n_c of the n training samples weighs n / (C n_c), as scikit-learn has it.

    Raises:
        ConfigError: a name that is no class; or training samples that are computed, not counted.
    """
    if trainer.balance_classes:
        if not isinstance(dataset.train, Tensor) or not isinstance(dataset.y, Tensor):
            raise ConfigError(
                f"trainer.balance_classes=true: the classes of {dataset.name} are not counted, "
                "for its samples are computed"
            )
        counts = torch.bincount(dataset.y[dataset.train], minlength=dataset.num_classes)
        return dataset.num_train / (dataset.num_classes * counts.double())
    if not trainer.class_weights:
        return None
    given = {str(name): weight for name, weight in trainer.class_weights.items()}
    for name in given:
        if name not in dataset.class_names:
            raise ConfigError(
                f"trainer.class_weights: {dataset.name} has no class {name}"
                f"{did_you_mean(name, dataset.class_names)}"
            )
    weights = [given.get(name, 1.0) for name in dataset.class_names]
    return torch.tensor(weights, dtype=torch.float64)
