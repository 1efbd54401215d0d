"""Turn out-of-memory errors into messages that say what a run needs, and free the memory."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from nnexp.config.schema import Config
from nnexp.data import Dataset
from nnexp.device import device_name
from nnexp.errors import DoesNotFitError, chain_of, is_out_of_memory
from nnexp.memory import Needs, fits, needs_of
from nnexp.models.protocol import Network
from nnexp.runs.failure_log import log_traceback

_GIB = 2**30


def does_not_fit(
    error: Exception,
    device: torch.device,
    configs: Sequence[Config],
    dataset: Dataset,
    network: Network,
) -> DoesNotFitError | None:
    """The error to tell in place of one that broke training, None if memory was not the reason.

    What the training had allocated has been given back then, so that there is room for another.

    Args:
        configs: of the runs that trained together.
        dataset: of one of them.
    """
    if not is_out_of_memory(error):
        return None
    log_traceback(error, "out of memory")
    release_frames(error)  # they hold the group
    give_back()
    table = _table_bytes(dataset, device)
    numbers = dataset.num_rows_of_epoch, dataset.num_val, dataset.num_test
    alone = len(configs) == 1
    needs = [needs_of(c, network, device.type, *numbers) for c in configs]
    where = f"out of memory on {_described(device)}"
    if not alone:
        whole = sum(of_a_run.total for of_a_run in needs) + table
        return DoesNotFitError(f"{where}: {len(configs)} runs at once need about {_size(whole)}")
    return DoesNotFitError(f"{where}: {_of_one(configs[0], network, needs[0], table, device)}")


def release_frames(error: Exception) -> None:
    """Let go of what the functions had that an error has ended."""
    for one in chain_of(error):
        traceback.clear_frames(one.__traceback__)


def give_back() -> None:
    """Let the system, and other processes on the GPU, have the memory that is no longer used."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def memory_of(device: torch.device) -> tuple[int, int] | None:
    """Bytes that the device has, and bytes that are free; None where nobody says."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total, free
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        by_name = {name: int(rest.split()[0]) for name, rest in (x.split(":") for x in lines)}
        return 1024 * by_name["MemTotal"], 1024 * by_name["MemAvailable"]
    except (OSError, LookupError, ValueError):
        return None


def _table_bytes(dataset: Dataset, device: torch.device) -> int:
    """Of the rows on the device: on CUDA as they were read, none where they are streamed.

    That the group has given its memory back makes as much free as it found.
    """
    table = dataset.table_bytes(device.type)
    if device.type == "cpu":
        return table
    found = memory_of(device)
    return table if found is None or fits(table, found[1]) else 0


def _described(device: torch.device) -> str:
    """``cuda:0 (NVIDIA H200, 139.8 GiB, 3.2 GiB free)``."""
    name = device_name(device)
    found = memory_of(device)
    if found is None:
        return name
    total, free = map(_size, found)
    inside = [*(part.rstrip(")") for part in name.split(" (")[1:]), total, f"{free} free"]
    return f"{name.split(' (')[0]} ({', '.join(inside)})"


def _of_one(
    config: Config, network: Network, needs: Needs, table: int, device: torch.device
) -> str:
    numbers = network.parameters.num_elements
    pieces = {
        "parameters, gradients, optimizer state, best weights": needs.weights,
        f"a batch of {config.trainer.batch_size} samples": needs.batch,
        "evaluation": needs.evaluation,
        "the data and their order": needs.order + table,
    }
    largest = max(pieces, key=lambda piece: pieces[piece])
    advice = ["trainer.batch_size", "model.hidden" if hasattr(config.model, "hidden") else "model"]
    if pieces[largest] == needs.order + table:
        advice = ["dataset.num_train"]
    elif pieces[largest] != needs.batch:
        advice.reverse()
    told = "; ".join(f"{piece} {_size(bytes_)}" for piece, bytes_ in pieces.items())
    return (
        f"model={config.model.name} with {_count(numbers)} parameters needs about "
        f"{_size(needs.total + table)} ({told}); use a smaller {' or '.join(advice)}"
        + (", or trainer.device=cpu" if device.type == "cuda" else "")
    )


def _size(bytes_: int) -> str:
    """With one digit behind the point, ``18.4 GiB``."""
    return f"{bytes_ / _GIB:.1f} GiB" if bytes_ >= 0.05 * _GIB else f"{bytes_ / 2**20:.1f} MiB"


def _count(number: int) -> str:
    """``58,122``, ``1.2e9``."""
    if number < 10**7:
        return f"{number:,}"
    digits, _, exponent = f"{number:.1e}".partition("e")
    return f"{digits}e{int(exponent)}"
