"""Plain torch, one run after the other: with tensors in memory and with a DataLoader."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from learners.work import LEARNING_RATE, Task, Work
from nnexp.devices import threads


def network(work: Work, device: torch.device) -> nn.Module:
    """The network, with torch's default initial weights."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(work.widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(device)


def plain(work: Work, x: Tensor, y: Tensor) -> float:
    """Tensors in memory, a random permutation an epoch, Adam(fused=True).

    Returns the mean training loss of the last epoch, as every learner here.
    """
    module = network(work, x.device)
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, fused=True)
    criterion = nn.CrossEntropyLoss()
    for _ in range(work.epochs):
        losses = []
        order = torch.randperm(len(x), device=x.device)
        for start in range(0, len(x), work.batch_size):
            rows = order[start : start + work.batch_size]
            optimizer.zero_grad()
            loss = criterion(module(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def loader(work: Work, x: Tensor, y: Tensor) -> float:
    """The same with a DataLoader over a TensorDataset, and Adam as it comes."""
    module = network(work, x.device)
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    criterion = nn.CrossEntropyLoss()
    batches = DataLoader(TensorDataset(x.cpu(), y.cpu()), batch_size=work.batch_size, shuffle=True)
    for _ in range(work.epochs):
        losses = []
        for features, labels in batches:
            optimizer.zero_grad()
            loss = criterion(module(features.to(x.device)), labels.to(x.device))
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def plain_runs(task: Task) -> list[float]:
    """``plain``, a run a seed."""
    x, y = _training_rows(task)
    losses = []
    with threads(task.threads):
        for seed in task.seeds:
            torch.manual_seed(seed)
            losses.append(plain(task.work, x, y))
    return losses


def loader_runs(task: Task) -> list[float]:
    """``loader``, a run a seed."""
    x, y = _training_rows(task)
    losses = []
    with threads(task.threads):
        for seed in task.seeds:
            torch.manual_seed(seed)
            losses.append(loader(task.work, x, y))
    return losses


def _training_rows(task: Task) -> tuple[Tensor, Tensor]:
    data = task.data
    return torch.from_numpy(data.x[: data.num_train]), torch.from_numpy(data.y[: data.num_train])
