"""Many steps: one after the other, or captured once and replayed."""

from __future__ import annotations

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
Capture = Callable[[Work], Work]


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
    counters: Tensor  # [3]: the step's place on the tape, in the epoch, in the run
    is_warm: bool = False
    replays: dict[int, Work] = field(default_factory=dict)  # by number of steps


class Replayed(Loop):
    """A step is captured and replayed: which step it is, it reads from a counter on the device.

    Nothing in a step needs the host. The first step of a size is called as it is: buffers are made
    at first use, and libraries get ready.

    Args:
        capture: turns work, without doing it, into work that does the same again and again.
    """

    def __init__(self, assembly: Assembly, capture: Capture) -> None:
        super().__init__(assembly)
        self._capture = capture
        self._tapes: dict[tuple[int, int], _Tape] = {}  # by M and B

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
            self._step(tape)
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

    def _step(self, tape: _Tape) -> None:
        """The step that the counters name; then they name the next one."""
        place, index, number = torch.split(tape.counters, 1)
        rows = tape.rows.index_select(0, place)[0]
        labels = tape.labels.index_select(0, place)[0]
        losses, rights = self._assembly.step(rows, labels, tape.size, index, number)
        tape.losses.index_copy_(0, place, losses.unsqueeze(0))
        tape.rights.index_copy_(0, place, rights.unsqueeze(0))
        tape.counters.add_(1)

    def _replay(self, tape: _Tape, length: int) -> None:
        if length not in tape.replays:

            def steps() -> None:
                for _ in range(length):
                    self._step(tape)

            tape.replays[length] = self._capture(steps)
        tape.replays[length]()
