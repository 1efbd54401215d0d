"""What a network may be."""

from __future__ import annotations

from dataclasses import dataclass

from nnexp.config.fields import Problems, choice, ranged
from nnexp.models.activations import ACTIVATIONS
from nnexp.models.base import Model

NORMS = ("none", "batch", "layer")
INITS = ("default", "kaiming", "xavier", "orthogonal", "normal")


@dataclass
class ModelConfig(Model):
    """A multilayer perceptron: hidden layers of Linear, norm, activation, dropout; then Linear."""

    hidden: list[int] = ranged([], ge=1)  # widths of the hidden layers; [] is a linear model
    activation: str = choice("relu", ACTIVATIONS)
    dropout: float = ranged(0.0, ge=0, lt=1)  # after every hidden layer
    norm: str = choice("none", NORMS)
    residual: bool = False  # add a hidden layer's input to its output where widths are equal
    bias: bool = True
    init: str = choice("default", INITS)
    init_distribution: str = choice("uniform", ("uniform", "normal"))  # of kaiming and xavier
    init_std: float = ranged(0.02, gt=0)  # of init=normal

    def check_rules(self) -> Problems:
        """Options that would do nothing with these hidden layers are refused."""
        pairs = zip(self.hidden, self.hidden[1:], strict=False)
        if self.residual and not any(a == b for a, b in pairs):
            reason = "needs two neighbouring hidden layers of equal width"
            yield "residual", f"{reason}; model.hidden={self.hidden}"
        if not self.hidden and self.norm != "none":
            yield "norm", "needs a hidden layer, model.hidden=[]"
        if not self.hidden and self.dropout:
            yield "dropout", "needs a hidden layer, model.hidden=[]"
