"""Plain torch as it is written every day: autograd, tensors on the device, Adam(fused=True)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from learners.epochs import Progress
from learners.torch_loops import network
from learners.work import LEARNING_RATE, Data, Work


class Eager:
    """One run at a time."""

    def __init__(self, work: Work, data: Data, device: torch.device) -> None:
        self._work, self._device = work, device
        x, y = (torch.from_numpy(part).to(device) for part in (data.x, data.y))
        self._train = x[: data.num_train], y[: data.num_train]
        self._held_out = x[data.num_train :], y[data.num_train :]

    def train(self, seeds: Sequence[int], eval_every: int) -> Iterator[Progress]:
        """One run; bfloat16 is autocast with float32 weights."""
        (seed,) = seeds
        work, (x, y) = self._work, self._train
        torch.manual_seed(seed)
        module = network(work, self._device)
        optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, fused=True)
        criterion = nn.CrossEntropyLoss()
        for epoch in range(1, work.epochs + 1):
            losses = []
            order = torch.randperm(len(x), device=self._device)
            for rows in torch.split(order, work.batch_size):
                optimizer.zero_grad()
                with self._cast():
                    loss = criterion(module(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            loss_of_epoch = float(torch.stack(losses).mean())  # waits for the device
            due = epoch % eval_every == 0 or epoch == work.epochs
            yield Progress([loss_of_epoch], [self._accuracy(module)] if due else None)

    def _cast(self) -> torch.autocast:
        is_bfloat16 = self._work.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=is_bfloat16)

    def _accuracy(self, module: nn.Module) -> float:
        x, y = self._held_out
        module.eval()
        with torch.no_grad(), self._cast():
            right = module(x).argmax(1) == y
        module.train()
        return float(right.float().mean())
