"""A worker process: inspects data, trains groups and computes baselines as it is told to."""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import logging
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from nnexp.config.errors import error_line
from nnexp.data.dataset import CodedSource
from nnexp.data.preprocessing import hangs_on_split
from nnexp.device import current, resolve_device, resolve_precision, resolve_threads
from nnexp.engine import batches
from nnexp.errors import is_lost_gpu
from nnexp.models.choose import network_of
from nnexp.out_of_memory import give_back
from nnexp.registry import import_components
from nnexp.runs.failure_log import log_traceback
from nnexp.runs.record import DatasetSummary
from nnexp.runs.run_log import RunLogs
from nnexp.sweeps import connection as say
from nnexp.sweeps.connection import LogForwarder, Orphaned, WorkerConnection
from nnexp.sweeps.dataset_cache import DatasetCache
from nnexp.sweeps.group_training import GroupTraining
from nnexp.sweeps.task_queue import BaselineCache, Finding
from nnexp.sweeps.tasks import Absent, Entry, Inspection, Kind, Machine, Refused, source_key
from nnexp.trainer import compare

# --------------------------------------------------------------------------------------------------
# What a worker finds out about entries before anything is planned.
# --------------------------------------------------------------------------------------------------


def inspect_entries(
    entries: Sequence[Entry], dataset_cache: DatasetCache, *, fetch: bool
) -> Iterator[Inspection | Refused | Absent]:
    """One for each entry.

    Args:
        fetch: data that are absent; else their entries are told as such.
    """
    found: dict[str, Inspection | Absent] = {}
    refused: dict[str, Refused] = {}
    for entry in entries:
        key = _key(entry)
        mine = repr((key, entry.config.dataset))  # what is wrong with one split is not with all
        if key not in found and mine not in refused:
            try:
                is_absent = not fetch and not entry.config.dataset.is_here()
                found[key] = (
                    Absent(entry.config.dataset.name)
                    if is_absent
                    else _prospect(entry, dataset_cache)
                )
            except Exception as error:
                log_traceback(error, f"job {entry.num}")
                refused[mine] = Refused(error_line(error))
            dataset_cache.keep([])
        yield found[key] if key in found else refused[mine]


def machine(found: Sequence[object]) -> Machine:
    """The GPUs. To ask for their memory takes a second and some of it: only those are asked on
    which something is to be trained."""
    if not torch.cuda.is_available():
        return Machine()
    count = torch.cuda.device_count()
    devices = {inspection.kind.device for inspection in found if isinstance(inspection, Inspection)}
    used = devices - {"cpu", "cuda"}
    if "cuda" in devices:
        used |= {f"cuda:{number}" for number in range(count)}
    free = [torch.cuda.mem_get_info(name)[0] for name in sorted(used)]
    return Machine(count, min(free, default=None))


def _prospect(entry: Entry, dataset_cache: DatasetCache) -> Inspection:
    config = entry.config
    device = resolve_device(config.trainer.device)
    resolve_precision(config.trainer.precision, device)
    dataset = dataset_cache.dataset(config.dataset)
    network = network_of(config, dataset.num_features, dataset.num_outputs)
    batches(dataset.num_rows_of_epoch, config.trainer, network)
    is_bytes = dataset.pixels is not None and device.type == "cuda"
    table = dataset.table_bytes(device.type)
    scaling = dataset.shift.nbytes + dataset.scale.nbytes  # of pixels that stay what they are
    source = dataset_cache.source(config.dataset)
    own_table = (
        source.own_table
        if isinstance(source, CodedSource)
        else hangs_on_split(source, config.dataset.scaling)
    )
    num_threads = resolve_threads(
        config.trainer, network.flops_per_row(), batched=True, by_torch=network.by_torch
    )
    kind = Kind(
        source_key(config.dataset),
        dataset.num_rows_of_epoch,
        dataset.num_val,
        network,
        config.trainer.batch_size,
        config.trainer.drop_last,
        config.trainer.precision,
        str(device),
        num_threads if device.type == "cpu" else 1,
        config.loss.batch_key(),
    )
    return Inspection(
        kind,
        network.parameters.size,
        (scaling if is_bytes else table) if own_table else 0,
        DatasetSummary.of(dataset),
        table if is_bytes or not own_table else 0,
    )


def _key(entry: Entry) -> str:
    """Entries that differ in none of this have one inspection: a split's sizes hang on no seed, but
    where groups are kept together."""
    config = entry.config
    by_group = getattr(config.dataset, "group", None) is not None
    options = {k: v for k, v in vars(config.dataset).items() if by_group or k != "split_seed"}
    trainer = config.trainer
    return repr(
        (type(config.dataset), options, config.model, config.loss.batch_key(), trainer.batch_size,
         trainer.drop_last, trainer.device, trainer.precision, trainer.threads)
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------
# A worker process: looks at data, trains groups and computes baselines, as it is told to.
#
# It writes the files of its runs itself. It ends when the main process does: the pipe between them
# closes.
# --------------------------------------------------------------------------------------------------

_SECONDS_TO_LISTEN = 0.1  # while a baseline is computed: how late a worker may hear of a stop


def work(pipe: Connection, folder: Path, draws: bool) -> None:
    """Serve the main process until it stops, or is gone.

    Args:
        folder: shared with the other workers of the sweep. Where the main process has been killed
            nobody else deletes it.
        draws: whether there will be pictures.
    """
    with contextlib.suppress(ImportError):
        # A bar that torch.fx makes and never shows has a lock, by default one between processes,
        # of which a worker that is killed would leave a semaphore behind.
        importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
    import_components()  # those that the main process was told to
    line = WorkerConnection(pipe)
    worker = Worker(line, folder)
    for handler in worker.handlers:
        logging.getLogger().addHandler(handler)
    try:
        line.send(say.Ready())
        while True:
            if draws and not line.is_spoken_to:
                # A third of a second for the pictures, while there is nothing else to do.
                importlib.import_module("nnexp.runs.confusion_matrix")
            worker.do(line.receive())
    except Orphaned:
        shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt:
        return


class Worker:
    """Does what messages say, and answers. Its ``handlers`` are for the root of all loggers."""

    def __init__(self, line: WorkerConnection, folder: Path) -> None:
        self._line = line
        self._dataset_cache = DatasetCache(folder)
        self._baseline_cache = BaselineCache(folder)
        self._logs = RunLogs(folder)
        self._telling = LogForwarder(line)
        self.handlers: tuple[logging.Handler, ...] = (self._telling, self._logs)

    def do(self, task: object) -> None:
        """One task, to its end.

        Raises:
            KeyboardInterrupt: it has been stopped.
            Exception: the GPU is lost to this process, which has to end. Another gets the task.
        """
        match task:
            case say.Inspect(entries, fetch):
                _import_for(entries)
                found = tuple(inspect_entries(entries, self._dataset_cache, fetch=fetch))
                self._line.send(say.Inspected(found, machine(found)))
            case say.Train(entries):
                _import_for(entries)
                self._logs.follow({entry.folder: entry.log for entry in entries})
                self._telling.follow({entry.folder: entry.num for entry in entries})
                GroupTraining(
                    task,
                    self._line,
                    self._dataset_cache,
                    self._logs,
                    self._baseline_cache,
                    self._compute,
                ).do()
                if task.device != "cpu":  # the next group, of another size, may need all of it
                    give_back()
            case say.Compute(wanted):
                import_components(wanted.config.imports)
                self._dataset_cache.keep([wanted.config.dataset])
                self._compute(task)
            case _:
                raise RuntimeError(f"a worker was sent {task!r}")

    def _compute(self, task: say.Compute) -> None:
        """One baseline; what goes wrong with it is for the runs that want it.

        It may take hours, so it has a thread of its own: this one listens. Raises KeyboardInterrupt
        where it has been stopped; the thread then ends with the process. A GPU that is lost is
        raised as well.
        """
        began = time.perf_counter()
        outcome: list[str | Exception | None] = []
        num_threads = torch.get_num_threads()  # which a new thread does not inherit

        def compute() -> None:
            torch.set_num_threads(num_threads)
            try:
                outcome.append(self._found(task))
            except Exception as error:
                outcome.append(error)

        context = contextvars.copy_context()  # says which run the log is about
        thread = threading.Thread(target=context.run, args=(compute,), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_SECONDS_TO_LISTEN)
            self._line.heed()
        problem = outcome[0] if outcome else "it ended without a word"
        if isinstance(problem, Exception):
            raise problem
        seconds = time.perf_counter() - began
        self._line.send(say.Computed(task.wanted.key, seconds, problem))

    def _found(self, task: say.Compute) -> str | None:
        """Compute, and let the others have it; returns why they cannot. Raises where the GPU is
        lost."""
        wanted = task.wanted
        finding: Finding
        try:
            # What there is to say of the data is in the logs of those who train on them already.
            with self._logs.kept(repr(wanted.config.dataset)):
                dataset = self._dataset_cache.dataset(wanted.config.dataset)
            device = torch.device(task.device)
            with self._logs.kept(wanted.key), current(device):
                finding = compare(wanted.config, dataset, device)
        except Exception as error:
            log_traceback(error, wanted.name)
            if is_lost_gpu(error):
                raise
            finding = error_line(error)
        try:
            self._baseline_cache.put(wanted.key, finding)
        except Exception as error:  # such as a full disk; without an answer runs would wait on
            log_traceback(error, wanted.name)
            return error_line(error)
        return None


def _import_for(entries: Sequence[Entry]) -> None:
    """Import what a config file names: the main process read it after this one had begun."""
    import_components({name for entry in entries for name in entry.config.imports})
