"""What an optimizer is: hyperparameters with their ranges, the state it keeps, its update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from omegaconf import MISSING

from nnexp.config.fields import ranged
from nnexp.hyperparameters import shared
from nnexp.registry import register_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from nnexp.optim.update import Update

OptimizerT = TypeVar("OptimizerT", bound="Optimizer")


@dataclass
class Optimizer:
    """Base of all optimizers: a dataclass of hyperparameters with the update that they control.

    A subclass names the buffers it keeps in ``state`` and defines ``update``. Runs with different
    hyperparameters, and runs with other optimizers, train in one batch: every float is a tensor
    over the runs in there.
    """

    name: str = MISSING
    lr: float = ranged(MISSING, ge=0)

    state: ClassVar[tuple[str, ...]] = ()
    """Buffers that are kept from step to step, zero at first, each [R, P]."""

    def update(self, params: Tensor, grads: Tensor, state: Any, hyper: Any) -> None:
        """Update ``params`` and ``state`` in place.

        Elementwise, please: a row holds a run's parameters end to end, padded with zeros. An
        operation that mixes elements sees no layers, and its last bits would depend on the batch.

        Args:
            params: [R, P] float32.
            grads: [R, P], clipped if the run clips; free to be overwritten.
            state: the buffers of ``state`` by name, each [R, P].
            hyper: hyperparameters by name. A float is a tensor [R, 1], a tuple or list of floats a
                list of such; ``lr`` is that of this step, and ``step`` counts from 1. Whatever is
                no float is the plain value, which all R runs share.
        """
        raise NotImplementedError

    def state_names(self) -> tuple[str, ...]:
        """The buffers that these hyperparameters need; memory estimates go by their number."""
        return self.state

    def shared(self) -> tuple[Any, ...]:
        """What runs must agree on to be updated in one batch, so that every run's arithmetic is
        the same whoever is in it: here all that is no float."""
        return shared(self)

    # How the update is carried out. What comes with nnexp has faster ways than the general one.

    def batched(self) -> type[Update]:
        """Passes over many short rows at once."""
        from nnexp.optim.elementwise import Elementwise

        return Elementwise

    def fused(self) -> type[Update] | None:
        """One of torch's fused CPU kernels, for long rows; None where there is none."""
        return None

    def kernel(self) -> type[Update] | None:
        """A Triton kernel, for CUDA; None where there is none."""
        return None


@dataclass
class WithWeightDecay(Optimizer):
    """An optimizer with weight decay: ``weight_decay`` times the parameters joins the gradient."""

    weight_decay: float = ranged(0.0, ge=0)

    def shared(self) -> tuple[Any, ...]:
        """See ``Optimizer.shared``: a run without weight decay makes a pass less."""
        return (self.weight_decay > 0,)


def optimizer(name: str) -> Callable[[type[OptimizerT]], type[OptimizerT]]:
    """Register an optimizer, a dataclass derived from ``Optimizer``, as ``optimizer=<name>``.

    Raises:
        ConfigError: the class is no such dataclass, lacks ``update``, or the name is taken.
    """

    def decorate(cls: type[OptimizerT]) -> type[OptimizerT]:
        return register_class("optimizer", name, cls, Optimizer, needs=("update", "batched"))

    return decorate
