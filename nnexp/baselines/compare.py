"""The baselines of a run, on the very rows that its network sees."""

from __future__ import annotations

import dataclasses
import importlib
import logging
import math
import time
from collections.abc import Sequence
from typing import Any

from nnexp.baselines.base import labels
from nnexp.baselines.edges import edges
from nnexp.baselines.neighbors import least_memory
from nnexp.baselines.scikit_learn import SkippedError
from nnexp.baselines.selection import Data, Found, found_record, skipped_record
from nnexp.config.errors import error_line
from nnexp.config.schema import BaselinesConfig
from nnexp.errors import ConfigError, is_lost_gpu, is_out_of_memory
from nnexp.metrics import measured, metric_keys
from nnexp.tasks import CLASSIFICATION, REGRESSION

log = logging.getLogger(__name__)


def names(config: BaselinesConfig) -> list[str]:
    """Of the baselines that a config asks for, in the order of the schema."""
    options = [field.name for field in dataclasses.fields(config)]
    return [name for name in options if getattr(config, name) is not None]


def compute(
    name: str, config: BaselinesConfig, data: Data, metrics: Sequence[str] = ()
) -> dict[str, Any]:
    """One baseline: chosen on the validation rows, then tried, once, on the test rows.

    The numbers do not depend on the other baselines, on the threads or on the machine's load.

    Args:
        metrics: names of further metrics; see :mod:`nnexp.metrics`.

    Returns:
        Its chosen settings; ``val/acc``, ``val/clipped_loss``, ``test/acc``,
        ``test/clipped_loss``, ``test/brier``, ``calibration`` (as :mod:`nnexp.scoring_rules` has
        them); ``val/<name>`` and ``test/<name>`` of further metrics; ``seconds`` in all,
        ``seconds/train`` for the fit that is tested (None for KNN, which only keeps the rows) and
        ``seconds/predict`` for the test rows; ``rows`` that it was trained on; ``note``, text or
        None; ``edges``, a remark for each number chosen at an end of those tried; ``settings``,
        how many its grid has; ``tried``, those that were tried, each with its ``val/acc``;
        ``predicted``, the classes of the test rows as an integer array. Of a baseline that is left
        out or fails: ``skipped``, the reason in one line, with None for the others, ``tried`` empty
        and no ``predicted``; of one that fails also ``failed``, True.

    Raises:
        ConfigError: as ``check_baselines``.
        Exception: where the data lie on a GPU, that it has too little memory, or is lost.
    """
    check_baselines(config, len(data.rows["train"]))
    _import_scikit_learn(name)
    label = labels()[name]
    task = CLASSIFICATION if data.target is None else REGRESSION
    began = time.perf_counter()
    try:
        if num_val := len(data.rows["val"]):
            log.info("Tuning %s on %d validation samples", label, num_val)
        else:
            log.info("Fitting %s: there are no validation samples to tune it on", label)
        found = getattr(config, name).find(data, name)
    except SkippedError as reason:
        log.warning("%s is left out: %s", label, reason)
        return skipped_record(str(reason), metrics, task)
    except Exception as error:  # the network's result is worth having without it
        if data.x.device.type == "cuda" and (is_out_of_memory(error) or is_lost_gpu(error)):
            raise
        log.warning("%s failed: %s", label, error_line(error))
        return {**skipped_record(error_line(error), metrics, task), "failed": True}
    seconds = time.perf_counter() - began
    at_edges = edges(getattr(config, name), found.settings, found.tried)
    return found_record(found, seconds, _further(metrics, found, data, label), at_edges)


def compare(
    config: BaselinesConfig, data: Data, metrics: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """All baselines that a config asks for, by name; see :func:`compute`."""
    return {name: compute(name, config, data, metrics) for name in names(config)}


def _further(
    metrics: Sequence[str], found: Found, data: Data, label: str
) -> dict[str, float | None]:
    """Metrics of what was found, by key; all None for a baseline that keeps no probabilities."""
    values: dict[str, float | None] = dict.fromkeys(metric_keys(metrics))
    for split, words in (("val", "validation"), ("test", "test")):
        if not metrics:
            break
        if not len(data.rows[split]):
            continue
        if split not in found.probabilities:
            log.warning("%s has no probabilities of %s rows: metrics are null", label, words)
            continue
        probabilities = found.probabilities[split].cpu().numpy()
        of_split = measured(metrics, probabilities, data.labels(split), f"{label} on {words} rows")
        values |= {f"{split}/{name}": value for name, value in of_split.items()}
    return values


def check_baselines(config: BaselinesConfig, num_train: int) -> None:
    """Whether there are rows enough for the baselines, memory for the rows, and their packages.

    Raises:
        ConfigError: a baseline's package is not installed, every ``baseline.knn.k`` exceeds the
            number of training rows, or ``baseline.knn.memory_mb`` is too little for them.
    """
    for name in names(config):
        getattr(config, name).require()
    knn = config.knn
    if knn is None:
        return
    if min(knn.k) > num_train:
        raise ConfigError(
            f"baseline.knn.k={','.join(map(str, knn.k))}: "
            f"must be at most the number of training samples, {num_train}"
        )
    least = math.ceil(least_memory(num_train) / 2**20)
    if knn.memory_mb < least:
        raise ConfigError(
            f"baseline.knn.memory_mb={knn.memory_mb}: must be at least {least} "
            f"for {num_train} training samples"
        )


def _import_scikit_learn(name: str) -> None:
    """Two seconds that are not the baseline's; and a limit of threads holds for what is loaded."""
    if name != "knn":
        importlib.import_module("sklearn.dummy")
        importlib.import_module("sklearn.ensemble")
        importlib.import_module("sklearn.linear_model")
        importlib.import_module("sklearn.svm")
