"""torch.compile of the whole training step: rows gathered, forward, backward, Adam, in one graph.

Whatever a step reads or changes is a parameter or a buffer of one module. Those keep their places,
so that mode="reduce-overhead" replays the step from a CUDA graph and copies nothing into it but
the numbers of the batch's rows.

Axes: R runs, S steps of an epoch, B rows of a batch, D inputs, H units, V held-out rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.func import grad_and_value
from torch.optim.adam import adam

from learners.epochs import Progress
from learners.work import LEARNING_RATE, Data, Work


class Step(nn.Module):
    """A training step of R runs. With one run tensors have no run axis."""

    x: Tensor
    y: Tensor
    total: Tensor

    def __init__(self, work: Work, x: Tensor, y: Tensor, runs: int) -> None:
        super().__init__()
        self.runs, self.dropout = runs, work.dropout
        self.dtype = torch.bfloat16 if work.precision == "bfloat16" else torch.float32
        lead = (runs,) if runs > 1 else ()
        shapes = [
            (*lead, *shape)
            for inputs, outputs in pairwise(work.widths)
            for shape in ((outputs, inputs), (outputs,))
        ]
        # Adam's lists: of every layer its weight and its bias.
        self.params = _buffers(shapes, x)
        self.means, self.squares = _buffers(shapes, x), _buffers(shapes, x)
        self.counts = _buffers([()] * len(shapes), x)
        self.register_buffer("x", x)
        self.register_buffer("y", y)
        self.register_buffer("total", x.new_zeros(lead))  # of the losses since it was emptied

    def start(self, seed: int) -> None:
        """New weights, as torch.nn.Linear draws them."""
        generator = torch.Generator(self.x.device).manual_seed(seed)
        for buffers in (self.means, self.squares, self.counts):
            for buffer in buffers:
                buffer.zero_()
        for i, param in enumerate(self.params):
            bound = self.params[i - i % 2].shape[-1] ** -0.5
            param.uniform_(-bound, bound, generator=generator)

    def forward(self, rows: Tensor) -> None:
        """Train on rows [B], or [R, B]."""
        gradients = grad_and_value(self._loss)
        if self.runs > 1:
            gradients = torch.vmap(gradients, randomness="different")
        grads, loss = gradients(list(self.params), self.x[rows], self.y[rows])
        adam(
            list(self.params), list(grads), list(self.means), list(self.squares), [],
            list(self.counts), foreach=True, capturable=True, amsgrad=False, beta1=0.9,
            beta2=0.999, lr=LEARNING_RATE, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip
        self.total.add_(loss)

    def _loss(self, params: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy of one run's batch."""
        params = [param.to(self.dtype) for param in params]
        h = x.to(self.dtype)
        for i in range(0, len(params) - 2, 2):
            h = F.relu(F.linear(h, params[i], params[i + 1]))
            if self.dropout:
                h = F.dropout(h, self.dropout)
        return F.cross_entropy(F.linear(h, params[-2], params[-1]).float(), y)

    def accuracies(self, x: Tensor, y: Tensor) -> list[float]:
        """Of every run, on held-out rows x [V, D], y [V]."""
        h = x.to(self.dtype)
        params = [param.to(self.dtype) for param in self.params]
        for i in range(0, len(params), 2):
            h = h @ params[i].mT + params[i + 1].unsqueeze(-2)
            if i < len(params) - 2:
                h = F.relu(h)
        right: list[float] = (h.argmax(-1) == y).float().mean(-1).reshape(-1).tolist()
        return right


class Compiled:
    """R runs together, the step traced into one graph.

    On the CPU, where there is no launch to save, the graph is run as it was traced: generating code
    for it would take a minute.
    """

    def __init__(self, work: Work, data: Data, device: torch.device, runs: int) -> None:
        counters.clear()
        self._work, self._runs = work, runs
        x, y = (torch.from_numpy(part).to(device) for part in (data.x, data.y))
        self._held_out = x[data.num_train :], y[data.num_train :]
        self._step = Step(work, x[: data.num_train], y[: data.num_train], runs)
        if device.type == "cuda":
            self._compiled = torch.compile(self._step, fullgraph=True, mode="reduce-overhead")
        else:
            self._compiled = torch.compile(self._step, fullgraph=True, backend="aot_eager")

    def train(self, seeds: Sequence[int], eval_every: int) -> Iterator[Progress]:
        """``len(seeds)`` runs, which is R; the first seed counts."""
        work, step = self._work, self._step
        torch.manual_seed(seeds[0])  # of dropout
        step.start(seeds[0])
        generator = torch.Generator(step.x.device).manual_seed(seeds[0])
        for epoch in range(1, work.epochs + 1):
            for rows in self._order(generator).unbind():
                self._compiled(rows)
            losses = (step.total / (work.rows // work.batch_size)).reshape(-1).tolist()  # waits
            step.total.zero_()
            due = epoch % eval_every == 0 or epoch == work.epochs
            yield Progress(losses, step.accuracies(*self._held_out) if due else None)

    def _order(self, generator: torch.Generator) -> Tensor:
        """The rows of the epoch's steps, [S, B] or [S, R, B]."""
        places = torch.rand(
            self._runs, self._work.rows, generator=generator, device=generator.device
        )
        order = places.argsort(1).view(self._runs, -1, self._work.batch_size)
        return (order.transpose(0, 1) if self._runs > 1 else order[0]).contiguous()


def skipped_graphs() -> str | None:
    """A remark where CUDA graphs were not used after all."""
    skipped = counters["inductor"]["cudagraph_skips"]
    return f"torch.compile left out CUDA graphs {skipped} times" if skipped else None


def _buffers(shapes: Sequence[tuple[int, ...]], like: Tensor) -> nn.ParameterList:
    return nn.ParameterList(
        [nn.Parameter(like.new_zeros(shape), requires_grad=False) for shape in shapes]
    )
