"""How much memory a run takes on the device that trains it, piece by piece.

The sweep sizes its groups by it, and a run that does not fit says it. It follows what the engine
allocates (tests/test_memory.py holds it to that), not what CUDA itself takes and what its allocator
leaves unused in between. The pieces do not all reach their height at once, so it is rather too much
than too little. This module does not import torch: the main process of a sweep plans.

Axes: R runs, M rows of the buffers, D inputs, H units, C classes, N rows, P numbers of a run.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnexp.config.schema import Config
from nnexp.models.protocol import Network

EVALUATED_ROWS = {"cpu": 256, "cuda": 8192}  # of a run at once
_FLOAT32, _BFLOAT16, _INT64 = 4, 2, 8
_SHARE_OF_TABLE = 0.5  # of what is free; the rest is for networks, activations and evaluation


@dataclass(frozen=True)
class Needs:
    """Bytes of a run."""

    weights: int  # parameters, gradients, state of the optimizer, best weights
    batch: int  # what a training step keeps of a batch
    evaluation: int  # of the rows evaluated at once, and the logits of all
    order: int  # which rows come when, their classes and losses

    @property
    def total(self) -> int:
        """Of all pieces."""
        return self.weights + self.batch + self.evaluation + self.order


def needs_of(
    config: Config,
    network: Network,
    device: str,
    num_train: int,
    num_val: int,
    num_test: int,
) -> Needs:
    """What a run takes beside the table of rows, which others may share.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        num_test: rows that the best weights predict in the end.
    """
    is_half = config.trainer.precision == "bfloat16"
    size = network.parameters.size
    state = len(config.optimizer.state_names())
    # Parameters, gradients, best parameters, state and scratch of the optimizer; in the end the
    # weights that predict.
    flats = 5 + state
    weights = _FLOAT32 * (flats * size + 3 * network.statistics.size)
    if is_half:  # parameters and their gradients as the products take them, twice
        weights += 3 * _BFLOAT16 * size

    heights = _heights(num_train, config.trainer.batch_size, config.trainer.drop_last)
    rows = sum(network.padded_rows(height) for height in heights)
    highest = network.padded_rows(max(heights))
    of_a_row = network.row_memory(config.model, is_half=is_half)
    batch = (
        rows * of_a_row.kept + rows * _FLOAT32 * network.num_features + highest * of_a_row.passing
    )

    at_once = EVALUATED_ROWS[device.partition(":")[0]]
    val, test = (
        [network.padded_rows(height) for height in _heights(number, at_once)]
        for number in (num_val, num_test)
    )
    evaluation = (
        (sum(val) + sum(test)) * of_a_row.kept
        + max(0, max(val + test) * of_a_row.evaluated - highest * of_a_row.passing)
        + max(sum(val), val[-1] + sum(test)) * _FLOAT32 * network.num_features
        + (4 * num_val + 2 * num_test) * _FLOAT32 * network.num_classes
    )
    # On CUDA also what captured steps read and write, 21 bytes, and the rows as the run has them.
    of_an_example = 6 if device == "cpu" else 10
    order = _INT64 * (of_an_example * num_train + 3 * num_val + num_test)
    return Needs(weights, batch, evaluation, order)


def fits(table_bytes: int, free: int | None) -> bool:
    """Whether the table of rows is to lie on a device as a whole; else it is streamed.

    Args:
        free: bytes of the device, without the table; None for the CPU, whose memory it is in
            already.
    """
    return free is None or table_bytes <= _SHARE_OF_TABLE * free


def _heights(rows: int, at_once: int, drop_last: bool = False) -> list[int]:
    """The different numbers of rows that pass at once; each has buffers of its own."""
    whole, rest = min(rows, at_once), rows % at_once
    return [whole] if rest in (0, rows) or drop_last else [whole, rest]
