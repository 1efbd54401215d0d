"""What the engine asks of a network, be it the built-in MLP or any ``torch.nn.Module``.

A ``Network`` is all that runs trained together share: everything but their parameters. It is
hashable and can be pickled, and neither it nor this module imports torch before something is
computed: the main process of a sweep plans without torch.

Axes: R runs, M rows of the buffers (a batch and its padding), D inputs, C outputs, P and S elements
of a run's row of the flat buffers of parameters and statistics.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nnexp.models.layout import Layout


@dataclass(frozen=True)
class RowMemory:
    """Bytes that one row of a batch takes in a network."""

    kept: int  # from step to step, or from the forward to the backward pass
    passing: int  # taken and given back within a step, by the larger batch alone
    evaluated: int = 0  # likewise while rows are evaluated: not at the same time


class BatchedNetwork(Protocol):
    """R networks of one kind over flat buffers, which the optimizers update in place."""

    params: Tensor  # [R, P] float32
    grads: Tensor  # [R, P] float32, filled by ``backward``
    stats: Tensor  # [R, S] float32, changed by ``forward`` in training

    @property
    def network(self) -> Network:
        """What the R networks have in common."""

    def input(self, rows: int) -> Tensor:
        """A buffer [R, rows, D], contiguous, to write a batch to that ``forward`` then takes."""

    def forward(self, x: Tensor, rows: int, step: int | Tensor | None = None) -> Tensor:
        """Logits [R, C, M], float32 and contiguous, of x [R, M, D] whose first ``rows`` count.

        ``step`` numbers the training steps of a run from 0 and keys its random numbers; it may be
        an int64 tensor [1] on the device where the network ``can_be_captured``. None evaluates.
        """

    def backward(self, grad: Tensor) -> None:
        """Fill ``grads`` from the gradient of the logits [R, C, M] of the last ``forward``."""

    def refresh(self) -> None:
        """Take over changed parameters, where the products run in another type."""


class Network(Hashable, Protocol):
    """What runs that train together share."""

    @property
    def num_features(self) -> int:
        """D."""

    @property
    def num_classes(self) -> int:
        """C."""

    @property
    def parameters(self) -> Layout:
        """The trained tensors."""

    @property
    def statistics(self) -> Layout:
        """What is kept of a run but not trained, such as the running statistics of batch norm."""

    @property
    def num_layers(self) -> int:
        """Layers, as a measure of how many operations a step calls."""

    @property
    def summary(self) -> str:
        """What tells it from others of the same name, for a table; may be empty."""

    @property
    def why_solo(self) -> str | None:
        """Why runs of it are not batched, in one line; None if they are."""

    @property
    def refuses_one_row(self) -> str | None:
        """What refuses to train on a batch of one row, for a message; None if nothing does."""

    @property
    def by_torch(self) -> bool:
        """Whether torch computes it as it likes: matrix products are made by torch's own library,
        and the last bits can depend on the number of threads."""

    @property
    def can_be_captured(self) -> bool:
        """Whether a training step can be captured in a CUDA graph."""

    def options(self) -> Mapping[str, object]:
        """All that tells it from other networks, by name."""

    def padded_rows(self, rows: int) -> int:
        """How many rows the buffers of a batch of ``rows`` must have."""

    def flops_per_row(self) -> int:
        """Multiplications and additions of one row's forward and backward pass."""

    def bytes_per_row(self) -> int:
        """Bytes of one row that a step writes and reads again: activations and their gradients."""

    def row_memory(self, model: Any, *, is_half: bool) -> RowMemory:
        """What a row takes in a run with the config ``model``, in float32 or bfloat16."""

    def initial(self, model: Any, seed: int) -> tuple[Tensor, Tensor]:
        """A run's first parameters [P] and statistics [S], float32 on the CPU."""

    def build(
        self,
        params: Tensor,
        stats: Tensor,
        seeds: Sequence[int],
        models: Sequence[Any],
        dtype: torch.dtype,
        *,
        trains: bool = True,
    ) -> BatchedNetwork:
        """R runs that compute together.

        Args:
            params, stats: [R, P] and [R, S], taken over or copied.
            seeds: of the runs.
            models: the runs' model configs, which may differ in what the network does not hold.
            dtype: of the matrix products.
            trains: else there is no ``backward``, and no memory for gradients.
        """

    def as_module(self, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
        """One run as a plain module, features [B, D] to logits [B, C].

        Args:
            tensors: as ``tensors`` returns them; None leaves some initial weights.
        """

    def tensors(self, params: Tensor, stats: Tensor) -> dict[str, Tensor]:
        """One run's flat rows [P] and [S] by the names of the module's tensors, on the CPU."""

    def saved(self) -> dict[str, Any]:
        """Plain values from which ``nnexp.models.choose.network_from`` makes the network again."""
