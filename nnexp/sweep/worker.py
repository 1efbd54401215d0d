"""A worker process: looks at data, trains groups, computes baselines, and tells the main process.

A worker writes the files of its runs itself; what it sends is what a person wants to see. It ends
when the main process does: the pipe between them closes.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from nnexp.config.messages import told
from nnexp.data.scaling import hangs_on_split
from nnexp.devices import resolve_device, resolve_precision, resolve_threads
from nnexp.engine import Epoch, batches
from nnexp.environment import products_ignore_threads
from nnexp.errors import NnexpError
from nnexp.job import Job
from nnexp.models.structure import parameter_layout
from nnexp.results.record import discard
from nnexp.sweep.shelf import Shelf, source_key
from nnexp.sweep.tasks import (
    Advanced,
    Answer,
    Baselined,
    Broken,
    Computed,
    Ended,
    Entry,
    Kind,
    Prospect,
    Stop,
    Survey,
    Surveyed,
    Train,
    Trained,
    Want,
    Warned,
)
from nnexp.training import Means, compare, structure_of, train_together

_SECONDS_BETWEEN_NEWS = 0.1


def work(pipe: Connection, folder: Path) -> None:
    """Serve the main process until it stops, or is gone: the pipe closes.

    Args:
        folder: shared with the other workers of the sweep, for data. Where the main process has
            been killed nobody else deletes it.
    """
    with contextlib.suppress(ImportError):
        # A bar that torch.fx makes and never shows has a lock, by default one between processes,
        # of which a worker that is killed would leave a semaphore behind.
        importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
    worker = _Worker(pipe, folder)
    logging.getLogger().addHandler(_Telling(pipe))
    try:
        while True:
            if not pipe.poll():
                # A third of a second for the pictures, while there is nothing else to do.
                importlib.import_module("nnexp.results.confusion")
            task = pipe.recv()
            if isinstance(task, Stop):
                return
            worker.do(task)
    except (EOFError, OSError, _Orphaned):
        shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt:
        return


class _Orphaned(KeyboardInterrupt):
    """The main process is gone: the runs in training are interrupted."""


class _Worker:
    def __init__(self, pipe: Connection, folder: Path) -> None:
        self._pipe = pipe
        self._shelf = Shelf(folder)

    def do(self, task: Survey | Train) -> None:
        if isinstance(task, Survey):
            self._survey(task)
        else:
            _Training(task, self._pipe, self._shelf).do()

    def _survey(self, task: Survey) -> None:
        found: dict[str, Prospect] = {}
        refused: dict[str, str] = {}
        answers: list[Prospect | str] = []
        for entry in task.entries:
            key = _survey_key(entry)
            mine = repr((key, entry.config.dataset))  # what is wrong with one split is not with all
            if key not in found and mine not in refused:
                try:
                    found[key] = self._prospect(entry)
                except Exception as error:
                    refused[mine] = told(error)
                self._shelf.keep([])
            answers.append(found[key] if key in found else refused[mine])
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        self._pipe.send(Surveyed(tuple(answers), gpus))

    def _prospect(self, entry: Entry) -> Prospect:
        config = entry.config
        device = resolve_device(config.trainer.device)
        resolve_precision(config.trainer.precision, device)
        dataset = self._shelf.dataset(config.dataset)
        structure = structure_of(config, dataset.num_features, dataset.num_classes)
        batches(dataset.num_train, config.trainer, structure)
        own_table = hangs_on_split(self._shelf.source(config.dataset), config.dataset.scaling)
        num_threads = resolve_threads(config.trainer, structure.flops_per_row())
        is_float32 = config.trainer.precision == "float32"  # other products are not MKL's
        if config.trainer.threads is None and is_float32 and products_ignore_threads():
            num_threads = 1
        return Prospect(
            Kind(
                source_key(config.dataset),
                dataset.num_train,
                dataset.num_val,
                structure,
                config.trainer.batch_size,
                config.trainer.drop_last,
                config.trainer.precision,
                "cuda"
                if config.trainer.device == "auto" and device.type == "cuda"
                else str(device),
                num_threads if device.type == "cpu" else 1,
            ),
            parameter_layout(structure).size,
            dataset.x.nbytes if own_table else 0,
        )


def _survey_key(entry: Entry) -> str:
    """Entries that differ in none of this have one prospect: a split's sizes hang on no seed."""
    config = entry.config
    options = {k: v for k, v in vars(config.dataset).items() if k != "split_seed"}
    trainer = config.trainer
    return repr(
        (type(config.dataset), options, config.model, trainer.batch_size, trainer.drop_last,
         trainer.device, trainer.precision, trainer.threads)
    )  # fmt: skip


class _Training:
    """One group of a sweep, from its entries to their results."""

    def __init__(self, task: Train, pipe: Connection, shelf: Shelf) -> None:
        self._task = task
        self._pipe = pipe
        self._shelf = shelf
        self._known: dict[str, Baselined] = {}
        self._run_epochs = 0
        self._told = time.perf_counter()
        self._jobs = [Job(e.config, e.folder, e.arm) for e in task.entries]
        self._ended: set[int] = set()

    def do(self) -> None:
        device = torch.device(self._task.device)
        dtype = resolve_precision(self._task.kind.precision, device)
        means = Means(device, dtype, self._task.kind.threads)
        configs = [entry.config for entry in self._task.entries]
        self._shelf.keep(config.dataset for config in configs)
        jobs, datasets = [], []
        try:
            for job in self._jobs:
                try:
                    discard(job.folder)  # what a worker that died has left
                    job.begin()
                    datasets.append(self._shelf.dataset(job.config.dataset))
                    jobs.append(job)
                except (NnexpError, OSError) as error:
                    job.abandon(error)
            self._tell_ended()
            train_together(jobs, datasets, means, self._baselines, self._watch)
            self._tell_ended()
            self._send(Trained())
        except KeyboardInterrupt as stop:
            for job in self._jobs:
                if not job.ended:
                    job.abandon(stop)
            self._tell_ended()
            raise
        except Exception as error:
            if len(self._jobs) > 1:
                self._tell_ended()
                self._send(Broken(told(error)))
                return
            if not self._jobs[0].ended:
                self._jobs[0].abandon(error)
            self._tell_ended()
            self._send(Trained())

    def _watch(self, epochs: Sequence[Epoch]) -> None:
        self._run_epochs += len(epochs)
        now = time.perf_counter()
        if now - self._told >= _SECONDS_BETWEEN_NEWS:
            self._tell_ended()
            self._told = now
        while self._pipe.poll():
            self._refuse(self._receive())

    def _tell_ended(self) -> None:
        if self._run_epochs:
            self._send(Advanced(self._run_epochs))
            self._run_epochs = 0
        for place, (job, entry) in enumerate(zip(self._jobs, self._task.entries, strict=True)):
            if job.ended and place not in self._ended:
                self._ended.add(place)
                self._send(Ended(entry.num, job.result))

    def _baselines(self, job: Job) -> dict[str, dict[str, Any]]:
        """Of the job's split, from whichever worker has computed them first."""
        wanted = {_baseline_key(job): job for job in self._jobs if not job.ended}
        mine = _baseline_key(job)
        while mine not in self._known:
            keys = [mine, *(key for key in wanted if key != mine and key not in self._known)]
            self._send(Want(tuple(keys)))
            answer = self._receive()
            if not isinstance(answer, Answer):
                self._refuse(answer)
                continue
            self._known |= answer.known
            if answer.compute is not None:
                self._compute(answer.compute, wanted[answer.compute])
        found = self._known[mine]
        if isinstance(found, str):
            raise NnexpError(found)
        return found

    def _compute(self, key: str, job: Job) -> None:
        try:
            self._known[key] = compare(job.config, job.dataset, torch.device(self._task.device))
        except Exception as error:
            self._known[key] = told(error)
        self._send(Computed(key, self._known[key]))

    def _send(self, message: object) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            raise _Orphaned from None

    def _receive(self) -> object:
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            raise _Orphaned from None

    def _refuse(self, message: object) -> None:
        if isinstance(message, Stop):
            raise KeyboardInterrupt
        raise RuntimeError(f"a worker in training was sent {message!r}")


def _baseline_key(job: Job) -> str:
    return repr((job.config.dataset, job.config.baseline))


class _Telling(logging.Handler):
    """Warnings of a worker are told by the main process."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(logging.WARNING)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # nobody is there to read it
            self._pipe.send(Warned(record.levelno, record.name, record.getMessage()))
