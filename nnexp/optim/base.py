"""The base of optimizers: hyperparameters, state, and the update of many runs at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from omegaconf import MISSING

from nnexp.config.fields import ranged
from nnexp.hyperparameters import over_runs, shared
from nnexp.lazy import torch
from nnexp.registry import register_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

# --------------------------------------------------------------------------------------------------
# Carrying out an optimizer's update: its runs' rows, their hyperparameters, the state.
#
# Axes: r runs of one optimizer, P elements a run, S steps of an epoch, h hyperparameters that
# change from step to step.
# --------------------------------------------------------------------------------------------------

# Added to squared gradients. No update sees it, for it is far below any eps and is rounded away
# where a gradient exceeds 1e-13; but torch's square root takes 5 times as long where it meets a
# zero, of which a network with units that never fire has many.
FLOOR = 1e-34

# With eps=0 a number that has never had a gradient, such as padding, stays: 0 / tiny is 0.
SMALLEST_EPS = 2.0**-126  # torch.finfo(torch.float32).tiny


class Update(ABC):
    """The state of r runs of one optimizer, and the update of their parameters.

    ``state`` holds the buffers by torch.optim's names, each [r, P]. The runs agree on what decides
    which passes are made (``Optimizer.shared``), so a run's arithmetic is the same in any batch.
    """

    def __init__(self, configs: Sequence[Any], params: Tensor, grads: Tensor) -> None:
        self.configs = configs
        self.params = params  # [r, P], views of the group's rows
        self.grads = grads
        self.state: dict[str, Tensor] = {}
        self._table: Tensor | None = None
        self._floor = params.new_tensor(FLOOR)
        decays = getattr(configs[0], "weight_decay", 0)
        self._decay = self._column("weight_decay") if decays else None

    @abstractmethod
    def prepare(self, first: int, rates: Tensor) -> None:
        """Get ready for the steps of an epoch.

        What is kept on the parameters' device for it stays at its address as long as S does, so
        that steps captured once in a CUDA graph serve every epoch.

        Args:
            first: number of the epoch's first step, counted from 0 over the run.
            rates: learning rates [S, r], float64, on the CPU.
        """

    @abstractmethod
    def step(self, index: int | Tensor) -> None:
        """Update parameters and state from the gradients.

        Args:
            index: counts the steps within the epoch. An int64 tensor [1] on the parameters' device
                is read there, without waiting for it: one captured step then serves for all.
        """

    @cached_property
    def _scratch(self) -> Tensor:
        """A buffer [r, P] for what only a step needs; there from the first that does."""
        return torch.empty_like(self.params)

    def _tabulate(self, *values: Tensor) -> None:
        """Keep the h ``values`` [S, r] (float64, on the CPU) that change from step to step."""
        rows = torch.stack(values, 1).to(self.params.dtype).unsqueeze(-1)  # [S, h, r, 1]
        if self._table is not None and self._table.shape == rows.shape:
            self._table.copy_(rows)
            return
        self._table = rows.to(self.params.device)
        self._columns = [column.unbind() for column in self._table.unbind(1)]  # h lists of S
        self._row = torch.empty_like(self._table[:1])
        self._at_index = self._row[0].unbind()

    def _now(self, index: int | Tensor) -> Sequence[Tensor]:
        """The tabulated values of one step, h times [r, 1]."""
        if isinstance(index, int):
            return [column[index] for column in self._columns]
        assert self._table is not None
        torch.index_select(self._table, 0, index, out=self._row)
        return self._at_index

    def _add(self, name: str, value: float | Tensor = 0.0) -> Tensor:
        self.state[name] = torch.zeros_like(self.params).add_(value)
        return self.state[name]

    def _hyper(self, name: str) -> Tensor:
        """One hyperparameter over the runs, [r], float64, on the CPU."""
        return torch.tensor([getattr(c, name) for c in self.configs], dtype=torch.float64)

    def _put(self, values: Tensor) -> Tensor:
        """[..., r] float64 on the CPU to [..., r, 1] as the parameters are."""
        return values.to(self.params.device, self.params.dtype).unsqueeze(-1)

    def _column(self, name: str) -> Tensor:
        return self._put(self._hyper(name))

    def _put_eps(self, eps: Tensor) -> Tensor:
        return self._put(eps.clamp(min=SMALLEST_EPS))

    def _squared_grads(self, out: Tensor) -> Tensor:
        return torch.addcmul(self._floor, self.grads, self.grads, out=out)

    def _add_weight_decay(self) -> None:
        if self._decay is not None:
            self.grads.addcmul_(self.params, self._decay)


# --------------------------------------------------------------------------------------------------
# The update that an optimizer's own ``update`` describes, for many runs at once.
#
# Axes: r runs of one optimizer, P elements a run, S steps of an epoch.
# --------------------------------------------------------------------------------------------------


class Elementwise(Update):
    """Calls ``Optimizer.update`` with every float as a tensor [r, 1]."""

    def __init__(self, configs: Sequence[Any], params: Tensor, grads: Tensor) -> None:
        super().__init__(configs, params, grads)
        for name in configs[0].state_names():
            self._add(name)
        self._state = SimpleNamespace(**self.state)
        self._hyperparameters = over_runs(configs, params)

    def prepare(self, first: int, rates: Tensor) -> None:
        """See ``Update.prepare``."""
        counts = torch.arange(first + 1, first + 1 + len(rates), dtype=torch.float64)
        self._tabulate(rates, counts.unsqueeze(1).expand_as(rates))

    def step(self, index: int | Tensor) -> None:
        """See ``Update.step``."""
        hyper = self._hyperparameters
        hyper.lr, hyper.step = self._now(index)
        self.configs[0].update(self.params, self.grads, self._state, hyper)


# --------------------------------------------------------------------------------------------------
# What an optimizer is: hyperparameters with their ranges, the state it keeps, its update.
# --------------------------------------------------------------------------------------------------

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

        It must be elementwise: a row holds a run's parameters end to end, padded with zeros. An
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
