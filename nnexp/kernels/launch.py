"""How kernels are started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


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
