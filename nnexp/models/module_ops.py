"""How runs of a module are computed: stacked, followed by how many copies, or one by one.

Decided from the operations that the module calls, which are traced for two numbers of runs: the
dimension that grows is that of the runs. What is decided depends on the network and the number of
rows, so that it is the same for all groups. Axes: R runs, M rows of a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnexp.models.module_calls import MaskSource, caller, gradients, initial, seeded, with_masks
from nnexp.models.module_network import factory_of

if TYPE_CHECKING:
    from nnexp.models.module_network import ModuleNetwork

# torch's kernels take up to four vectors of 16 float32 at once and leave the rest to other code.
_WHOLE = 64
MOST_COPIES = _WHOLE  # behind the last run
# Steps of one run that, with the copies that it may need, cost more than so many floating-point
# operations are computed one run after the other: a run would pay for copies what stacking saves in
# calls. Reading and writing a byte again costs as much as the operations below
# (benchmarks/modules.py). It must not depend on the number of runs.
_MOST_FLOPS = 200e6
_FLOPS_OF_A_BYTE = 200
_RUNS = (3, 5)  # that are traced


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EXACT = (
    # Arithmetic that scalar and vector instructions round alike.
    _names("""
        add sub mul div neg abs relu threshold_backward clamp clamp_min clamp_max maximum minimum
        where masked_fill sign floor ceil round sqrt square hardtanh hardtanh_backward leaky_relu
        leaky_relu_backward eq ne lt le gt ge logical_and logical_or logical_not bitwise_and
        bitwise_or bitwise_not isnan isfinite
    """)
    # Elements moved about, or added one by one for each row of a run.
    | _names("""
        _to_copy copy clone detach lift_fresh cat stack index index_select index_put index_add
        gather scatter scatter_add embedding embedding_dense_backward constant_pad_nd
        slice_backward select_backward roll flip repeat zeros zeros_like new_zeros ones ones_like
        new_ones full full_like new_full empty empty_like new_empty new_empty_strided
        empty_strided fill zero arange scalar_tensor _unsafe_view
    """)
    # Each row by itself, wherever it lies.
    | _names("""
        native_layer_norm native_layer_norm_backward native_group_norm native_group_norm_backward
        _softmax _softmax_backward_data _log_softmax _log_softmax_backward_data
    """)
)
# Each run by itself where the dimension of the runs is the outermost.
_REDUCTIONS = _names("""
    sum mean amax amin max min var var_mean std argmax argmin prod logsumexp cumsum norm
    linalg_vector_norm any all
""")
_PRODUCTS = _names("mm addmm mv addmv dot vdot addr")  # that know of no runs
_BATCHED_PRODUCTS = _names("bmm baddbmm")
_CHANNELS = _names("""
    native_batch_norm native_batch_norm_backward _native_batch_norm_legit batch_norm_backward
""")
_CONVOLUTIONS = _names("convolution convolution_backward")
_OF_A_CONVOLUTION = 2  # grouped ones go by 16 groups at once; measured: 16 copies suffice


@dataclass(frozen=True)
class Way:
    """How runs of a network are computed on batches of one size.

    Attributes:
        stacks: at once; else one after the other.
        masks: shape and rate of each call of dropout, in their order.
        strides: elements from a run to the next in the tensors that are sensitive to their end.
    """

    stacks: bool
    masks: tuple[tuple[tuple[int, ...], float], ...] = ()
    strides: frozenset[int] = frozenset()
    copies: bool = True  # else runs need no copies behind them

    def total(self, runs: int) -> int:
        """Runs and copies that are computed."""
        if not self.stacks or not self.copies:
            return runs
        total = max(runs, 2)
        while not all(self._is_safe(stride, runs, total) for stride in self.strides):
            total += 1
        return total

    def dearest(self) -> int:
        """Most copies that a group may need."""
        return max([1, *(-(-_WHOLE // stride) for stride in self.strides if stride % _WHOLE)])

    @staticmethod
    def _is_safe(stride: int, runs: int, total: int) -> bool:
        """Whether no run's elements are among those that are left over at the end."""
        return (total - runs) * stride >= _WHOLE or total * stride % _WHOLE == 0


def way_of(network: ModuleNetwork, rows: int, *, training: bool, on_cpu: bool = True) -> Way:
    """How to compute batches of ``rows`` rows."""
    return _way_of(network, factory_of(network.name), rows, training, on_cpu)


@functools.lru_cache(maxsize=256)
def _way_of(
    network: ModuleNetwork,
    factory: Callable[..., nn.Module],  # a name may be registered again
    rows: int,
    training: bool,
    on_cpu: bool,
) -> Way:
    if network.why_solo is not None:  # and what it drops out is drawn by torch's generator
        return Way(stacks=False)
    traced = _Traced(network, rows, training)
    if not on_cpu:
        return Way(stacks=True, masks=traced.masks(), copies=False)
    masks = traced.masks()
    strides = _sensitive(*(traced.operations(runs, masks) for runs in _RUNS))
    if strides is None:
        return Way(stacks=False, masks=masks)
    way = Way(True, masks, strides)
    flops = rows * (network.flops_per_row() + _FLOPS_OF_A_BYTE * network.facts.saved_per_row)
    return way if (1 + way.dearest()) * flops <= _MOST_FLOPS else Way(stacks=False, masks=masks)


@dataclass(frozen=True)
class _Operation:
    name: str
    is_pointwise: bool
    scales: bool  # add and sub with a factor, which may be fused with the addition
    inputs: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]  # shapes and strides
    outputs: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that compute something."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[_Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.seen.append(
                _Operation(
                    func._schema.name.removeprefix("aten::").rstrip("_"),
                    torch.Tag.pointwise in func.tags,
                    (kwargs or {}).get("alpha", 1) != 1,
                    tuple(_laid_out((args, kwargs))),
                    tuple(_laid_out(made)),
                )
            )
        return made


def _laid_out(tree: Any) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    for tensor in tree_leaves(tree):
        if isinstance(tensor, Tensor):
            yield tuple(tensor.shape), tensor.stride()


class _Traced:
    """A module of the network's, called to see what it does. All on the CPU."""

    def __init__(self, network: ModuleNetwork, rows: int, training: bool) -> None:
        self._network, self._rows, self._training = network, rows, training
        self._params, self._stats = initial(network, 0)
        with seeded(0, "init"):
            module = network.make()
        self._source: MaskSource | None = None
        self._module = module.eval()
        if training:
            self._module, self._source = with_masks(module)

    def masks(self) -> tuple[tuple[tuple[int, ...], float], ...]:
        """The calls of dropout."""
        if self._source is None:
            return ()
        source = self._source
        source.record()
        tensors = {name: view[0].clone() for name, view in self._views(1).items()}
        with torch.no_grad(), seeded(0, "module"):
            torch.func.functional_call(self._module, tensors, (self._batch(1)[0],))
        return tuple(source.calls)

    def operations(
        self, runs: int, masks: tuple[tuple[tuple[int, ...], float], ...]
    ) -> list[_Operation]:
        """Of a forward pass of so many runs, in training of a backward pass too."""
        tensors = self._views(runs)
        leaves = [tensors[name] for name in self._network.parameters.slots]
        call = caller(self._module, self._source or MaskSource())
        given = [torch.ones(runs, *shape) for shape, _ in masks]
        batch = self._batch(runs)
        operations = _Operations()
        with operations, torch.set_grad_enabled(self._training):
            for leaf in leaves:
                leaf.requires_grad_(self._training)
            logits, _ = torch.func.vmap(call, randomness="error")(tensors, batch, given)
            if self._training:
                gradients(logits, leaves, torch.ones(logits.shape))
        return operations.seen

    def _views(self, runs: int) -> dict[str, Tensor]:
        """As ``ModuleRuns`` has them: parameters in flat rows, statistics each by itself."""
        trained = self._network.parameters.views(self._params.repeat(runs, 1))
        others = self._network.statistics.views(self._stats.repeat(runs, 1))
        return {
            **trained,
            **{n: v.clone(memory_format=torch.contiguous_format) for n, v in others.items()},
        }

    def _batch(self, runs: int) -> Tensor:
        stream = torch.Generator().manual_seed(0)
        return torch.randn(runs, self._rows, self._network.num_features, generator=stream)


def _sensitive(some: list[_Operation], more: list[_Operation]) -> frozenset[int] | None:
    """Elements from a run to the next in the tensors whose end is computed otherwise than the rest.

    None where runs cannot be told apart in all tensors, or are multiplied as rows of one matrix,
    whose number the last bits of a product can depend on.
    """
    if [one.name for one in some] != [one.name for one in more]:
        return None
    strides: set[int] = set()
    for one, other in zip(some, more, strict=True):
        try:
            found = [*_run_strides(one, other)]
        except ValueError:
            return None
        if not found:
            continue  # the same for all runs
        if one.name in _PRODUCTS:
            return None
        if one.name in _BATCHED_PRODUCTS:
            if any(dim for _, dim, _ in found):
                return None
        elif one.name in _EXACT and not one.scales:
            continue
        elif one.name in _REDUCTIONS:
            strides |= {stride for stride, _, is_outermost in found if not is_outermost}
        elif one.is_pointwise or one.name in _CHANNELS:
            strides |= {stride for stride, _, _ in found}
        elif one.name in _CONVOLUTIONS:
            strides.add(_OF_A_CONVOLUTION)
        else:
            strides.add(1)
    return frozenset(strides)


def _run_strides(one: _Operation, other: _Operation) -> Iterator[tuple[int, int, bool]]:
    """Of each tensor that has runs: elements from one run to the next if it were contiguous in the
    order of its strides, the dimension of the runs, and whether no other lies around it.

    Raises:
        ValueError: there is no such dimension, or more than one.
    """
    for mine, theirs in zip(one.inputs + one.outputs, other.inputs + other.outputs, strict=True):
        (shape, strides), (wider, _) = mine, theirs
        if shape == wider:
            continue
        (dim,) = (d for d, (a, b) in enumerate(zip(shape, wider, strict=True)) if a != b)
        of_a_run, rest = divmod(shape[dim], _RUNS[0])
        if rest or wider[dim] != of_a_run * _RUNS[1]:
            raise ValueError("a dimension that grows otherwise than the number of runs")
        inner, is_outermost = of_a_run, True
        for size, stride in zip(shape, strides, strict=True):
            if 0 < stride < strides[dim]:
                inner *= size
            is_outermost = is_outermost and (size == 1 or stride <= strides[dim])
        yield inner, dim, is_outermost
