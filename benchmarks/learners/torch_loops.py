"""Plain torch, one run after the other: with tensors in memory and with a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from learners.work import LEARNING_RATE, Task, Work
from nnexp.device import threads


def network(work: Work, device: torch.device) -> nn.Module:
    """The network, with torch's default initial weights."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(work.widths[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        if work.dropout:
            layers.append(nn.Dropout(work.dropout))
    return nn.Sequential(*layers, nn.Linear(work.widths[-2], work.widths[-1])).to(device)


def plain(work: Work, x: Tensor, y: Tensor) -> float:
    """Tensors in memory, a random permutation an epoch, Adam(fused=True).

    Returns the mean training loss of the last epoch, as every learner here.
    """

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(x), device=x.device)
        for start in range(0, len(x), work.batch_size):
            rows = order[start : start + work.batch_size]
            yield x[rows], y[rows]

    return _trained(work, x.device, batches, fused=True)


def loader(work: Work, x: Tensor, y: Tensor) -> float:
    """The same with a DataLoader over a TensorDataset, and Adam as it comes."""
    rows = TensorDataset(x.cpu(), y.cpu())
    batches = DataLoader(rows, batch_size=work.batch_size, shuffle=True)

    def moved() -> Iterator[tuple[Tensor, Tensor]]:
        for features, labels in batches:
            yield features.to(x.device), labels.to(x.device)

    return _trained(work, x.device, moved, fused=None)


def _trained(
    work: Work,
    device: torch.device,
    batches: Callable[[], Iterator[tuple[Tensor, Tensor]]],
    *,
    fused: bool | None,
) -> float:
    module = network(work, device)
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, fused=fused)
    criterion = nn.CrossEntropyLoss()
    for _ in range(work.epochs):
        losses = []
        for features, labels in batches():
            optimizer.zero_grad()
            loss = criterion(module(features), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def plain_runs(task: Task) -> list[float]:
    """``plain``, a run a seed."""
    return _runs(plain, task)


def loader_runs(task: Task) -> list[float]:
    """``loader``, a run a seed."""
    return _runs(loader, task)


def _runs(learner: Callable[[Work, Tensor, Tensor], float], task: Task) -> list[float]:
    data = task.data
    x, y = (torch.from_numpy(part[: data.num_train]) for part in (data.x, data.y))
    losses = []
    with threads(task.threads):
        for seed in task.seeds:
            torch.manual_seed(seed)
            losses.append(learner(task.work, x, y))
    return losses
