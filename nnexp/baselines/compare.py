"""The baselines of a run, on the very rows that its network sees."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from nnexp.baselines.knn import KNN, Rows
from nnexp.baselines.neighbors import least_memory
from nnexp.config.schema import BaselinesConfig, KNNConfig
from nnexp.devices import threads
from nnexp.environment import available_cores
from nnexp.errors import ConfigError

log = logging.getLogger(__name__)

_PRODUCTS_FOR_THREADS = 1e9  # the neighbours are the same with any number of threads


class Baselines:
    """The baselines that a config asks for.

    ``choose`` fits them and makes every choice on the validation rows; ``test`` reads the test
    rows, once.

    Args:
        x: the data table [N, D], float32, on the device that does the work; y: its classes [N].
        rows: int64 indices into the table by split: train, val, test.

    Raises:
        ConfigError: as ``check_baselines``.
    """

    def __init__(
        self,
        config: BaselinesConfig,
        x: Tensor,
        y: Tensor,
        rows: Mapping[str, Tensor],
        num_classes: int,
    ) -> None:
        check_baselines(config, len(rows["train"]))
        self._x, self._y, self._rows = x, y, rows
        self._results: dict[str, dict[str, Any]] = {}
        self._knn = None
        if config.knn is not None:
            self._ks = _usable(config.knn, len(rows["train"]))
            self._knn = KNN(
                self._split("train"),
                num_classes,
                config.knn.metric,
                config.knn.weights,
                config.knn.memory_mb * 2**20,
            )

    def choose(self) -> None:
        """Fit and choose."""
        if self._knn is not None:
            log.info("KNN chooses k on the %d validation rows", len(self._rows["val"]))
            began = time.perf_counter()
            with self._threads("val"):
                k, accs, votes = self._knn.choose_k(self._split("val"), self._ks)
            self._results["knn"] = {
                "k": k,
                "metric": self._knn.metric,
                "weights": self._knn.weights,
                "val/acc": votes.acc,
                "val/acc by k": {str(tried): acc for tried, acc in accs.items()},
                "test/acc": None,
                "seconds": time.perf_counter() - began,
            }

    def test(self) -> dict[str, dict[str, Any]]:
        """By baseline: its chosen settings, ``val/acc``, ``test/acc`` and ``seconds``."""
        if self._knn is not None:
            result = self._results["knn"]
            began = time.perf_counter()
            with self._threads("test"):
                result["test/acc"] = self._knn.predict(self._split("test"), result["k"]).acc
            result["seconds"] = round(result["seconds"] + time.perf_counter() - began, 3)
        return self._results

    def _threads(self, queries: str) -> AbstractContextManager[None]:
        """One thread for small work, where several wait for each other more than they help."""
        products = len(self._rows["train"]) * len(self._rows[queries]) * self._x.shape[1]
        return threads(1 if products < _PRODUCTS_FOR_THREADS else available_cores())

    def _split(self, name: str) -> Rows:
        rows = self._rows[name]
        return Rows(self._x.index_select(0, rows), self._y.index_select(0, rows))


def check_baselines(config: BaselinesConfig, num_train: int) -> None:
    """Whether there are rows enough for the baselines, and memory for the rows.

    Raises:
        ConfigError: every ``baseline.knn.k`` exceeds the number of training rows, or
            ``baseline.knn.memory_mb`` is too little for them.
    """
    knn = config.knn
    if knn is None:
        return
    if min(knn.k) > num_train:
        raise ConfigError(
            f"baseline.knn.k={','.join(map(str, knn.k))}: "
            f"must be at most the number of training rows, {num_train}"
        )
    least = math.ceil(least_memory(num_train) / 2**20)
    if knn.memory_mb < least:
        raise ConfigError(
            f"baseline.knn.memory_mb={knn.memory_mb}: must be at least {least} "
            f"for {num_train} training rows"
        )


def _usable(config: KNNConfig, num_train: int) -> list[int]:
    """The candidates that there are enough training rows for; the others are told.

    A learning curve goes down to fewer rows than the usual candidates.
    """
    usable = [k for k in config.k if k <= num_train]
    if len(usable) < len(config.k):
        left_out = ", ".join(str(k) for k in config.k if k > num_train)
        log.info("KNN tries no k=%s: there are %d training rows", left_out, num_train)
    return usable
