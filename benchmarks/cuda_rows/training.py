"""Rows that train: nnexp beside eager torch, torch.compile and JAX."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from chip import profile_epoch
from cuda_rows.results import (
    Goal,
    Place,
    Result,
    equal_losses,
    free_memory,
    jax_absence,
    spread,
    standard_error,
)
from learners.engine import Engine
from learners.epochs import Contender, Measured, measure
from learners.pixels import mnist, random_pixels
from learners.torch_compiled import Compiled, skipped_graphs
from learners.torch_eager import Eager
from learners.work import Data, Work
from nnexp.device import resolve_precision
from nnexp.errors import ConfigError
from roofline import training_step

NNEXP = "nnexp"

_REPETITIONS = 5


@dataclass(frozen=True)
class TrainingRow:
    """Runs of one network, each with Adam."""

    name: str
    work: Work
    runs: int
    held_out: int  # random rows to evaluate on
    goals: tuple[Goal, ...]
    is_mnist: bool = False  # takes its files where they were given
    target: float | None = None  # accuracy at which a training ends

    @property
    def title(self) -> str:
        """For people."""
        runs = "one run" if self.runs == 1 else f"{self.runs} runs"
        return f"{self.work.name}, batch {self.work.batch_size}, {runs}"

    @property
    def eval_every(self) -> int:
        """Epochs."""
        return self.work.epochs if self.target is None else 1

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return self.work.rows // self.work.batch_size

    def at_toy_size(self, place: Place) -> TrainingRow:
        """The same within a second, to see that it works."""
        widths = (*(min(width, 48) for width in self.work.widths[:-1]), self.work.widths[-1])
        batch = min(self.work.batch_size, 64)
        try:
            resolve_precision(self.work.precision, place.device)
            precision = self.work.precision
        except ConfigError:
            precision = "float32"
        name = f"{'-'.join(map(str, widths))}, {precision}"
        work = replace(
            self.work, name=name, widths=widths, batch_size=batch, rows=4 * batch, epochs=3,
            precision=precision,
        )  # fmt: skip
        target = None if self.target is None else 0.05
        return replace(
            self, work=work, runs=min(self.runs, 3), held_out=100, is_mnist=False, target=target
        )

    def measure(self, place: Place) -> Result:
        """Everybody, one after the other.

        Raises:
            DataError: MNIST's files are not there, or damaged.
        """
        result = Result(self.name, self.title, self.goals)
        if self.target is not None and self.is_mnist and place.mnist is None:
            result.remarks.append("left out: it needs MNIST's files (--mnist FOLDER)")
            return result
        measured = self._measure_all(place, self._data(place, result), result)
        own = measured.get(NNEXP)
        if own is not None:
            self._judge(own, measured, place, result)
        for found in measured.values():
            result.lines.append(self._line(found, own))
            result.learners.append(self._figures(found))
        return result

    def profile(self, place: Place, result: Result) -> None:
        """What the device did in nnexp's steps, a CUDA device under the profiler's eyes."""
        data = self._data(place, result=None)
        training = Engine(self.work, data, place.device).train(range(self.runs), self.work.epochs)
        next(training)
        busy = profile_epoch(training)
        result.kernels, result.busy = busy.kernels / self.steps, busy.seconds / self.steps

    def _data(self, place: Place, result: Result | None) -> Data:
        if self.is_mnist and place.mnist is not None:
            return mnist(place.mnist, self.work)
        if self.is_mnist and result is not None:
            result.remarks.append("random pixels in place of MNIST (--mnist FOLDER)")
        return random_pixels(self.work, self.held_out)

    def _contenders(self, place: Place, data: Data, result: Result) -> Iterator[Contender]:
        """Who trains as many runs at once as it can in one computation."""
        work, device, runs = self.work, place.device, self.runs
        yield Contender(NNEXP, functools.partial(Engine, work, data, device), runs)
        name = "torch, eager" if runs == 1 else "torch, eager, one by one"
        yield Contender(name, functools.partial(Eager, work, data, device), 1)
        name = "torch.compile" if runs == 1 else "torch.compile of vmap"
        compiled = functools.partial(Compiled, work, data, device, runs)
        yield Contender(name, compiled, runs, skipped_graphs)
        if why := jax_absence(device):
            result.remarks.append(why)
        else:
            from learners.xla_epochs import Xla

            yield Contender("JAX jit(vmap(scan))", functools.partial(Xla, work, data), runs)

    def _measure_all(self, place: Place, data: Data, result: Result) -> dict[str, Measured]:
        """By name; who fails is noted and left out."""
        found = {}
        repetitions = 2 if place.quick else _REPETITIONS
        for contender in self._contenders(place, data, result):
            try:
                found[contender.name] = measure(
                    contender, self.runs, self.eval_every, repetitions, self.target
                )
            except Exception as error:
                result.fail(contender.name, error)
            free_memory()
        return found

    def _judge(
        self, own: Measured, measured: dict[str, Measured], place: Place, result: Result
    ) -> None:
        """nnexp's figures, its roofline, and whether all have trained the same work."""
        work = self.work
        demand = training_step(work.widths, work.batch_size, self.runs, precision=work.precision)
        seconds = own.epoch / self.steps
        result.figures = {
            "us/step": seconds * 1e6,
            "s": own.median,
            "TFLOP/s": demand.operations / seconds / 1e12,
        }
        tolerance = 0.25 if place.quick else 0.05
        for name, other in measured.items():
            if name.startswith("torch, eager"):
                result.figures["times eager torch"] = other.median / own.median
            if self.target is not None and min(other.accuracies) < self.target:
                result.remarks.append(f"{name}: did not reach {self.target:.1%} every time")
                result.failed = True
            elif self.target is None and not equal_losses(other.losses, own.losses, tolerance):
                result.remarks.append(f"{name}: another loss than nnexp's")
                result.failed = True
        result.hold_against(demand, place.rates, seconds)

    def _figures(self, found: Measured) -> dict[str, Any]:
        """For programs."""
        return {
            "name": found.name,
            "warm_up": found.warm_up,
            "seconds": found.seconds,
            "us_per_step": found.epoch / self.steps * 1e6,
            "epochs": found.num_epochs,
            "loss": statistics.mean(found.losses),
            "loss_error": standard_error(found.losses),
            "accuracy": statistics.mean(found.accuracies),
            "accuracy_error": standard_error(found.accuracies),
            "remark": found.remark,
        }

    def _line(self, found: Measured, own: Measured | None) -> dict[str, str]:
        return {
            "work": self.title,
            "learner": f"{found.name} ({found.remark})" if found.remark else found.name,
            "us/step": f"{found.epoch / self.steps * 1e6:.1f}",
            "seconds": f"{found.median:.3g}",
            "epochs": f"{statistics.median(found.num_epochs):g}",
            "/ nnexp": f"{found.median / own.median:.2f}" if own else "",
            "training loss": spread(found.losses),
            "accuracy": spread(found.accuracies),
            "first epoch, s": f"{found.warm_up:.2f}",
        }


ROWS = (
    TrainingRow(
        "one",
        Work("784-128-10", (784, 128, 10), 128, 59_904, 10),
        runs=1,
        held_out=10_000,
        goals=(Goal("us/step", 25), Goal("s", 0.15)),
        is_mnist=True,
    ),
    TrainingRow(
        "fused",
        Work("784-128-10", (784, 128, 10), 128, 59_904, 10),
        runs=64,
        held_out=10_000,
        goals=(Goal("s", 0.7), Goal("times eager torch", 100, at_least=True)),
        is_mnist=True,
    ),
    TrainingRow(
        "many",
        Work("64-32-10", (64, 32, 10), 32, 1408, 10),
        runs=4096,
        held_out=256,
        goals=(Goal("us/step", 250),),
    ),
    TrainingRow(
        "large",
        Work(
            "3072-2048x4-10, bfloat16", (3072, *(2048,) * 4, 10), 4096, 65_536, 10,
            precision="bfloat16",
        ),
        runs=1,
        held_out=4096,
        goals=(Goal("TFLOP/s", 400, at_least=True),),
    ),
    TrainingRow(
        "accuracy",
        Work(
            "784-1000-1000-10, dropout 0.3, to 98.5 %", (784, 1000, 1000, 10), 128, 59_904, 60,
            dropout=0.3,
        ),
        runs=1,
        held_out=10_000,
        goals=(),
        is_mnist=True,
        target=0.985,
    ),
)  # fmt: skip
