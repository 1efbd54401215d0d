"""The roofline: what a chip could reach at best, and what keeps work from it.

A floor is the largest of three times (Williams, Waterman and Patterson 2009, with one term more):

- the operations over the measured rate of the unit that does them;
- the bytes that must move over the measured bandwidth of memory;
- the chain of kernels, each of which waits for the one before, over the measured time that a tiny
  kernel takes in a CUDA graph. For small networks this one is the largest by far.

The counts are lower bounds that hold however the kernels are cut, but for the chain: that takes
one kernel a layer and direction. No program beats them by more than the share of what it reads
again from caches, and whoever fuses more kernels than that can undercut the third.

Axes: R runs, B rows of a batch, D inputs, P parameters of a run, Q queries, N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# Adam must read and write the parameter and both moments, float32 each. Its gradient can stay on
# the chip.
_ADAM_BYTES = 6 * 4
_LABEL_BYTES = 8  # of an int64 class, and of an int64 index
_NEIGHBOR_BYTES = 16  # its float64 distance and its int64 index


@dataclass(frozen=True)
class Rates:
    """What a device was measured to do; None where it could not be measured."""

    copy: float  # bytes a second, those read and those written
    launch: float  # seconds of a tiny kernel in a CUDA graph that waits for the one before
    float32: float | None  # operations a second of large matrix products, in float32 proper
    tf32: float | None
    bfloat16: float | None
    int8: float | None

    def of(self, *precisions: str) -> float:
        """Operations a second in the fastest of some precisions.

        Raises:
            ValueError: none of them was measured.
        """
        found: list[float] = [r for p in precisions if (r := getattr(self, p)) is not None]
        if not found:
            raise ValueError(f"no rate of matrix products in {' or '.join(precisions)}")
        return max(found)


@dataclass(frozen=True)
class Demand:
    """What some work asks of a chip at least."""

    operations: int  # multiplications and additions of the matrix products
    bytes: int  # read from memory once or written to it once
    chain: int  # kernels, each of which needs what the one before wrote
    precisions: tuple[str, ...]  # that the products may be made in


@dataclass(frozen=True)
class Floor:
    """The least seconds that work can take, by what bounds it."""

    operations: float
    bytes: float
    chain: float

    @property
    def seconds(self) -> float:
        """The largest of the three."""
        return max(self.operations, self.bytes, self.chain)

    @property
    def bound(self) -> str:
        """What the largest is."""
        times = {"flops": self.operations, "bytes": self.bytes, "chain": self.chain}
        return max(times, key=times.__getitem__)


def floor(demand: Demand, rates: Rates) -> Floor:
    """What the measured rates make of the work.

    Raises:
        ValueError: as ``Rates.of``.
    """
    return Floor(
        demand.operations / rates.of(*demand.precisions),
        demand.bytes / rates.copy,
        demand.chain * rates.launch,
    )


def num_parameters(widths: Sequence[int]) -> int:
    """P: weights and biases."""
    return sum(a * b + b for a, b in pairwise(widths))


def training_step(
    widths: Sequence[int],
    batch_size: int,
    runs: int,
    *,
    precision: str = "float32",
    feature_bytes: int = 4,
) -> Demand:
    """One step of Adam of so many multilayer perceptrons.

    Operations: a layer from D to H costs 2 B D H forward, as much for the weights' gradient, and
    as much for its inputs' gradient, which the first layer does not need.

    Bytes: parameters and both moments read and written, the batch's features read as the table
    holds them (``feature_bytes`` each), a label and a row number each. Gradients and activations
    can stay on the chip.

    Chain: the batch gathered, every layer forward, the loss and its gradient, every layer but the
    first backward, the first one's weights' gradient, Adam: 2 L + 3 for L layers.
    """
    layers = [a * b for a, b in pairwise(widths)]
    operations = 2 * batch_size * (3 * sum(layers) - layers[0])
    batch = batch_size * (widths[0] * feature_bytes + 2 * _LABEL_BYTES)
    return Demand(
        operations=runs * operations,
        bytes=runs * (_ADAM_BYTES * num_parameters(widths) + batch),
        chain=2 * len(layers) + 3,
        precisions=(precision,),
    )


def neighbors(
    queries: int, rows: int, features: int, k: int, *, precisions: tuple[str, ...]
) -> Demand:
    """The k nearest of N rows for Q queries by one matrix product.

    Operations: 2 Q N D. Bytes: pixels of one byte read once, and k neighbours written for each
    query; no distance is. Chain: the product with a selection, and their last round.
    """
    return Demand(
        operations=2 * queries * rows * features,
        bytes=(queries + rows) * features + queries * k * _NEIGHBOR_BYTES,
        chain=2,
        precisions=precisions,
    )
