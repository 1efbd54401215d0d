"""One run from its config to its files: load, train, compare, write."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from nnexp.config.schema import Config
from nnexp.data import load
from nnexp.devices import current, resolve_device, resolve_precision, resolve_threads
from nnexp.engine import Epoch
from nnexp.errors import DivergedError, NnexpError
from nnexp.job import Job
from nnexp.models.choose import network_of
from nnexp.out_of_memory import does_not_fit
from nnexp.results.record import RunResult
from nnexp.terminal import EpochBar, epoch_bar, print_result
from nnexp.training import Means, compare, train_together


def run(config: Config, folder: Path, arm: str) -> RunResult:
    """Train one network, compare it with its baselines, and leave a run's files in ``folder``.

    Raises:
        NnexpError: bad input, a diverged run, a training loss that stays above
            ``require_train_loss``, or checkpoints that cannot be written. Whatever is raised,
            ``result.json`` says so.
        OSError: ``result.json`` cannot be written.
    """
    result = train(config, folder, arm, epoch_bar(config.trainer.epochs))
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
    network = network_of(config, dataset.num_features, dataset.num_classes)
    num_threads = 1
    if device.type == "cpu":
        num_threads = resolve_threads(
            config.trainer, network.flops_per_row(), by_torch=network.by_torch
        )

    def baselines(job: Job) -> dict[str, dict[str, Any]]:
        return compare(job.config, dataset, device)

    means = Means(device, precision, num_threads)
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
