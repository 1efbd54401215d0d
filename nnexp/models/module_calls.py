"""A module as a function of its tensors, and its first ones.

Axes: M rows of a batch, D inputs, C outputs, P and S elements of a run's flat rows.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nnexp.models.module_dropout import MaskSource
from nnexp.randomness import stream_seed

if TYPE_CHECKING:
    from nnexp.models.layout import Layout
    from nnexp.models.module_network import ModuleNetwork

Tensors = Mapping[str, Tensor]
Call = Callable[[Tensors, Tensor, Sequence[Tensor]], tuple[Tensor, dict[str, Tensor]]]


def caller(module: nn.Module, source: MaskSource) -> Call:
    """The module as a function of one run's tensors, batch [M, D] and masks.

    It returns the logits [M, C], and by name the buffers that the module has replaced by others;
    those that it changes in place have changed.
    """

    ties = _ties(module)

    def call(
        tensors: Tensors, x: Tensor, masks: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        source.give(masks)
        used = {**tensors, **{other: tensors[name] for other, name in ties.items()}}
        logits = functional_call(module, used, (x,), tie_weights=False)
        changed = {n: used[n].detach() for n, t in tensors.items() if used[n] is not t}
        return logits, changed

    return call


def _ties(module: nn.Module) -> dict[str, str]:
    """Further names of parameters and buffers that have several, and the first one of each."""
    first: dict[int, str] = {}
    ties = {}
    for named in (module.named_parameters, module.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            if first.setdefault(id(tensor), name) != name:
                ties[name] = first[id(tensor)]
    return ties


def gradients(logits: Tensor, leaves: Sequence[Tensor], grad: Tensor) -> tuple[Tensor, ...]:
    """Of the leaves; zero for those that the logits do not depend on."""
    return torch.autograd.grad(logits, leaves, grad, allow_unused=True, materialize_grads=True)


@contextlib.contextmanager
def seeded(
    seed: int, purpose: str, *counters: int, device: torch.device | None = None
) -> Iterator[None]:
    """Have the global generators of torch, NumPy and Python at the start of a stream, inside."""
    key = stream_seed(seed, purpose, *counters)
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    cuda = [device] if device is not None and device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            torch.default_generator.manual_seed(key)
            for one in cuda:
                with torch.cuda.device(one):
                    torch.cuda.manual_seed(key)
            random.seed(key)
            np.random.seed(key % 2**32)  # noqa: NPY002
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def initial(network: ModuleNetwork, seed: int) -> tuple[Tensor, Tensor]:
    """A run's first parameters [P] and statistics [S], float32 on the CPU.

    The factory draws them from the global generators, which are seeded for it and then put back.
    """
    with seeded(seed, "init"):
        module = network.make()
    return flat_rows(network.parameters, network.statistics, module)


def flat_rows(parameters: Layout, statistics: Layout, module: nn.Module) -> tuple[Tensor, Tensor]:
    """A module's tensors as flat rows [P] and [S]."""
    own: dict[str, Any] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    rows = []
    for layout in (parameters, statistics):
        flat = torch.zeros(1, layout.size)
        for name, view in layout.views(flat).items():
            view[0] = own[name].detach()
        rows.append(flat[0])
    return rows[0], rows[1]
