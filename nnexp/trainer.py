"""Training from a config to files: one run, or several runs batched into a group.

``train_together`` trains a group of runs; ``run`` trains one, with its progress in the terminal.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnexp.baselines import compare as of_baselines
from nnexp.baselines.selection import SPLITS, Data, num_baseline_rows
from nnexp.config.schema import Config
from nnexp.data import Dataset, load
from nnexp.data.class_weights import class_weights
from nnexp.data.coded import EpochRows, TrainRows
from nnexp.data.streaming import free_bytes, place
from nnexp.device import (
    Precision,
    current,
    description,
    device_name,
    resolve_device,
    resolve_precision,
    resolve_threads,
)
from nnexp.engine import Epoch, Group, Run
from nnexp.errors import DivergedError, NnexpError, is_lost_gpu, is_out_of_memory
from nnexp.models.choose import network_of
from nnexp.out_of_memory import does_not_fit, give_back, release_frames
from nnexp.runs.record import RunResult
from nnexp.runs.run_log import about
from nnexp.runs.writer import Job
from nnexp.terminal import EpochBar, epoch_bar, print_result

# --------------------------------------------------------------------------------------------------
# Jobs that train together, from their data sets to their results. A single run is one of one.
# --------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

# What a baseline takes at most, in tables: the table, its splits, their points as it ranks them.
_TABLES_OF_BASELINES = 4
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ExecutionSettings:
    """What the jobs of a group have in common beside their network."""

    device: torch.device
    precision: Precision
    num_threads: int


def train_together(
    jobs: Sequence[Job],
    datasets: Sequence[Dataset],
    means: ExecutionSettings,
    baselines: Callable[[Job], dict[str, dict[str, Any]]],
    watch: Callable[[Sequence[Epoch]], None],
) -> None:
    """Train jobs that have begun, one group, and end each as soon as it has finished.

    What goes wrong with one job alone ends that job, which keeps the error. What breaks the group
    is raised, and leaves the other jobs open.

    Args:
        jobs: what may differ among them is what may differ among the runs of a ``Group``.
        datasets: of the jobs. Tables that are one object are kept once.
        baselines: a job's results of baselines, asked for when its training has ended.
        watch: sees every epoch of the group; what it raises ends the training.

    Raises:
        KeyboardInterrupt: training was stopped; the jobs that were still open have been ended.
    """
    members = _entered(jobs, datasets, means)
    if not members:
        return
    group, rows = _group(members, means)
    try:
        for records in group.train():
            _record(members, group, records)
            done = [e.run for e in records if group.states[e.run].status != "running"]
            _finish(members, group, rows, done, baselines)
            watch([e if members[e.run].dataset.num_val else e.unvalidated() for e in records])
    except KeyboardInterrupt as stop:
        for run, job in enumerate(members):
            if not job.ended:
                # Only the best weights: the last are those of half an epoch.
                job.save(group.states[run], last=False)
                job.abandon(stop)
        raise


def compare(config: Config, dataset: Dataset, device: torch.device) -> dict[str, dict[str, Any]]:
    """The baselines of a run: chosen on the validation rows, then tried on the test rows.

    By name what ``Job.end`` takes. Where a GPU has too little memory for them the CPU computes the
    same numbers.
    """
    seed = config.dataset.split_seed
    metric = config.report.metric
    on_cpu = Data.of(dataset, seed, _CPU, metric)
    if device.type == "cuda":
        if _TABLES_OF_BASELINES * on_cpu.x.nbytes <= free_bytes(device):
            try:
                return of_baselines.compare(
                    config.baseline,
                    Data.of(dataset, seed, device, metric),
                    config.recorded_metrics,
                )
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                release_frames(error)
            give_back()
        log.info("baselines are computed on the CPU: %s has too little free memory", device)
    return of_baselines.compare(config.baseline, on_cpu, config.recorded_metrics)


def _entered(
    jobs: Sequence[Job], datasets: Sequence[Dataset], means: ExecutionSettings
) -> list[Job]:
    """The jobs that can train."""
    entered = []
    for job, dataset in zip(jobs, datasets, strict=True):
        with _spared(job):
            of_baselines.check_baselines(job.config.baseline, num_baseline_rows(dataset))
            class_weights(dataset, job.config.trainer)  # before there is a group
            network = network_of(job.config, dataset.num_features, dataset.num_outputs)
            job.enter(
                dataset,
                network,
                device=device_name(means.device),
                threads=means.num_threads,
                matmul=description(means.device, means.precision.dtype, by_torch=network.by_torch),
                group_size=len(jobs),
            )
            entered.append(job)
    return entered


def _group(
    jobs: Sequence[Job], means: ExecutionSettings
) -> tuple[Group, Sequence[Mapping[str, Tensor]]]:
    """The group, and for each run its rows by split, as indices into the group's table."""
    placed = place([job.dataset for job in jobs], means.device)
    rows: list[dict[str, Any]] = [
        {name: _in_table(getattr(job.dataset, name), first, means.device) for name in SPLITS}
        for job, first in zip(jobs, placed.first, strict=True)
    ]
    group = Group(
        [
            Run(
                job.config,
                own["train"],
                _evaluated(own),
                job.dataset.target,
                class_weights(job.dataset, job.config.trainer),
            )
            for job, own in zip(jobs, rows, strict=True)
        ],
        placed.features,
        placed.y,
        jobs[0].network,
        precision=means.precision,
        num_threads=means.num_threads,
        weights=placed.weights,
    )
    return group, rows


def _evaluated(rows: Mapping[str, Any]) -> Tensor:
    """The validation rows; without any a training row, so that weights that are not finite are
    noticed as ever. What it says is not recorded."""
    val, train = rows["val"], rows["train"]
    assert isinstance(val, Tensor)
    if len(val):
        return val
    if isinstance(train, EpochRows):
        return torch.from_numpy(train.some(1)).to(val.device)
    assert isinstance(train, Tensor)
    return train[:1]


def _in_table(rows: TrainRows, first: int, device: torch.device) -> TrainRows:
    """Rows of a data set that begins at ``first`` in the group's table."""
    return rows if isinstance(rows, EpochRows) else (rows + first).to(device)


def _record(jobs: Sequence[Job], group: Group, records: Sequence[Epoch]) -> None:
    for epoch in records:
        job, state = jobs[epoch.run], group.states[epoch.run]
        if job.ended:
            continue
        with _spared(job, on_device=True):
            job.record(epoch if job.dataset.num_val else epoch.unvalidated(), state)
            if job.config.trainer.histograms and epoch.val_loss is not None:
                job.draw(state.params, group.grads(epoch.run))


def _finish(
    jobs: Sequence[Job],
    group: Group,
    rows: Sequence[Mapping[str, Tensor]],
    done: Sequence[int],
    baselines: Callable[[Job], dict[str, dict[str, Any]]],
) -> None:
    """End the jobs whose training is over. Only now are test rows read: all choices are made.

    ``seconds.predict`` of a run is the time of all that predict together.
    """
    _validate(jobs, group, rows, done)
    compared = {}
    for run in done:
        if not jobs[run].ended:
            with _spared(jobs[run]):
                compared[run] = baselines(jobs[run])
    by_height: dict[int, list[int]] = {}  # runs with as many test rows predict together
    for run in compared:
        if group.states[run].best is not None:
            by_height.setdefault(len(rows[run]["test"]), []).append(run)
    for runs in by_height.values():
        began = time.perf_counter()
        logits = group.predict(runs, torch.stack([rows[run]["test"] for run in runs]))
        if logits.is_cuda:
            torch.cuda.synchronize(logits.device)
        seconds = time.perf_counter() - began
        for run, own in zip(runs, logits, strict=True):
            with _spared(jobs[run], on_device=True):
                jobs[run].test(group.states[run], own, seconds)
    for run, results in compared.items():
        if not jobs[run].ended:
            with _spared(jobs[run]):
                jobs[run].end(results)
    for run in done:
        group.states[run].forget()  # the others may need the room


def _validate(
    jobs: Sequence[Job], group: Group, rows: Sequence[Mapping[str, Tensor]], done: Sequence[int]
) -> None:
    """Further metrics on the validation rows, of the jobs that ask for some."""
    for run in done:
        job = jobs[run]
        if not job.dataset.num_val:
            continue
        if job.config.recorded_metrics and not job.ended and group.states[run].best is not None:
            with _spared(job, on_device=True):
                job.validate(group.predict([run], rows[run]["val"].unsqueeze(0))[0])


@contextlib.contextmanager
def _spared(job: Job, *, on_device: bool = False) -> Iterator[None]:
    """An error inside ends this job and no other; what is logged inside is about this job.

    If the GPU is lost that is about the whole group.

    Args:
        on_device: what is done inside takes memory where the group trains. If there is not enough,
            that is about the whole group.
    """
    with about(job.folder):
        try:
            yield
        except Exception as error:
            if is_lost_gpu(error) or (on_device and is_out_of_memory(error)):
                raise
            job.abandon(error)


# --------------------------------------------------------------------------------------------------
# One run from its config to its files: load, train, compare, write.
# --------------------------------------------------------------------------------------------------


def run(config: Config, folder: Path, arm: str) -> RunResult:
    """Train one network, compare it with its baselines, and leave a run's files in ``folder``.

    Raises:
        NnexpError: bad input, a diverged run, a training loss that stays above
            ``require_train_loss``, or checkpoints that cannot be written. Whatever is raised,
            ``result.json`` says so.
        OSError: ``result.json`` cannot be written.
    """
    result = train(config, folder, arm, epoch_bar(config.trainer.epochs, config.kind_of_task.key))
    print_result(result, folder)
    if result.status == "diverged":
        raise DivergedError(result.error)
    if result.error is not None:
        raise NnexpError(result.error)
    return result


def train(
    config: Config, folder: Path, arm: str, bar: AbstractContextManager[EpochBar | None]
) -> RunResult:
    """Do all that ``run`` does but print. What training came to, divergence included, is returned.

    Args:
        bar: entered while the network trains; a bar is shown every epoch.

    Raises:
        NnexpError: bad input, or a device that lacks memory; ``result.json`` says so.
        OSError: ``result.json`` cannot be written.
    """
    job = Job(config, folder, arm)
    job.begin()
    try:
        _train(job, bar)
    except BaseException as error:
        if not job.ended:
            job.abandon(error)
        raise
    if job.error is not None:
        raise job.error
    return job.result


def _train(job: Job, bar: AbstractContextManager[EpochBar | None]) -> None:
    config = job.config
    device = resolve_device(config.trainer.device)
    precision = resolve_precision(config.trainer.precision, device)
    dataset = load(config.dataset)
    network = network_of(config, dataset.num_features, dataset.num_outputs)
    num_threads = 1
    if device.type == "cpu":
        num_threads = resolve_threads(
            config.trainer, network.flops_per_row(), by_torch=network.by_torch
        )

    def baselines(job: Job) -> dict[str, dict[str, Any]]:
        return compare(job.config, dataset, device)

    means = ExecutionSettings(device, precision, num_threads)
    with current(device), bar as shown:

        def watch(epochs: Sequence[Epoch]) -> None:
            if shown is not None:
                shown.update(epochs[0])

        try:
            train_together([job], [dataset], means, baselines, watch)
        except Exception as error:
            unfit = does_not_fit(error, device, [config], dataset, network)
            if unfit is None:
                raise
            raise unfit from None
