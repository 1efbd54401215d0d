"""Multilayer perceptrons with a run axis: forward pass and back propagation.

Every tensor leads with the run axis and every product is batched over it, so one network and many
are the same code. Derivatives are written out: at these sizes autograd's bookkeeping costs as much
as the arithmetic.

Logits lie with the classes before the rows: softmax over the rows' stride is 20 times as fast as
over ten neighbouring numbers.

Axes: R runs, M rows of the buffers (a batch and its padding), D inputs, H units, C classes,
P numbers in a run's row of the flat buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnexp.models.layers import Affine, BatchNorm, Dropout, LayerNorm, Norm, matmul, multiplying
from nnexp.models.layout import Structure, parameter_layout, statistics_layout
from nnexp.registry import component

# On the CPU weights of at most so many numbers get their gradients from one product of all runs and
# a copy; larger ones, run by run, where the copy would cost more than the calls. CUDA writes the
# products of all runs to rows that lie apart.
_BATCHED_GRADIENT = 4096


class Linear:
    """Weighted sums: x [R, M, D] to x W^T + b [R, M, H]."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, weight_grad: Tensor, bias_grad: Tensor | None
    ) -> None:
        self.weight = weight  # [R, H, D]
        self.weight_grad = weight_grad
        self.bias = None if bias is None else self._broadcast(bias)
        self.bias_grad = bias_grad
        self._transposed = weight.transpose(1, 2)
        self._make_products()
        size = weight.shape[1] * weight.shape[2]
        apart = weight.is_cuda or self._gradient_of_weight.writes_apart
        direct = size > _BATCHED_GRADIENT or apart
        whole = weight_grad.dtype == weight.dtype and direct
        self._gradient = weight_grad if whole else weight.new_empty(weight.shape)

    def _broadcast(self, bias: Tensor) -> Tensor:
        """The bias [R, H] as it is added to the sums."""
        return bias.unsqueeze(1)

    def _make_products(self) -> None:
        self._sums = matmul(self.weight)
        self._gradient_of_weight = matmul(self.weight, transpose_a=True)
        self._gradient_of_x = matmul(self.weight)

    def forward(self, x: Tensor, out: Tensor) -> None:
        """Write the sums to ``out``."""
        self._sums(x, self._transposed, out, self.bias)

    def backward(self, x: Tensor, grad: Tensor, out: Tensor | None) -> None:
        """Keep the parameters' gradients; write that of ``x`` to ``out`` if it is wanted."""
        self._keep_weight_grad(grad, x)
        if self.bias_grad is not None:
            torch.sum(grad, 1, dtype=self.bias_grad.dtype, out=self.bias_grad)
        if out is not None:
            self._gradient_of_x(grad, self.weight, out)

    def _keep_weight_grad(self, grad: Tensor, x: Tensor) -> None:
        """From the gradient of the sums and the inputs [R, M, D]."""
        self._gradient_of_weight(grad, x, self._gradient)
        if self._gradient is not self.weight_grad:
            self.weight_grad.copy_(self._gradient)


class Output(Linear):
    """Logits: h [R, M, H] to W h^T + b [R, C, M]."""

    def _broadcast(self, bias: Tensor) -> Tensor:
        return bias.unsqueeze(2)

    def _make_products(self) -> None:
        self._sums = matmul(self.weight, transpose_b=True)
        self._gradient_of_weight = matmul(self.weight)
        self._gradient_of_x = matmul(self.weight, transpose_a=True)

    def forward(self, x: Tensor, out: Tensor) -> None:
        """Write the logits to ``out``."""
        self._sums(self.weight, x, out, self.bias)

    def backward(self, x: Tensor, grad: Tensor, out: Tensor | None) -> None:
        """As ``Linear.backward``, from the gradient [R, C, M] of the logits."""
        self._keep_weight_grad(grad, x)
        if self.bias_grad is not None:
            torch.sum(grad, 2, dtype=self.bias_grad.dtype, out=self.bias_grad)
        if out is not None:
            self._gradient_of_x(grad, self.weight, out)


@dataclass
class _Buffers:
    """One hidden layer's tensors for one number of rows, all [R, M, H]."""

    sums: Tensor
    active: Tensor  # the activation's output; may be ``sums``
    out: Tensor  # the layer's output; may be ``active``
    grad: Tensor


class HiddenLayer:
    """Linear, norm, activation, dropout, and the way around them if the structure has one."""

    def __init__(
        self,
        linear: Linear,
        norm: Norm | None,
        activation: str,
        drops: bool,
        skips: bool,
    ) -> None:
        self._linear = linear
        self._norm = norm
        self._activation = component("activation", activation)
        self._drops = drops
        self._skips = skips
        self._buffers: dict[int, _Buffers] = {}

    def buffers(self, x: Tensor) -> _Buffers:
        """The buffers for as many rows as ``x`` [R, M, D] has, made at first use."""
        rows = x.shape[1]
        if rows not in self._buffers:
            weight = self._linear.weight
            shape = (weight.shape[0], rows, weight.shape[1])
            sums = x.new_empty(shape)
            active = x.new_empty(shape) if self._activation.saves_input else sums
            apart = self._drops or self._skips
            out = x.new_empty(shape) if apart else active
            self._buffers[rows] = _Buffers(sums, active, out, x.new_empty(shape))
        return self._buffers[rows]

    def forward(self, x: Tensor, rows: int, mask: Tensor | None, *, training: bool) -> Tensor:
        """x [R, M, D] to [R, M, H], dropped out by ``mask`` [R, M, H] if there is one."""
        buffers = self.buffers(x)
        sums = buffers.sums
        self._linear.forward(x, sums)
        if self._norm is not None:
            sums.copy_(self._norm.forward(sums, rows, training=training))
        self._activation.forward(sums, buffers.active)
        self._mask = mask
        if mask is not None:
            torch.mul(buffers.active, mask, out=buffers.out)
        elif buffers.out is not buffers.active:
            buffers.out.copy_(buffers.active)
        if self._skips:
            buffers.out.add_(x)
        return buffers.out

    def backward(self, x: Tensor, rows: int, grad_x: Tensor | None) -> None:
        """From the gradient in this layer's buffer: the parameters', and that of ``x``."""
        buffers = self.buffers(x)
        grad = buffers.grad
        skipped = grad.clone() if self._skips else None
        if self._mask is not None:
            grad.mul_(self._mask)
        saved = buffers.sums if self._activation.saves_input else buffers.active
        self._activation.backward(grad, saved)
        if self._norm is not None:
            grad.copy_(self._norm.backward(grad, rows))
        self._linear.backward(x, grad, grad_x)
        if skipped is not None and grad_x is not None:
            grad_x.add_(skipped)


class MLP:
    """R networks of one structure over flat buffers.

    Args:
        params: [R, P] float32, laid out by ``parameter_layout``.
        stats: [R, S] float32, laid out by ``statistics_layout``; training changes it.
        dropout: the masks' source, or None where no run drops anything.
        dtype: of the matrix products; with bfloat16 the parameters stay float32, are cast for each
            step, and logits and loss are float32.
        trains: else there is no ``backward``, and no memory for gradients.

    ``grads`` [R, P] holds the gradients after ``backward``.
    """

    def __init__(
        self,
        structure: Structure,
        params: Tensor,
        stats: Tensor,
        dropout: Dropout | None = None,
        dtype: torch.dtype = torch.float32,
        *,
        trains: bool = True,
    ) -> None:
        self.structure = structure
        self.params = params
        self.stats = stats
        # A single zero seen from everywhere cannot be written to.
        self.grads = torch.zeros_like(params if trains else params[:1, :1]).expand_as(params)
        self.dtype = dtype
        self._cast = params if dtype == params.dtype else params.to(dtype)
        self._multiplying = multiplying(self._cast)
        cast, true = (parameter_layout(structure).views(flat) for flat in (self._cast, params))
        grads = parameter_layout(structure).views(self.grads)
        running = statistics_layout(structure).views(stats)

        def linear(name: str, kind: type[Linear] = Linear) -> Linear:
            weight, bias = f"{name}.weight", f"{name}.bias"
            return kind(cast[weight], cast.get(bias), grads[weight], grads.get(bias))

        def norm(name: str) -> Norm | None:
            if structure.norm == "none":
                return None
            weight, bias = f"{name}.weight", f"{name}.bias"
            affine = Affine(true[weight], true[bias], grads[weight], grads[bias])
            if structure.norm == "layer":
                return LayerNorm(affine)
            mean, var = (running[f"{name}.running_{moment}"] for moment in ("mean", "var"))
            return BatchNorm(affine, mean, var)

        self._hidden = [
            HiddenLayer(
                linear(f"hidden.{i}.linear"),
                norm(f"hidden.{i}.norm"),
                structure.activation,
                dropout is not None,
                structure.skips(i),
            )
            for i in range(len(structure.hidden))
        ]
        self._output = linear("output", Output)
        self._dropout = dropout
        self._no_masks = [None] * len(self._hidden)
        self._inputs: list[Tensor] = []  # of every layer, kept by forward for backward
        self._rows = 0

    @property
    def network(self) -> Structure:
        """As in ``BatchedNetwork``."""
        return self.structure

    def input(self, rows: int) -> Tensor:
        """A buffer [R, rows, D] for a batch."""
        shape = (len(self.params), rows, self.structure.num_features)
        return torch.empty(shape, device=self.params.device)

    def refresh(self) -> None:
        """Take over changed parameters, where the products run in another type."""
        if self._cast is not self.params:
            self._cast.copy_(self.params)

    def forward(self, x: Tensor, rows: int, step: int | Tensor | None = None) -> Tensor:
        """Logits [R, C, M], float32, of x [R, M, D] whose first ``rows`` rows count.

        ``step`` numbers the training steps of a run from 0 and keys dropout, as a number or as an
        int64 tensor [1] on the device; None evaluates, with the running statistics of batch norm
        and without dropout.
        """
        with self._multiplying():
            return self._forward(x, rows, step)

    def _forward(self, x: Tensor, rows: int, step: int | Tensor | None) -> Tensor:
        h = x.to(self.dtype)
        self._inputs, self._rows = [h], rows
        masks: Sequence[Tensor | None] = self._no_masks
        if step is not None and self._dropout is not None:
            masks = [mask.to(self.dtype) for mask in self._dropout.masks(step, x.shape[1])]
        for layer, mask in zip(self._hidden, masks, strict=True):
            h = layer.forward(h, rows, mask, training=step is not None)
            self._inputs.append(h)
        logits = h.new_empty(h.shape[0], self.structure.num_classes, h.shape[1])
        self._output.forward(h, logits)
        return logits.float()

    def backward(self, grad: Tensor) -> None:
        """Fill ``grads`` from the gradient of the logits [R, C, M] of the last ``forward``."""
        # Back propagation (Rumelhart, Hinton and Williams 1986), layer by layer from the end.
        inputs = self._inputs
        last = len(self._hidden)
        wanted = [
            self._hidden[i - 1].buffers(inputs[i - 1]).grad if i else None for i in range(last + 1)
        ]
        with self._multiplying():
            self._output.backward(inputs[last], grad.to(self.dtype), wanted[last])
            for i in range(last - 1, -1, -1):
                self._hidden[i].backward(inputs[i], self._rows, wanted[i])
