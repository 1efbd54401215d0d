"""Which networks predict: a run's, or of a sweep's runs the best one, a mean of some, or each.

Axes: ``M`` rows, ``C`` classes.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnexp.data.source import Doubles
from nnexp.data.table import Table
from nnexp.errors import DataError
from nnexp.metrics import METRICS, greater_is_better, metric_key, metric_label
from nnexp.prediction.array_columns import with_columns
from nnexp.registry import import_components
from nnexp.runs.checkpoints import load_network
from nnexp.runs.folder import CHECKPOINTS, METRICS_FILE, RESULT_FILE, run_folders, short
from nnexp.runs.record import RunResult, read_result
from nnexp.runs.selection import primary_of, validation_rank
from nnexp.runs.trained_network import TrainedNetwork, Treatment

_SWEEP = "multirun.yaml"  # what Hydra writes into a sweep's folder

# --------------------------------------------------------------------------------------------------
# What predicts: one network, or several whose probabilities are averaged.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Predictor:
    """Networks of the same features and classes that answer as one."""

    name: str  # of the run's folder, or ensemble
    networks: tuple[TrainedNetwork, ...]
    metrics: tuple[str, ...] = ()  # of the run, beside loss and accuracy; they are registered

    @property
    def class_names(self) -> tuple[str, ...]:
        """[C]"""
        return self.networks[0].class_names

    @property
    def is_regression(self) -> bool:
        """Whether it predicts a quantity."""
        return self.networks[0].target is not None

    def quantities(self, table: Table, treatment: Treatment) -> Doubles:
        """Return what a regression predicts of a table's rows [M], in the unit of the target; of
        several networks the mean. Raises as ``outputs``."""
        found = [
            network.quantities_of(table, treatment if number == 0 else Treatment())
            for number, network in enumerate(self.networks)
        ]
        mean: Doubles = np.mean(found, axis=0)
        return mean

    def outputs(self, table: Table, treatment: Treatment) -> tuple[Tensor, Tensor]:
        """Return the probabilities [M, C] of a table's rows in float32, and their logarithms in
        float64.

        Of several networks it is the mean of their probabilities.

        Raises:
            DataError: as ``TrainedNetwork.probabilities_of``.
        """
        logits = []
        for number, network in enumerate(self.networks):
            # Cells are counted once: all networks were trained on the same table.
            counted = treatment if number == 0 else Treatment()
            logits.append(network.logits_of(table, counted))
        if len(logits) == 1:
            return logits[0].softmax(1), logits[0].double().log_softmax(1)
        stacked = torch.stack(logits)
        mean = stacked.softmax(2).double().mean(0).float()
        logs = stacked.double().log_softmax(2).logsumexp(0) - math.log(len(logits))
        return mean, logs

    def on(self, device: torch.device) -> Predictor:
        """Return the same on a device."""
        for network in self.networks:
            network.module.to(device)
        return self


# --------------------------------------------------------------------------------------------------
# From a folder to what predicts.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """What predicts, and how it was chosen, in a line; None where there was nothing to choose."""

    predictors: tuple[Predictor, ...]
    config: dict[str, Any]  # of the (first) run
    folder: Path  # of the (first) run
    how: str | None = None


@dataclass(frozen=True)
class _Finished:
    folder: Path
    result: RunResult
    metric: str  # that they are ranked by
    rank: tuple[float, float]  # the least is the best

    @property
    def by(self) -> str:
        """What the rank is by, in words."""
        return f"validation {metric_label(self.metric)}"

    def value(self, badness: float) -> float:
        """Of the metric, from the first part of a rank."""
        return -badness if greater_is_better(self.metric) else badness


def choose(folder: Path, *, ensemble: bool = False, each: bool = False) -> Chosen:
    """Return what predicts for a run's or a sweep's folder.

    Of a sweep it is the completed run of best validation accuracy, or of what ``report.metric``
    says, of equals that of lowest validation loss, as in ``Sweep.best``. With ``ensemble`` it is
    the mean of the probabilities of the runs of one arm, which differ in their seed alone: of the
    arm that is the best in the mean. With ``each``, every completed run.
    A run that diverged predicts with the network of its best epoch where it is asked for itself,
    and is none of a sweep's.

    Raises:
        DataError: no run or sweep, no network, or runs of a sweep that are on different data.
    """
    if _is_run(folder):
        if ensemble or each:
            option = "--ensemble" if ensemble else "--all"
            raise DataError(f"{folder}: is one run; {option} is for the folder of a sweep")
        result = read_result(folder)
        return Chosen((_predictor(folder, result),), result.config, folder)
    runs = _finished(folder)
    if each:
        _require_one_table(folder, runs)
        predictors = tuple(_predictor(run.folder, run.result) for run in runs)
        _require_alike(folder, predictors)
        how = f"all {len(runs)} completed runs of {short(folder)}"
        return Chosen(predictors, runs[0].result.config, runs[0].folder, how)
    _require_one_table(folder, runs)
    if ensemble:
        return _ensemble(folder, runs)
    best, how = _best(runs)
    return Chosen((_predictor(best.folder, best.result),), best.result.config, best.folder, how)


def run_of(folder: Path) -> tuple[Path, str | None]:
    """Return the run that a folder stands for, and how it was chosen of a sweep. As ``choose``."""
    if _is_run(folder):
        return folder, None
    runs = _finished(folder)
    _require_one_table(folder, runs)
    best, how = _best(runs)
    return best.folder, how


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run's rather than a sweep's. Raises DataError if it can be neither."""
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {problem}; give the folder of a run or of a sweep")
    if (folder / RESULT_FILE).exists():
        return True
    if (folder / METRICS_FILE).exists():
        raise DataError(
            f"{folder}: holds no {RESULT_FILE}: the run was killed or is still training"
        )
    return False


def _best(runs: Sequence[_Finished]) -> tuple[_Finished, str]:
    best = min(runs, key=lambda run: run.rank)
    return best, (
        f"{short(best.folder)}: {best.result.arm}, seed {best.result.seed}, the best of "
        f"{len(runs)} by {best.by} ({best.value(best.rank[0]):.4g})"
    )


def _mean_rank(arm: Sequence[_Finished]) -> tuple[float, ...]:
    ranks = zip(*(run.rank for run in arm), strict=True)
    return tuple(map(statistics.fmean, ranks))


def _ensemble(folder: Path, runs: Sequence[_Finished]) -> Chosen:
    arms: dict[str, list[_Finished]] = {}
    for run in runs:
        arms.setdefault(run.result.arm, []).append(run)
    best = min(arms.values(), key=_mean_rank)
    members = tuple(_predictor(run.folder, run.result) for run in best)
    _require_alike(folder, members)
    mean = best[0].value(_mean_rank(best)[0])
    way = "highest" if greater_is_better(best[0].metric) else "lowest"
    how = (
        f"the mean probabilities of {len(best)} run{'s' * (len(best) != 1)} of "
        f"{best[0].result.arm}, the arm of {way} mean {best[0].by} ({mean:.4g})"
    )
    networks = tuple(network for member in members for network in member.networks)
    whole = dataclasses.replace(members[0], name="ensemble", networks=networks)
    return Chosen((whole,), best[0].result.config, best[0].folder, how)


def _predictor(folder: Path, result: RunResult) -> Predictor:
    best, last = (folder / name for name in CHECKPOINTS)
    network = load_network(best if best.exists() or not last.exists() else last)
    network = with_columns(network, result.config, folder)
    metrics = result.further
    if any(name not in METRICS for name in metrics):
        import_components(result.config.get("imports") or ())  # as the run did
    return Predictor(folder.absolute().name, (network,), metrics)


def _finished(folder: Path) -> list[_Finished]:
    """The completed runs of a sweep, numbers by their size."""
    if not (folder / _SWEEP).exists():
        below = next(run_folders(folder), None)
        if below is None:
            raise DataError(f"{folder}: holds no run and no sweep")
        raise DataError(f"{folder}: is no run and no sweep, but holds some, such as {below}")
    results = {place: read_result(place) for place in run_folders(folder)}
    metric = primary_of(result.config for result in results.values())
    found = []
    for place, result in results.items():
        rank = validation_rank(result.metrics, metric)
        if result.status == "completed" and all(map(math.isfinite, rank)):
            found.append(_Finished(place, result, metric, rank))
    if not found:
        key = metric_key(metric, "val")
        raise DataError(f"{folder}: no run was completed with a {key} and a val/loss")
    return found


def _require_one_table(folder: Path, runs: Sequence[_Finished]) -> None:
    names = {run.result.dataset.fingerprint: run.result.dataset.name for run in runs}
    if len(names) > 1:
        shown = ", ".join(sorted(set(names.values())))
        raise DataError(
            f"{folder}: its runs are on {len(names)} different data sets ({shown}), whose "
            "accuracies do not compare; give the folder of one run"
        )


def _require_alike(folder: Path, predictors: Sequence[Predictor]) -> None:
    first = predictors[0].networks[0]
    for predictor in predictors:
        network = predictor.networks[0]
        if (network.class_names, network.feature_names) != (
            first.class_names,
            first.feature_names,
        ):
            raise DataError(
                f"{folder}: run {predictor.name} has other classes or features than run "
                f"{predictors[0].name}; give the folder of one run"
            )
