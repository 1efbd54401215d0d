"""Training in memory by the engine that trains runs: what ``NetworkEstimator`` does to fit.

Axes: ``M`` rows, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nnexp.api.reports import logged_to
from nnexp.config.compose import names_of
from nnexp.config.schema import Config
from nnexp.config.selections import selection
from nnexp.data import Dataset, Source, split
from nnexp.data.streaming import place
from nnexp.data.targets import TargetScaling
from nnexp.device import (
    current,
    description,
    device_name,
    resolve_device,
    resolve_precision,
    resolve_threads,
)
from nnexp.engine import Group, Run, RunState
from nnexp.errors import NnexpError
from nnexp.models.choose import network_of
from nnexp.models.protocol import Network
from nnexp.runs.record import epoch_record
from nnexp.runs.writer import Job
from nnexp.terminal import EpochBar

_NO_ROWS = np.zeros(0, dtype=np.int64)
_LEAST_OF_A_CLASS = 2  # validation rows on average: fewer choose an epoch by chance


@dataclass(frozen=True)
class Fitted:
    """A trained network with the scaling of its features, and how it came about."""

    module: nn.Module  # scaled features [B, D] to logits [B, C], float64, in evaluation mode
    shift: NDArray[np.float64]  # [D]
    scale: NDArray[np.float64]  # [D]
    history: list[dict[str, Any]]  # a record an epoch, as in metrics.jsonl
    best_epoch: int
    num_val: int
    status: str  # completed or diverged
    target: TargetScaling | None = None  # of a regression


def fit_network(
    x: NDArray[np.float64],
    y: NDArray[Any],
    class_names: tuple[str, ...],
    feature_names: tuple[str, ...],
    config: Config,
    *,
    val_fraction: float,
    folder: Path | None,
    bar: AbstractContextManager[EpochBar | None],
) -> Fitted:
    """Train one network on features [M, D] and classes [M], int64; of a regression the quantity,
    float64, without names of classes.

    The network is that of the epoch that ``trainer.select`` chooses, or of the last epoch where
    there are too few rows to set some apart. No rows are set apart to test.

    Args:
        config: of which the baselines are not looked at.
        val_fraction: rows to validate on, 0: none.
        folder: gets the files of a run, but for test metrics and baselines; None: no files.

    Raises:
        NnexpError: an option that does not fit the data or this machine, or files that cannot be
            written.
    """
    source = _source(x, y, class_names, feature_names, config.dataset.name, val_fraction)
    dataset = split(source, config.dataset)
    if not dataset.num_val:  # one evaluation, after the last epoch
        epochs = config.trainer.epochs
        trainer = dataclasses.replace(config.trainer, eval_every=epochs, select="last")
        config = dataclasses.replace(config, trainer=trainer)
    job = None if folder is None else Job(config, folder, _arm(config))
    with _kept(job), bar as shown:
        return _trained(dataset, config, job, shown)


def _source(
    x: NDArray[np.float64],
    y: NDArray[Any],
    class_names: tuple[str, ...],
    feature_names: tuple[str, ...],
    name: str,
    val_fraction: float,
) -> Source:
    """No test rows; no validation rows either where they would be too few to tell anything."""
    has_val = round(val_fraction * len(y)) >= _LEAST_OF_A_CLASS * max(len(class_names), 2)
    val = None if has_val else _NO_ROWS
    return Source(name, x, y, class_names, feature_names, test=_NO_ROWS, val=val)


def _trained(dataset: Dataset, config: Config, job: Job | None, shown: EpochBar | None) -> Fitted:
    device = resolve_device(config.trainer.device)
    precision = resolve_precision(config.trainer.precision, device)
    network = network_of(config, dataset.num_features, dataset.num_outputs)
    task, rule = config.kind_of_task, selection(config.trainer.select, config.kind_of_task)
    num_threads = 1
    if device.type == "cpu":
        num_threads = resolve_threads(
            config.trainer, network.flops_per_row(), by_torch=network.by_torch
        )
    if job is not None:
        job.enter(
            dataset,
            network,
            device=device_name(device),
            threads=num_threads,
            matmul=description(device, precision.dtype, by_torch=network.by_torch),
            group_size=1,
        )
    with current(device):
        placed = place([dataset], device)
        assert isinstance(dataset.train, Tensor)  # it comes from arrays
        val = dataset.val if dataset.num_val else dataset.train[:1]  # the engine wants a row
        group = Group(
            [Run(config, dataset.train.to(device), val.to(device), dataset.target)],
            placed.features,
            placed.y,
            network,
            precision=precision,
            num_threads=num_threads,
        )
        history = []
        for (record,) in group.train():
            epoch = record if dataset.num_val else record.unvalidated()
            history.append(epoch_record(epoch, task, rule.metric))
            if job is not None:
                job.record(epoch, group.states[0])
            if shown is not None:
                shown.update(epoch)
    if job is not None:
        job.end({})
    state = group.states[0]
    return Fitted(
        _module(state, network),
        dataset.shift.numpy(),
        dataset.scale.numpy(),
        history,
        state.best_epoch or state.epoch,
        dataset.num_val,
        state.status,
        dataset.target,
    )


def _module(state: RunState, network: Network) -> nn.Module:
    """The network of the best epoch on the CPU. In float64 a row's outputs do not depend on how
    many rows are predicted with it, to within far less than float32 can tell."""
    params, stats = state.best or (state.params, state.stats)
    module = network.as_module(network.tensors(params, stats)).double().eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def _arm(config: Config) -> str:
    names = names_of(config)
    return f"{names['model']} · {names['optimizer']}"


@contextlib.contextmanager
def _kept(job: Job | None) -> Iterator[None]:
    """Begin a job's folder; what goes wrong inside ends the job. Nothing is printed."""
    with logged_to(None):
        if job is None:
            yield
            return
        try:
            job.begin()
            yield
        except OSError as error:
            raise NnexpError(f"{error.filename or job.folder}: {error.strerror}") from error
        except BaseException as error:
            if not job.ended:
                job.abandon(error)
            raise
