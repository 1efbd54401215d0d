"""The row that finds neighbours: nnexp's exact ones beside a product and topk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from chip import median_seconds
from cuda_rows.results import Goal, Place, Result, free_memory, jax_absence
from learners.neighbors import torch_compiled, torch_eager, xla
from learners.pixels import mnist_pixels
from nnexp.baselines.neighbors import nearest
from nnexp.config.schema import KNNConfig
from roofline import neighbors

NNEXP = "nnexp, exact"


@dataclass(frozen=True)
class NeighborsRow:
    """The k nearest of N rows of pixels for Q queries."""

    name: str
    queries: int
    rows: int
    features: int
    k: int
    goals: tuple[Goal, ...]

    @property
    def title(self) -> str:
        """For people."""
        return f"KNN, {self.queries} x {self.rows} x {self.features}, k={self.k}"

    def at_toy_size(self, place: Place) -> NeighborsRow:
        """The same within a second, to see that it works."""
        return replace(self, queries=20, rows=300, features=48)

    def measure(self, place: Place) -> Result:
        """Everybody, one after the other.

        Raises:
            DataError: MNIST's files are not there, or damaged.
        """
        result = Result(self.name, self.title, self.goals)
        rows, queries = self._pixels(place, result)
        seconds: dict[str, float] = {}
        indices: dict[str, Tensor] = {}
        for name, make in self._finders(place, rows, queries, result):
            try:
                find = make()
                indices[name] = find().cpu()
                seconds[name] = median_seconds(find, place.device, 2 if place.quick else 10)
            except Exception as error:
                result.fail(name, error)
            free_memory()
        own = seconds.get(NNEXP)
        if own is not None:
            demand = neighbors(
                self.queries, self.rows, self.features, self.k, precisions=("bfloat16", "int8")
            )
            result.figures = {"ms": own * 1e3, "TFLOP/s": demand.operations / own / 1e12}
            result.hold_against(demand, place.rates, own)
        for name, took in seconds.items():
            same = int((indices[name] == indices[NNEXP]).all(1).sum()) if own else None
            result.lines.append(
                {
                    "work": self.title,
                    "learner": name,
                    "ms": f"{took * 1e3:.2f}",
                    "/ nnexp": f"{took / own:.2f}" if own else "",
                    "exact for": "" if same is None else f"{same} queries",
                }
            )
            result.learners.append({"name": name, "seconds": took, "exact": same})
        return result

    def profile(self, place: Place, result: Result) -> None:
        """Nothing: how nnexp goes about it hangs on the data."""

    def _pixels(self, place: Place, result: Result) -> tuple[Tensor, Tensor]:
        """Training rows [N, D] and queries [Q, D] on the device, uint8."""
        if place.mnist is not None and not place.quick:
            parts = [mnist_pixels(place.mnist, part) for part in ("train", "t10k")]
        else:
            result.remarks.append("random pixels in place of MNIST (--mnist FOLDER)")
            stream = np.random.default_rng(0)
            parts = [
                stream.integers(256, size=(count, self.features), dtype=np.uint8)
                for count in (self.rows, self.queries)
            ]
        rows, queries = (torch.from_numpy(part.copy()).to(place.device) for part in parts)
        return rows[: self.rows], queries[: self.queries]

    def _finders(
        self, place: Place, rows: Tensor, queries: Tensor, result: Result
    ) -> Iterator[tuple[str, Callable[[], Callable[[], Tensor]]]]:
        memory_bytes = KNNConfig().memory_mb * 2**20

        def exact() -> Callable[[], Tensor]:
            return lambda: nearest(rows, queries, self.k, memory_bytes=memory_bytes)[1]

        yield NNEXP, exact
        floats = rows.float(), queries.float()  # there are no products of bytes for the others
        yield "torch, eager", functools.partial(torch_eager, *floats, self.k)
        yield "torch.compile", functools.partial(torch_compiled, *floats, self.k)
        if why := jax_absence(place.device):
            result.remarks.append(why)
        else:
            yield "JAX", functools.partial(xla, *floats, self.k)


ROW = NeighborsRow("knn", 10_000, 60_000, 784, 16, goals=(Goal("ms", 8),))
