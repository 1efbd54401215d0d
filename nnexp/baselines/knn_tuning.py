"""K nearest neighbours: how scaler, metric, k and weights are chosen."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from nnexp.baselines.base import Settings, drawn
from nnexp.baselines.knn import KNNConfig
from nnexp.baselines.knn_means import KNNMean, Means
from nnexp.baselines.knn_scaling import Scaling, distinct
from nnexp.baselines.knn_votes import KNN, Votes
from nnexp.baselines.selection import Choice, Data, Found, Rows, compact
from nnexp.device import threads
from nnexp.environment import available_cores

Pair = tuple[str, str]  # a scaler and a metric: what takes a search for neighbours

# A larger k is tried with the best pair alone, up to the next of these, as long as the best so far
# is more than a third of what has been tried: neighbours by the hundred take long to rank.
_NEAR, _FURTHER = 31, (121, math.inf)
_CELLS = {"euclidean": 0, "cosine": 0, "minkowski_1.5": 16}
"""What a cell counts for: products take next to nothing, roots of powers long."""
_PRODUCTS_FOR_THREADS = 1e9  # the neighbours are the same with any number of threads


def tuned_knn(config: KNNConfig, data: Data) -> Found:
    """Choose scaler, metric, k and weights by the validation rows, then read the test rows.

    One search for neighbours serves every k and both weights. Of more than ``tune_rows`` training
    rows scalers and metrics are compared on a subset; the best of them and the first then meet on
    all rows.
    """
    table = _Table(config, data, data.split("train"), data.split("val"))
    few = table.smaller(config.tune_rows)
    grid = _Grid.of(config, data, few.train, len(table.train.x))
    if not len(table.val.x):  # there is one setting
        only = grid.settings[grid.pairs[0]][0]
        return _tested(table, grid, only, {(): {**only, "val/acc": None}}, None)
    if len(grid.pairs) == 1:  # nothing is compared by the subset
        few = table
    choice, tried = few.choice(grid, grid.pairs, grid.is_near), {}
    if not choice.tried:  # every k is more than the rows of the subset
        few, choice = table, table.choice(grid, grid.pairs, grid.is_near)
    if few is not table:
        grid.notes.append(f"scalers and metrics compared on {len(few.train.x)} training rows")
        tried = _by_settings(choice.tried)
        choice = table.choice(grid, [grid.pairs[0], _pair(choice.settings)], grid.is_near)
    tried_to: float = grid.near
    for limit in _FURTHER:
        if 3 * choice.settings["k"] <= tried_to:
            break
        some = functools.partial(_is_between, tried_to, limit)
        table.choice(grid, [_pair(choice.settings)], some, choice)
        tried_to = max(tried_to, limit)
    return _tested(
        table, grid, choice.settings, {**tried, **_by_settings(choice.tried)}, choice.kept
    )


def _tested(
    table: _Table,
    grid: _Grid,
    chosen: Settings,
    tried: Mapping[Any, Settings],
    kept: Votes | Means | None,
) -> Found:
    """What comes of the chosen setting on the test rows: all choices have been made.

    Args:
        tried: all settings, by what tells them apart.
        kept: the votes about the validation rows; None where there are none.
    """
    test = table.data.split("test")
    began = time.perf_counter()
    votes = table.predict(chosen, test)
    if table.data.target is not None:
        predictions = votes.predictions.cpu().numpy()
    else:
        predictions = compact(votes.predictions, table.data.num_classes)
    predict_seconds = time.perf_counter() - began
    probabilities = {} if kept is None else {"val": kept.probabilities}
    return Found(
        chosen,
        list(tried.values()),
        None if kept is None else kept.scores(table.val.y),
        votes.scores(test.y),
        predictions,
        len(table.train.x),
        predict_seconds,
        note="; ".join(grid.notes) or None,
        num_settings=grid.num_settings,
        probabilities={**probabilities, "test": votes.probabilities},
    )


@dataclass(frozen=True)
class _Grid:
    """The settings to try, by the pair that each takes."""

    settings: dict[Pair, list[Settings]]
    num_settings: int  # in the whole grid
    near: int  # the largest k that is tried with every pair
    notes: list[str] = field(default_factory=list)

    @property
    def pairs(self) -> list[Pair]:
        return list(self.settings)

    def is_near(self, k: int) -> bool:
        return k <= self.near

    @classmethod
    def of(cls, config: KNNConfig, data: Data, few: Rows, num_train: int) -> _Grid:
        """What there are training rows and time for, and of that what the budget allows."""
        ks, notes = _usable(config, num_train), []
        metrics = _affordable(config, data)
        if len(metrics) < len(config.metric):
            left_out = ", ".join(f"metric={m}" for m in config.metric if m not in metrics)
            notes.append(f"too large to try: {left_out}")
        groups = [
            [
                {"k": k, "metric": metric, "weights": weights, "scaler": scaler}
                for weights in config.weights
                for k in ks
            ]
            for scaler in distinct(config.scaler, metrics, few, data)
            for metric in metrics
        ]
        total = sum(map(len, groups))
        some = drawn(groups, config.budget, data.seed)
        # What was drawn is tried, however large its k.
        near = max(_NEAR, ks[0]) if some == groups else ks[-1]
        if some != groups:
            notes.append(f"{sum(map(len, some))} of {total} settings tried, drawn at random")
        return cls({_pair(group[0]): group for group in some}, total, near, notes)


@dataclass(frozen=True, eq=False)
class _Table:
    """Training and validation rows, scaled in whatever way is asked for."""

    config: KNNConfig
    data: Data
    train: Rows
    val: Rows
    scaled: dict[str, tuple[Scaling, Rows]] = field(default_factory=dict)

    def smaller(self, tune_rows: int | None) -> _Table:
        """Itself, or with fewer rows: half as many validation rows as training rows."""
        if tune_rows is None or len(self.train.x) <= tune_rows:
            return self
        train = self.data.some("train", tune_rows)
        return _Table(self.config, self.data, train, self.data.some("val", (tune_rows + 1) // 2))

    def choice(
        self,
        grid: _Grid,
        pairs: Iterable[Pair],
        is_tried: Callable[[int], bool],
        choice: Choice[Any] | None = None,
    ) -> Choice[Any]:
        """The best of the settings of some pairs whose k is to be tried here."""
        choice = choice or Choice()
        for pair in dict.fromkeys(pairs):
            wanted = [s for s in grid.settings[pair] if is_tried(s["k"]) and s["k"] <= self.num]
            if wanted:
                model, scaling = self._model(*pair)
                with _threads(self.train, self.val):
                    model.choose(scaling.of_rows(self.val), wanted, choice)
        return choice

    @property
    def num(self) -> int:
        return len(self.train.x)

    def predict(self, settings: Settings, rows: Rows) -> Votes | Means:
        """The votes about other rows."""
        model, scaling = self._model(*_pair(settings))
        with _threads(self.train, rows):
            return model.predict(scaling.of_rows(rows), settings["k"], settings["weights"])

    def _model(self, scaler: str, metric: str) -> tuple[KNN | KNNMean, Scaling]:
        if scaler not in self.scaled:
            self.scaled.clear()  # one table at a time
            scaling = Scaling.of(scaler, self.train, self.data)
            self.scaled[scaler] = scaling, scaling.of_rows(self.train)
        scaling, train = self.scaled[scaler]
        memory_bytes = self.config.memory_mb * 2**20
        if self.data.target is not None:
            return KNNMean(train, self.data, metric, memory_bytes), scaling
        return KNN(train, self.data.num_classes, metric, memory_bytes, self.data), scaling


def _is_between(low: float, high: float, k: int) -> bool:
    return low < k <= high


def _pair(settings: Settings) -> Pair:
    return settings["scaler"], settings["metric"]


def _by_settings(tried: Iterable[Settings]) -> dict[Any, Settings]:
    return {(_pair(one), one["weights"], one["k"]): one for one in tried}


def _threads(train: Rows, queries: Rows) -> AbstractContextManager[None]:
    """One thread for small work, where several wait for each other more than they help."""
    products = len(train.x) * queries.x.numel()
    return threads(1 if products < _PRODUCTS_FOR_THREADS else available_cores())


def _affordable(config: KNNConfig, data: Data) -> list[str]:
    """The first metric, and of the others those that take no more than ``max_cells``."""
    queries = len(data.rows["val"]) + len(data.rows["test"])
    cells = len(data.rows["train"]) * queries * data.x.shape[1]
    most = math.inf if config.max_cells is None else config.max_cells
    first, *others = config.metric
    return [first, *(m for m in others if cells * _CELLS.get(m, 1) <= most)]


def _usable(config: KNNConfig, num_train: int) -> list[int]:
    """The candidates that there are enough training rows for, in ascending order.

    A learning curve goes down to fewer rows than the usual candidates.
    """
    return sorted(k for k in config.k if k <= num_train)
