"""Many steps: one after the other, or captured once and replayed."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nnexp.engine.step import Assembly

# Steps of the longer of two graphs. Replaying one costs the host some 10 microseconds and the GPU a
# gap of one or two; capturing costs the host as much as two times the steps.
STEPS_OF_A_GRAPH = 16

Work = Callable[[], None]


class Loop(ABC):
    """Trains an assembly on neighbouring batches of one size."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly

    @abstractmethod
    def run(
        self, rows: Tensor, labels: Tensor, size: int, index: int, number: int
    ) -> tuple[Tensor, Tensor]:
        """Losses [R, S * B] and rights [R, S * B] of S steps.

        Args:
            rows: [S, R * M], as ``Features.rows`` takes them.
            labels: [S, R, 1, M].
            size: B.
            index: of the first step, within the epoch.
            number: of the first step, within the run.
        """


class Stepwise(Loop):
    """Every step's operations are called from Python."""

    def run(
        self, rows: Tensor, labels: Tensor, size: int, index: int, number: int
    ) -> tuple[Tensor, Tensor]:
        """See ``Loop.run``."""
        losses, rights = [], []
        for at, (own, classes) in enumerate(zip(rows.unbind(), labels.unbind(), strict=True)):
            loss, right = self._assembly.step(own, classes, size, index + at, number + at)
            losses.append(loss)
            rights.append(right)
        return torch.cat(losses, 1), torch.cat(rights, 1)


@dataclass(eq=False)
class _Tape:
    """What captured steps of one size read and write. Its tensors keep their addresses."""

    size: int  # B
    rows: Tensor  # [S, R * M]
    labels: Tensor  # [S, R, 1, M]
    losses: Tensor  # [S, R, B]
    rights: Tensor  # [S, R, B]
    counters: Tensor  # [3]: the next step's place on the tape, in the epoch, in the run
    is_warm: bool = False
    replays: dict[int, Work] = field(default_factory=dict)  # by number of steps


class Replayed(Loop):
    """A step is captured and replayed: which step it is, it reads from a counter on the device.

    Nothing in a step needs the host. The first step of a size is called as it is: buffers are made
    at first use, kernels compiled, and libraries get ready.
    """

    def __init__(self, assembly: Assembly) -> None:
        super().__init__(assembly)
        self._tapes: dict[tuple[int, int], _Tape] = {}  # by M and B

    @abstractmethod
    def capture(self, work: Work) -> Work:
        """Turn work, without doing it, into work that does the same again and again."""

    def run(
        self, rows: Tensor, labels: Tensor, size: int, index: int, number: int
    ) -> tuple[Tensor, Tensor]:
        """See ``Loop.run``."""
        tape = self._tape(rows, labels, size)
        count = left = len(rows)
        tape.rows[:count] = rows
        tape.labels[:count] = labels
        for counter, start in zip(tape.counters, (0, index, number), strict=True):
            counter.fill_(start)  # a copy from the host would wait for the steps before
        if not tape.is_warm:
            self._steps(tape, 1)
            tape.is_warm = True
            left -= 1
        for length in (STEPS_OF_A_GRAPH, 1):
            for _ in range(left // length):
                self._replay(tape, length)
            left %= length
        found = (tape.losses, tape.rights)
        losses, rights = (
            part[:count].transpose(0, 1).clone(memory_format=torch.contiguous_format).flatten(1)
            for part in found
        )
        return losses, rights

    def _tape(self, rows: Tensor, labels: Tensor, size: int) -> _Tape:
        """The tape for batches like these, long enough."""
        steps, runs, _, height = labels.shape
        tape = self._tapes.get((height, size))
        if tape is None or len(tape.rows) < steps:
            losses = torch.empty(steps, runs, size, device=rows.device)
            tape = self._tapes[height, size] = _Tape(
                size,
                torch.empty_like(rows, memory_format=torch.contiguous_format),
                torch.empty_like(labels, memory_format=torch.contiguous_format),
                losses,
                losses.bool(),
                torch.zeros(3, dtype=torch.int64, device=rows.device),
            )
        return tape

    def _steps(self, tape: _Tape, length: int) -> None:
        """The steps from the one that the counters name; then they name the one after."""
        # Two of each, so that all begin at multiples of 16 bytes: kernels are compiled for that.
        counted = tape.counters.new_empty(3, length, 2)
        ahead = torch.arange(length, device=counted.device)
        torch.add(tape.counters.view(3, 1, 1), ahead.view(1, -1, 1).expand_as(counted), out=counted)
        places, indices, numbers = (torch.split(of_steps[:, 0], 1) for of_steps in counted)
        losses, rights = [], []
        for place, index, number in zip(places, indices, numbers, strict=True):
            rows = tape.rows.index_select(0, place)[0]
            labels = tape.labels.index_select(0, place)[0]
            loss, right = self._assembly.step(rows, labels, tape.size, index, number)
            losses.append(loss)
            rights.append(right)
        tape.losses.index_copy_(0, counted[0, :, 0], torch.stack(losses))
        tape.rights.index_copy_(0, counted[0, :, 0], torch.stack(rights))
        tape.counters.add_(length)

    def _replay(self, tape: _Tape, length: int) -> None:
        if length not in tape.replays:
            tape.replays[length] = self.capture(functools.partial(self._steps, tape, length))
        tape.replays[length]()
