"""What is found out about a module before it is trained, by building and calling it on the CPU.

Axes: B rows of a batch, D inputs, C outputs.
"""

from __future__ import annotations

import copy
import functools
import pickle
import random
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nnexp.device import check_mode
from nnexp.errors import ConfigError
from nnexp.models.module_calls import MaskSource, caller, gradients, seeded, with_masks
from nnexp.models.module_network import ModuleFacts, brief, make_module

_ROWS = 4  # of a batch that a module is tried on
_RUNS = 2
# As far as results under vmap may be from those without, relative to the largest.
_TOLERANCE = 1e-3


@functools.lru_cache(maxsize=256)
def facts_of(
    name: str,
    factory: Callable[..., Any],  # a name may be registered again
    hyperparameters: tuple[tuple[str, Any], ...],
    num_features: int,
    num_classes: int,
) -> ModuleFacts:
    """Build a registered module and call it.

    Raises:
        ConfigError: as ``module_network``.
    """
    try:
        return _facts_of(name, hyperparameters, num_features, num_classes)
    except ConfigError:
        raise
    except Exception as error:  # of somebody's module
        raise ConfigError(f"model={name}: cannot be trained here: {brief(error)}") from error


def _require_saved(
    name: str,
    module: nn.Module,
    hyperparameters: tuple[tuple[str, Any], ...],
    num_features: int,
    num_classes: int,
) -> None:
    """Refuse a buffer that is drawn at random and not saved: a checkpoint would be of another
    network."""
    kept = module.state_dict().keys()
    unsaved = {key: tensor for key, tensor in module.named_buffers() if key not in kept}
    if not unsaved:
        return
    with seeded(1, "init"):
        other = make_module(name, hyperparameters, num_features, num_classes)
    drawn = dict(other.named_buffers())
    for key, tensor in unsaved.items():
        if not torch.equal(tensor, drawn[key]):
            raise ConfigError(
                f"model={name}: the buffer {key} is random, and would not be saved; register it "
                "with persistent=True"
            )


def _facts_of(
    name: str, hyperparameters: tuple[tuple[str, Any], ...], num_features: int, num_classes: int
) -> ModuleFacts:
    check_mode(by_torch=True)  # before something multiplies
    with seeded(0, "init"):
        module = make_module(name, hyperparameters, num_features, num_classes)
    trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if not trained:
        raise ConfigError(f"model={name}: has no parameters to train")
    for key, parameter in trained.items():
        if parameter.dtype != torch.float32:
            raise ConfigError(f"model={name}: {key} is {parameter.dtype}; must be real numbers")
    with seeded(0, "module"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they come again when it trains
        _check_shapes(name, module, num_features, num_classes)
        why_solo = _why_solo(module, num_features)
        flops, saved = _costs(module, num_features)
        refuses_one_row = _refuses_one_row(module, num_features)
    others = {n: t for n, t in _tensors(module).items() if n not in trained}
    _require_saved(name, module, hyperparameters, num_features, num_classes)
    return ModuleFacts(
        tuple((n, tuple(p.shape)) for n, p in trained.items()),
        tuple(
            (n, tuple(t.shape), str(t.dtype).removeprefix("torch."), t.element_size())
            for n, t in others.items()
        ),
        _state(module),
        flops_per_row=flops,
        saved_per_row=saved,
        num_layers=sum(not list(part.children()) for part in module.modules()),
        why_solo=why_solo,
        refuses_one_row=refuses_one_row,
    )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, each once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _state(module: nn.Module) -> tuple[tuple[str, str], ...]:
    """Keys of the state_dict with the first name of their tensors: tied ones have several keys."""
    first = {id(tensor): name for name, tensor in _tensors(module).items()}
    state = module.state_dict(keep_vars=True)  # and get_extra_state's, which is no tensor of it
    return tuple((key, first[id(t)]) for key, t in state.items() if id(t) in first)


def _batch(rows: int, num_features: int) -> Tensor:
    return torch.randn(rows, num_features, generator=torch.Generator().manual_seed(0))


def _check_shapes(name: str, module: nn.Module, num_features: int, num_classes: int) -> None:
    """Raise ConfigError where the module does not turn [B, D] into [B, C]."""
    given = f"[{_ROWS}, {num_features}]"
    for training in (True, False):
        copied = copy.deepcopy(module).train(training)
        try:
            found = copied(_batch(_ROWS, num_features))
        except Exception as error:
            raise ConfigError(
                f"model={name}: raised {brief(error)} for an input of shape {given}"
            ) from error
        wanted = [_ROWS, num_classes]
        if not isinstance(found, Tensor) or list(found.shape) != wanted:
            shape = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ConfigError(
                f"model={name}: returned {shape} for an input of shape {given}; "
                f"must be {wanted}, a score for each class"
            )
        if not found.is_floating_point():
            raise ConfigError(f"model={name}: returned {found.dtype}; must be floating-point")
        if not found.requires_grad:
            raise ConfigError(f"model={name}: its output does not depend on what is trained")


def _refuses_one_row(module: nn.Module, num_features: int) -> bool:
    try:
        copy.deepcopy(module).train()(_batch(1, num_features))
    except Exception:
        return True
    return False


def _why_solo(module: nn.Module, num_features: int) -> str | None:
    """Why vmap cannot batch runs of the module; None if it can."""
    masked, source = with_masks(module)
    if _draws(masked, num_features):
        return "it draws random numbers in other ways than by torch.nn.Dropout"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            same = _agrees(masked, source, num_features)
        except Exception as error:
            return f"torch.func.vmap cannot batch it: {brief(error)}"
    for warning in caught:
        if match := re.search(r"batching rule for (\S+?)\.?\s", str(warning.message)):
            return f"torch.func.vmap cannot batch {match[1]}"
    return None if same else "torch.func.vmap gives other results for it"


def _draws(masked: nn.Module, num_features: int) -> bool:
    """Whether one of the global generators is in another state after a pass."""

    def states() -> tuple[bytes, ...]:
        everyone = torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()  # noqa: NPY002
        return tuple(map(pickle.dumps, everyone))

    before = states()
    for training in (True, False):
        copy.deepcopy(masked).train(training)(_batch(_ROWS, num_features))
    return states() != before


def _agrees(masked: nn.Module, source: MaskSource, num_features: int) -> bool:
    """Whether logits, gradients and buffers are the same under vmap as without."""
    batch = _batch(_ROWS, num_features)
    plain = copy.deepcopy(masked)
    source.record()
    with torch.no_grad():
        masked(batch)
    masks = [torch.ones(shape) for shape, _ in source.calls]

    own = {
        n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in _tensors(plain).items()
    }
    tensors = {
        n: torch.stack([t.detach()] * _RUNS).requires_grad_(t.requires_grad) for n, t in own.items()
    }
    call = caller(masked, source)
    logits, changed = call(own, batch, masks)
    stacked, stacked_changed = torch.func.vmap(call, randomness="error")(
        tensors, batch.expand(_RUNS, -1, -1), [mask.expand(_RUNS, *mask.shape) for mask in masks]
    )
    leaves = [n for n, t in own.items() if t.requires_grad]
    pairs = list(
        zip(
            [logits, *gradients(logits, [own[n] for n in leaves], torch.ones_like(logits))],
            [stacked, *gradients(stacked, [tensors[n] for n in leaves], torch.ones_like(stacked))],
            strict=True,
        )
    )
    if set(changed) != set(stacked_changed):
        return False
    pairs += [
        (changed.get(name, own[name]), stacked_changed.get(name, tensors[name]))
        for name in own.keys() - set(leaves)
    ]
    return all(_close(one, many[-1]) for one, many in pairs)


def _close(a: Tensor, b: Tensor) -> bool:
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    scale = max(1.0, float(a.abs().max())) if a.numel() else 1.0
    return bool(((a - b).abs() <= _TOLERANCE * scale).all())


def _costs(module: nn.Module, num_features: int) -> tuple[int, int]:
    """Floating-point operations of a row, forward and backward, and bytes kept in between."""
    parameters = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    copied = copy.deepcopy(module).train()
    parameters |= {p.untyped_storage().data_ptr() for p in copied.parameters()}
    counter = FlopCounterMode(display=False)
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = copied(_batch(_ROWS, num_features))
        out.sum().backward()
    return max(1, counter.get_total_flops() // _ROWS), max(1, sum(kept.values()) // _ROWS)
