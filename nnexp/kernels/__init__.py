"""Kernels for CUDA, in Triton: one pass where torch would make several."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

# --------------------------------------------------------------------------------------------------
# How kernels are started.
# --------------------------------------------------------------------------------------------------


def launch(
    kernel: Any, programs: int, tensors: Sequence[Tensor | None], *numbers: float, **constants: int
) -> None:
    """Start ``programs`` instances of a kernel on the device that holds its tensors.

    Products and sums are rounded one by one as written, never fused, so that the numbers hang
    neither on Triton's version nor on its defaults.

    Args:
        kernel: its arguments are ``tensors``, ``numbers``, ``constants``, in this order.
        tensors: the first says which device; None where the kernel goes without.

    Raises:
        ValueError: a tensor is not contiguous, or not where the first one is.
    """
    first = tensors[0]
    assert first is not None
    for place, tensor in enumerate(tensors):
        if tensor is not None and not (tensor.is_contiguous() and tensor.device == first.device):
            raise ValueError(
                f"tensor {place} of {kernel.__name__} must be contiguous and on {first.device}; "
                f"strides {tensor.stride()} for {tuple(tensor.shape)}, on {tensor.device}"
            )
    with torch.cuda.device_of(first):  # Triton starts kernels on the current device
        kernel[(programs,)](*tensors, *numbers, **constants, enable_fp_fusion=False)


# --------------------------------------------------------------------------------------------------
# Kernels for CUDA, in Triton: one pass where torch would make several.
#
# Each does what plain torch code elsewhere does, and is tested against it: on the CPU by Triton's
# interpreter, and on the device itself. Where Triton is absent or does not work, that code runs.
# Modules of this package import triton; ask ``available`` before importing one.
# --------------------------------------------------------------------------------------------------

_log = logging.getLogger(__name__)


@cache
def available(device: torch.device) -> bool:
    """Whether kernels run on ``device``. The first question is answered by running one."""
    if device.type != "cuda" or find_spec("triton") is None:
        return False
    try:
        return _one_works(device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # no compiler, no headers, no cache folder, an old device, ...
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        _log.warning("Triton does not work on %s, so training is slower: %s", device, reason)
        return False


def _one_works(device: torch.device) -> bool:
    from nnexp.kernels.gather import gather_pixels  # imports triton

    table = torch.full((1, 1), 3, dtype=torch.uint8, device=device)
    index = torch.zeros(1, dtype=torch.int64, device=device)
    one = torch.ones(1, 1, dtype=torch.float64, device=device)
    out = torch.zeros(1, 1, 1, device=device)
    gather_pixels(table, index, one, one, out)
    return out.item() == 2
