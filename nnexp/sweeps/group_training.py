"""A worker trains one group, and asks for the baselines of its runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from nnexp.baselines.selection import skipped_record
from nnexp.config.errors import error_line
from nnexp.data import Dataset
from nnexp.device import current, resolve_precision
from nnexp.engine import Epoch
from nnexp.errors import DoesNotFitError, NnexpError, is_lost_gpu
from nnexp.models.choose import network_of
from nnexp.out_of_memory import does_not_fit
from nnexp.runs.failure_log import log_traceback
from nnexp.runs.folder import discard
from nnexp.runs.run_log import RunLogs, about
from nnexp.runs.writer import Job
from nnexp.sweeps import connection as say
from nnexp.sweeps.connection import WorkerConnection
from nnexp.sweeps.dataset_cache import DatasetCache
from nnexp.sweeps.task_queue import BaselineCache
from nnexp.sweeps.tasks import wanted_baselines
from nnexp.trainer import ExecutionSettings, train_together

_SECONDS_BETWEEN_NEWS = 0.1


class GroupTraining:
    """From entries to their results.

    Args:
        compute: does what ``Compute`` says.
    """

    def __init__(
        self,
        task: say.Train,
        line: WorkerConnection,
        dataset_cache: DatasetCache,
        logs: RunLogs,
        baseline_cache: BaselineCache,
        compute: Callable[[say.Compute], None],
    ) -> None:
        self._task = task
        self._line = line
        self._dataset_cache = dataset_cache
        self._logs = logs
        self._baseline_cache = baseline_cache
        self._compute = compute
        self._run_epochs = 0
        self._told = time.perf_counter()
        self._jobs = [Job(e.config, e.folder, e.arm) for e in task.entries]
        self._ended: set[int] = set()

    def do(self) -> None:
        """Train, and tell.

        Raises:
            KeyboardInterrupt: the main process says so, or is gone. All runs have been ended.
            Exception: the GPU is lost to this process. Runs that have not ended have no result.
        """
        device = torch.device(self._task.device)
        precision = resolve_precision(self._task.kind.precision, device)
        means = ExecutionSettings(device, precision, self._task.kind.threads)
        self._dataset_cache.keep(entry.config.dataset for entry in self._task.entries)
        jobs, datasets = [], []
        try:
            for job in self._jobs:
                try:
                    discard(job.folder)  # what a worker that died has left
                    with about(job.folder):
                        job.begin()
                    datasets.append(self._dataset(job))
                    jobs.append(job)
                except (NnexpError, OSError) as error:
                    job.abandon(error)
            self._tell_ended()
            self._train(jobs, datasets, means)
            self._tell_ended()
            self._line.send(say.Trained())
        except KeyboardInterrupt as stop:
            for job in self._jobs:
                if not job.ended:
                    job.abandon(stop)
            self._tell_ended()
            raise
        except Exception as error:
            if is_lost_gpu(error):  # whatever this process is given now would fail too
                self._tell_ended()
                log_traceback(error, "the worker")
                raise
            if len(self._jobs) > 1:
                self._tell_ended()
                unfit = isinstance(error, DoesNotFitError)
                self._line.send(say.Broken(error_line(error), out_of_memory=unfit))
                return
            if not self._jobs[0].ended:
                self._jobs[0].abandon(error)
            self._tell_ended()
            self._line.send(say.Trained())

    def _train(
        self, jobs: Sequence[Job], datasets: Sequence[Dataset], means: ExecutionSettings
    ) -> None:
        """Raises DoesNotFitError where memory does not suffice, when it has been given back."""
        try:
            with current(means.device):
                train_together(jobs, datasets, means, self._baselines, self._watch)
        except Exception as error:
            configs, dataset = [job.config for job in jobs], datasets[0]
            network = network_of(configs[0], dataset.num_features, dataset.num_outputs)
            unfit = does_not_fit(error, means.device, configs, dataset, network)
            if unfit is None:
                raise
            raise unfit from None

    def _dataset(self, job: Job) -> Dataset:
        """The job's rows; what there is to say of them is in the log of every run that has them."""
        key = repr(job.config.dataset)
        with self._logs.kept(key), about(job.folder):
            dataset = self._dataset_cache.dataset(job.config.dataset)
        self._logs.repeat(key, job.folder)
        return dataset

    def _watch(self, epochs: Sequence[Epoch]) -> None:
        self._run_epochs += len(epochs)
        now = time.perf_counter()
        if now - self._told >= _SECONDS_BETWEEN_NEWS:
            self._tell_ended()
            self._told = now
        self._line.heed()

    def _tell_ended(self) -> None:
        if self._run_epochs:
            self._line.send(say.Advanced(self._run_epochs))
            self._run_epochs = 0
        for place, (job, entry) in enumerate(zip(self._jobs, self._task.entries, strict=True)):
            if job.ended and place not in self._ended:
                self._ended.add(place)
                if isinstance(job.error, Exception):
                    log_traceback(job.error, f"job {entry.num}")
                self._line.send(say.Ended(entry.num, job.result))

    def _baselines(self, job: Job) -> dict[str, dict[str, Any]]:
        """Of the job, from whichever workers compute them.

        While some of its own are being computed by others, this one computes what it is told to;
        where there is nothing left to compute it waits.
        """
        wanted = list(wanted_baselines(job.config))
        left_out: Mapping[str, str] = {}
        while wanted:
            self._line.send(say.Want(tuple(one.key for one in wanted)))
            answer = self._line.receive()
            if isinstance(answer, say.Found):
                left_out = answer.left_out
                break
            assert isinstance(answer, say.Compute), answer
            self._compute(answer)
            self._dataset_cache.keep(entry.config.dataset for entry in self._task.entries)
        results: dict[str, dict[str, Any]] = {}
        for one in wanted:
            self._logs.repeat(one.key, job.folder)
            if one.key in left_out:
                results[one.name] = skipped_record(
                    left_out[one.key], job.config.recorded_metrics, job.result.task
                )
                continue
            found = self._baseline_cache.get(one.key)
            if isinstance(found, str):
                raise NnexpError(found)
            results |= found
        return results
