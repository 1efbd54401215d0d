"""Adam with decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnexp.config.fields import ranged
from nnexp.lazy import torch
from nnexp.optim.adam import Adam, BatchedAdam, FusedAdam, KernelAdam
from nnexp.optim.base import Update, optimizer

if TYPE_CHECKING:
    from torch import Tensor


@optimizer("adamw")
@dataclass
class AdamW(Adam):
    """Adam whose weight decay does not pass through the moments (Loshchilov and Hutter 2019), as
    ``torch.optim.AdamW``."""

    weight_decay: float = ranged(1e-2, ge=0)

    def batched(self) -> type[Update]:
        """See ``Optimizer.batched``."""
        return BatchedAdamW

    def fused(self) -> type[Update]:
        """See ``Optimizer.fused``."""
        return FusedAdamW

    def kernel(self) -> type[Update]:
        """See ``Optimizer.kernel``."""
        return KernelAdamW


class BatchedAdamW(BatchedAdam):
    """AdamW in passes over many rows."""

    def _shrinkage(self, rates: Tensor) -> list[Tensor]:
        return [] if self._decay is None else [1 - rates * self._hyper("weight_decay")]


class FusedAdamW(FusedAdam, BatchedAdamW):
    """AdamW by torch's fused kernel."""

    def _call_kernel(self, *tensors: list[Tensor], **hyper: Any) -> None:
        torch._fused_adamw_(*tensors, **hyper)


class KernelAdamW(KernelAdam, BatchedAdamW):
    """AdamW by a Triton kernel."""
