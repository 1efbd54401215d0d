"""How many runs train together: what a core's caches take, or the memory of a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from nnexp.memory import fits, needs_of
from nnexp.models.protocol import Network
from nnexp.sweep.tasks import Entry, Kind, Prospect

# A group on the CPU takes as many runs as keep what a step touches again and again in a core's
# caches; benchmarks/README.md has the measurements. Neither number changes a result.
_ACTIVATIONS = 5 * 2**19  # bytes of a step's activations, of all runs
_MOST_RUNS = 96
# Networks of which not even a few runs fit lose nothing by training this many together, and the
# sweep has fewer groups; as long as they take so many bytes of activations, and of parameters,
# gradients and optimizer state.
_FEW_RUNS = 4
_FEW_ACTIVATIONS = 2**25
_STATE = 2**29
_STATE_OF_A_NUMBER = 4 * 5  # bytes a parameter: Adam's two moments and the best weights included
# On CUDA nothing but memory limits a group. Of what is free it gets a part, less where the table of
# rows takes much; the rest is for CUDA itself, for the workspaces of its libraries and for what
# lies unused between allocations.
_GPU_SHARE = 0.6
_GPU_SHARE_WITH_TABLE = 0.85
GPU_BYTES = 8 * 2**30  # where it is not known how much is free
# Tables of rows that runs with other splits do not share, of all runs of a group.
_TABLES = 512 * 2**20


def most_memory(entries: Sequence[Entry], prospect: Prospect) -> int:
    """Bytes of the run that takes most of a GPU's memory, beside the table of rows.

    Args:
        prospect: of one of the entries, which are of one kind.
    """
    kind = prospect.kind
    num_test = (prospect.data.num_test if prospect.data is not None else 0) or 0
    unlike = {}  # one of those that take the same, of each
    for entry in entries:
        config = entry.config
        unlike[len(config.optimizer.state_names()), repr(config.model)] = config
    numbers = kind.num_train, kind.num_val, num_test
    return max(
        needs_of(config, kind.network, kind.device, *numbers).total for config in unlike.values()
    )


def runs_a_group(
    kind: Kind, prospect: Prospect, of_a_run: int = 0, gpu_bytes: int = GPU_BYTES
) -> int:
    """How many runs of a kind train together best; their number never changes a result.

    Args:
        of_a_run: bytes that it takes on CUDA, beside the table of rows.
        gpu_bytes: that are free for a group on CUDA.
    """
    if why_alone(kind):
        return 1
    if kind.device == "cpu":
        size = runs_in_cache(kind.network, kind.batch_size)
    else:
        room = int(_GPU_SHARE * gpu_bytes)
        if fits(prospect.shared_table, gpu_bytes):  # else it is streamed
            room = min(room, int(_GPU_SHARE_WITH_TABLE * gpu_bytes) - prospect.shared_table)
        size = room // max(1, of_a_run + prospect.own_table)
    if prospect.own_table:
        size = min(size, _TABLES // prospect.own_table)
    return max(1, size)


def runs_in_cache(network: Network, batch_size: int) -> int:
    """How many runs a core's caches take together, or a few where they do not take them."""
    state = _STATE_OF_A_NUMBER * network.parameters.size
    activations = batch_size * network.bytes_per_row()
    few = min(_FEW_RUNS, _FEW_ACTIVATIONS // activations, _STATE // state)
    return max(1, few, min(_MOST_RUNS, _ACTIVATIONS // activations))


def why_alone(kind: Kind) -> str | None:
    """Why runs of a kind train one by one, None if they do not."""
    if kind.network.why_solo:
        return kind.network.why_solo
    if kind.threads > 1:
        return (
            f"they use {kind.threads} threads, with which the last bits depend on the batching; "
            "trainer.threads=1 lets them be batched"
        )
    if kind.device == "cpu" and kind.precision == "bfloat16":
        return "the last bits of bfloat16 on the CPU depend on the batching"
    return None
