"""What a worker finds out about entries before anything is planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from nnexp.config.messages import told
from nnexp.data.scaling import hangs_on_split
from nnexp.devices import resolve_device, resolve_precision, resolve_threads
from nnexp.engine import batches
from nnexp.failures import log_traceback
from nnexp.models.choose import network_of
from nnexp.results.record import DatasetSummary
from nnexp.sweep.keys import source_key
from nnexp.sweep.shelf import Shelf
from nnexp.sweep.tasks import Absent, Entry, Kind, Machine, Prospect, Refused


def prospects(
    entries: Sequence[Entry], shelf: Shelf, *, fetch: bool
) -> Iterator[Prospect | Refused | Absent]:
    """One for each entry.

    Args:
        fetch: data that are absent; else their entries are told as such.
    """
    found: dict[str, Prospect | Absent] = {}
    refused: dict[str, Refused] = {}
    for entry in entries:
        key = _key(entry)
        mine = repr((key, entry.config.dataset))  # what is wrong with one split is not with all
        if key not in found and mine not in refused:
            try:
                is_absent = not fetch and not entry.config.dataset.is_here()
                found[key] = (
                    Absent(entry.config.dataset.name) if is_absent else _prospect(entry, shelf)
                )
            except Exception as error:
                log_traceback(error, f"job {entry.num}")
                refused[mine] = Refused(told(error))
            shelf.keep([])
        yield found[key] if key in found else refused[mine]


def machine(found: Sequence[object]) -> Machine:
    """The GPUs. To ask for their memory takes a second and some of it: only those are asked on
    which something is to be trained."""
    if not torch.cuda.is_available():
        return Machine()
    count = torch.cuda.device_count()
    devices = {prospect.kind.device for prospect in found if isinstance(prospect, Prospect)}
    used = devices - {"cpu", "cuda"}
    if "cuda" in devices:
        used |= {f"cuda:{number}" for number in range(count)}
    free = [torch.cuda.mem_get_info(name)[0] for name in sorted(used)]
    return Machine(count, min(free, default=None))


def _prospect(entry: Entry, shelf: Shelf) -> Prospect:
    config = entry.config
    device = resolve_device(config.trainer.device)
    resolve_precision(config.trainer.precision, device)
    dataset = shelf.dataset(config.dataset)
    network = network_of(config, dataset.num_features, dataset.num_classes)
    batches(dataset.num_train, config.trainer, network)
    is_bytes = dataset.pixels is not None and device.type == "cuda"
    table = (1 if is_bytes else 4) * len(dataset.y) * dataset.num_features
    scaling = dataset.shift.nbytes + dataset.scale.nbytes  # of pixels that stay what they are
    own_table = hangs_on_split(shelf.source(config.dataset), config.dataset.scaling)
    num_threads = resolve_threads(
        config.trainer, network.flops_per_row(), batched=True, by_torch=network.by_torch
    )
    kind = Kind(
        source_key(config.dataset),
        dataset.num_train,
        dataset.num_val,
        network,
        config.trainer.batch_size,
        config.trainer.drop_last,
        config.trainer.precision,
        str(device),
        num_threads if device.type == "cpu" else 1,
        config.loss.told(),
    )
    return Prospect(
        kind,
        network.parameters.size,
        (scaling if is_bytes else table) if own_table else 0,
        DatasetSummary.of(dataset),
        table if is_bytes or not own_table else 0,
    )


def _key(entry: Entry) -> str:
    """Entries that differ in none of this have one prospect: a split's sizes hang on no seed."""
    config = entry.config
    options = {k: v for k, v in vars(config.dataset).items() if k != "split_seed"}
    trainer = config.trainer
    return repr(
        (type(config.dataset), options, config.model, config.loss.told(), trainer.batch_size,
         trainer.drop_last, trainer.device, trainer.precision, trainer.threads)
    )  # fmt: skip
