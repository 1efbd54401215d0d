"""R runs of any ``torch.nn.Module``: stacked under ``torch.func.vmap``, or one after the other.

Parameters and statistics are views of the flat buffers that the optimizers update, the gradient is
autograd's from the gradient of the logits; loss, clipping and updates are the engine's.

Bits. On CPU a run has the same bits solo and batched. Stacked, two things would break that: torch's
vectorised kernels leave the last elements of a contiguous tensor to scalar code, which rounds
otherwise and would meet the last run alone; and MKL multiplies a lone matrix by other routines than
a batch. So runs are followed by as many copies, whose results nobody reads, as it takes that no
real run lies at the end and none is alone; ``module_ops`` finds how many from the operations that
the module calls. Rows are not padded, for a module would see them.

Axes: R runs, T >= R runs and copies, M rows of a batch, D inputs, C outputs, P and S elements of a
run's flat rows.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnexp.errors import ConfigError, is_lost_gpu, is_out_of_memory
from nnexp.models.layers import LayeredDropout
from nnexp.models.module_calls import MaskSource, caller, gradients, seeded, with_masks
from nnexp.models.module_network import brief
from nnexp.models.module_ops import MOST_COPIES, Way, way_of

if TYPE_CHECKING:
    from nnexp.models.module_network import ModuleNetwork


class ModuleRuns:
    """R modules over flat buffers; see ``BatchedNetwork``.

    Args:
        params, stats: [R, P] and [R, S], copied.
        seeds: of the runs; they key dropout.
        dtype: of the matrix products. With bfloat16 they are made under ``torch.autocast``, and
            all that it leaves alone stays float32.
        trains: else there is no ``backward``, and no memory for gradients.
    """

    def __init__(
        self,
        network: ModuleNetwork,
        params: Tensor,
        stats: Tensor,
        seeds: Sequence[int],
        dtype: torch.dtype = torch.float32,
        *,
        trains: bool = True,
    ) -> None:
        self._network = network
        self._seeds = list(seeds)
        self._device = params.device
        self._all_params, self._all_stats = (_with_room(flat) for flat in (params, stats))
        self.params, self.stats = (
            flat[: len(seeds)] for flat in (self._all_params, self._all_stats)
        )
        # A single zero seen from everywhere cannot be written to.
        self.grads = torch.zeros_like(params if trains else params[:1, :1]).expand_as(params)
        self._grad_views = list(network.parameters.views(self.grads).values()) if trains else []
        self.dtype = dtype
        with seeded(0, "init"):
            module = network.make().to(self._device)
        training, source = copy.deepcopy(module).train(), MaskSource()
        if network.why_solo is None:
            training, source = with_masks(module)
        self._call = {True: caller(training, source), False: caller(module.eval(), source)}
        self._calls = _Calls(network, self._all_params, self._all_stats)
        self._filled = len(seeds)  # rows of the buffers that have been written to
        self._inputs: dict[tuple[int, int], Tensor] = {}  # [T, M, D] by T and M
        self._dropouts: dict[int, LayeredDropout] = {}  # by M
        self._logits: list[Tensor] = []  # with their graphs: one [T, M, C], or [M, C] of each run
        self._leaves: list[list[Tensor]] = []  # that they were computed from
        # Buffers that the module has replaced in the last forward pass, and those that are kept.
        self._changed: list[tuple[dict[str, Tensor], _Tensors]] = []
        self._stacks = False  # the last forward pass did

    @property
    def network(self) -> ModuleNetwork:
        """As in ``BatchedNetwork``."""
        return self._network

    def input(self, rows: int) -> Tensor:
        """As in ``BatchedNetwork``: a part of the buffer that has room for the copies."""
        way = self._way(rows, training=True)
        return self._input(way.total(len(self._seeds)), rows)[: len(self._seeds)]

    def refresh(self) -> None:
        """Nothing to do: the module sees the parameters themselves."""

    def forward(self, x: Tensor, rows: int, step: int | Tensor | None = None) -> Tensor:
        """As in ``BatchedNetwork``."""
        assert not isinstance(step, Tensor), "steps of a module are not captured"
        training = step is not None
        way = self._way(rows, training)
        mode = torch.enable_grad() if training else torch.no_grad()
        self._stacks = way.stacks
        with mode, self._named(), self._casting():
            if way.stacks:
                logits = self._stacked(x, rows, way, step)
            else:
                logits = self._one_by_one(x, rows, way, step)
        if not training:
            self._take_over()
        return logits.mT.float().contiguous()

    def backward(self, grad: Tensor) -> None:
        """As in ``BatchedNetwork``."""
        runs = len(self._seeds)
        grad = grad.mT.to(self._logits[0].dtype)  # [R, M, C]
        with self._named():
            if self._stacks:
                wanted = grad.new_zeros(self._logits[0].shape)
                wanted[:runs] = grad
                found = gradients(self._logits[0], self._leaves[0], wanted)
                torch._foreach_copy_(self._grad_views, [each[:runs] for each in found])
            else:
                for run, (logits, leaves) in enumerate(
                    zip(self._logits, self._leaves, strict=True)
                ):
                    found = gradients(logits, leaves, grad[run].contiguous())
                    torch._foreach_copy_([view[run] for view in self._grad_views], found)
        self._logits, self._leaves = [], []
        self._take_over()

    def _take_over(self) -> None:
        """Write buffers that the module has replaced by others to where they are kept: after the
        backward pass, which may need what they were."""
        with torch.no_grad():
            for changed, tensors in self._changed:
                for name, tensor in changed.items():
                    tensors.named[name].copy_(tensor)
                if self._stacks:
                    self._calls.keep(tensors)
        self._changed = []

    # ── stacked ───────────────────────────────────────────────────────────────────────────────

    def _stacked(self, x: Tensor, rows: int, way: Way, step: int | None) -> Tensor:
        """Logits [R, M, C] of all runs at once."""
        runs = len(self._seeds)
        total = way.total(runs)
        batch = self._input(total, rows)
        if x.data_ptr() != batch.data_ptr():
            batch[:runs] = x
        self._fill(total)
        masks: list[Tensor] = []
        if step is not None:
            masks = self._masks(rows, way, step, total)
        tensors = self._calls.stacked(total, gradients=step is not None)
        call = self._call[step is not None]
        logits, changed = torch.func.vmap(call, randomness="error")(tensors.named, batch, masks)
        self._changed = [(changed, tensors)]
        if step is not None:
            self._logits, self._leaves = [logits], [tensors.leaves]
        return logits.detach()[:runs]

    def _fill(self, total: int) -> None:
        """Make the copies. They are never updated: it does not matter what they compute."""
        if total <= self._filled:
            return
        for flat in (self._all_params, self._all_stats):
            flat[self._filled : total] = flat[len(self._seeds) - 1]
        self._filled = total

    def _masks(self, rows: int, way: Way, step: int, total: int) -> list[Tensor]:
        """Of the runs, and of the copies, which may have any."""
        if not way.masks:
            return []
        if rows not in self._dropouts:
            seeds = self._seeds + self._seeds[-1:] * (total - len(self._seeds))
            self._dropouts[rows] = LayeredDropout(seeds, way.masks, rows, self._device)
        return self._dropouts[rows].draw(step)

    def _input(self, total: int, rows: int) -> Tensor:
        if (total, rows) not in self._inputs:
            shape = (total, rows, self._network.num_features)
            self._inputs[total, rows] = torch.zeros(shape, device=self._device)
        return self._inputs[total, rows]

    # ── one by one ────────────────────────────────────────────────────────────────────────────

    def _one_by_one(self, x: Tensor, rows: int, way: Way, step: int | None) -> Tensor:
        """Logits [R, M, C], each run's as if it were there alone."""
        masks: list[Tensor] = []
        if step is not None:
            masks = self._masks(rows, way, step, len(self._seeds))
            self._logits, self._leaves = [], []
        self._changed = []
        call = self._call[step is not None]
        logits = []
        for run in range(len(self._seeds)):
            tensors = self._calls.of_run(run, gradients=step is not None)
            own = [mask[run] for mask in masks]
            # A copy starts on a cache line wherever the run lies.
            batch = x[run].clone()
            with self._drawing(run, step):
                found, changed = call(tensors.named, batch, own)
            self._changed.append((changed, tensors))
            if step is not None:
                self._logits.append(found)
                self._leaves.append(tensors.leaves)
            logits.append(found.detach())
        return torch.stack(logits)

    def _drawing(self, run: int, step: int | None) -> contextlib.AbstractContextManager[None]:
        """Where the module may draw random numbers, dropout included: of this run and step."""
        if self._network.why_solo is None:
            return contextlib.nullcontext()
        counters = () if step is None else (step,)
        return seeded(self._seeds[run], "module", *counters, device=self._device)

    # ── both ──────────────────────────────────────────────────────────────────────────────────

    def _way(self, rows: int, training: bool) -> Way:
        return way_of(self._network, rows, training=training, on_cpu=self._device.type == "cpu")

    def _casting(self) -> contextlib.AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        # Casts are not kept: what vmap makes of a parameter is another tensor in each pass.
        return torch.autocast(self._device.type, self.dtype, cache_enabled=False)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """What the module raises is about the model."""
        try:
            yield
        except Exception as error:
            if isinstance(error, ConfigError) or is_out_of_memory(error) or is_lost_gpu(error):
                raise
            at = "" if self.dtype == torch.float32 else f" in {self.dtype}".replace("torch.", "")
            raise ConfigError(f"model={self._network.name}{at}: {brief(error)}") from error


class _Calls:
    """The tensors that a module is called with, over the flat buffers.

    Parameters are views. So are the statistics of one run; those of stacked runs are copied to
    tensors that are contiguous and back: what vmap makes of batch norm updates the running
    statistics where they are contiguous, and else a copy that is lost.

    Args:
        params, stats: [T, P] and [T, S], with room for the copies behind the runs.
    """

    def __init__(self, network: ModuleNetwork, params: Tensor, stats: Tensor) -> None:
        self._parameters, self._statistics = network.parameters, network.statistics
        self._params, self._stats = params, stats
        self._made: dict[tuple[int, int, bool], _Tensors] = {}
        self._kept: dict[int, list[Tensor]] = {}  # views of the statistics of T runs

    def stacked(self, total: int, *, gradients: bool) -> _Tensors:
        """Of T runs, with the statistics as they are now; ``keep`` keeps what becomes of them."""
        key = (0, total, gradients)
        if key not in self._made:
            views = self._statistics.views(self._stats[:total])
            self._kept[total] = list(views.values())
            copies = {n: v.clone(memory_format=torch.contiguous_format) for n, v in views.items()}
            trained = self._parameters.views(self._params[:total])
            self._made[key] = _Tensors.of(trained, copies, gradients=gradients)
        tensors = self._made[key]
        if tensors.statistics:
            torch._foreach_copy_(tensors.statistics, self._kept[total])
        return tensors

    def of_run(self, run: int, *, gradients: bool) -> _Tensors:
        """Of one run."""
        key = (run, -1, gradients)
        if key not in self._made:
            flats = (self._params[run : run + 1], self._stats[run : run + 1])
            layouts = (self._parameters, self._statistics)
            trained, others = (
                {name: view[0] for name, view in layout.views(flat).items()}
                for layout, flat in zip(layouts, flats, strict=True)
            )
            self._made[key] = _Tensors.of(trained, others, gradients=gradients)
        return self._made[key]

    def keep(self, tensors: _Tensors) -> None:
        """Write the statistics of stacked runs to where they are kept."""
        if tensors.statistics:
            torch._foreach_copy_(self._kept[len(tensors.statistics[0])], tensors.statistics)


@dataclass(frozen=True)
class _Tensors:
    """What a module is called with."""

    named: dict[str, Tensor]  # all of them
    leaves: list[Tensor]  # of these the parameters that are trained
    statistics: list[Tensor]  # and the others

    @classmethod
    def of(
        cls, trained: Mapping[str, Tensor], others: Mapping[str, Tensor], *, gradients: bool
    ) -> _Tensors:
        """Each a tensor of its own: views of one buffer share the version by which autograd sees
        whether something that it needs has been changed in place."""
        leaves = {name: view.data.requires_grad_(gradients) for name, view in trained.items()}
        rest = {name: view.data for name, view in others.items()}
        return cls({**leaves, **rest}, list(leaves.values()), list(rest.values()))


def _with_room(flat: Tensor) -> Tensor:
    """[R, E] with room for copies of the last run behind it, on the CPU.

    The system gives a process pages of a large buffer when they are written to, not before; so
    room that is not used takes none.
    """
    if flat.device.type != "cpu":
        return flat.clone()
    whole = flat.new_empty(len(flat) + MOST_COPIES, flat.shape[1])
    whole[: len(flat)] = flat
    return whole
