"""How a baseline's hyperparameters are selected, and on which rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nnexp.data import Dataset
from nnexp.data.coded import CodedTable, EpochRows
from nnexp.data.preprocessing import apply
from nnexp.data.source import Indices
from nnexp.data.split import nested
from nnexp.data.targets import TargetScaling
from nnexp.metrics import ACCURACY, METRICS, measured, metric_keys
from nnexp.rng import random_bits
from nnexp.scoring_rules import ErrorScores, Primary, Scores, scores
from nnexp.tasks import CLASSIFICATION, REGRESSION, TASKS

log = logging.getLogger(__name__)

# --------------------------------------------------------------------------------------------------
# The rows that a baseline learns from, chooses by and is tested on: those of the network.
#
# Axis legend: ``N`` rows of the whole table, ``M`` rows of one split, ``D`` features, ``C``
# classes.
# --------------------------------------------------------------------------------------------------

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a split: features ``x`` [M, D], float32 or uint8, classes ``y`` [M], int64; of a
    regression the standardised target, float64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Arrays:
    """The same in the memory of the CPU, for scikit-learn."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[Any]  # int64, or float64 of a regression
    one_hot: tuple[tuple[int, int], ...] = ()
    """Features, from start to stop, that say which category one column of a table holds."""


@dataclass(frozen=True, eq=False)
class Data:
    """A data set with its splits.

    Pixels that are all scaled by one number stay what they are. Their neighbours are those of the
    scaled table, but for ties that rounding of p / 255 to float32 breaks there, and are found by
    products of bytes; scikit-learn gets the scaled rows.
    """

    x: Tensor  # [N, D] on the device that does the work: the scaled table, float32; or uint8
    y: Tensor  # its classes [N]; of a regression the standardised target, float64
    rows: Mapping[str, Tensor]  # int64 indices into the table, by split: train, val, test
    num_classes: int
    seed: int  # what a baseline draws at random follows from it; conf/ has dataset.split_seed
    unit: float = 1.0  # what ``x`` is to be multiplied by, if it is uint8
    one_hot: tuple[tuple[int, int], ...] = ()  # as of Arrays
    scale: npt.NDArray[np.float64] | None = None  # [D] what columns were multiplied by, if known
    target: TargetScaling | None = None  # of a regression
    metric: str | None = None  # by which settings are selected; None: accuracy, or RMSE

    @classmethod
    def of(
        cls, dataset: Dataset, seed: int, device: torch.device, metric: str | None = None
    ) -> Data:
        """What a run sees whose ``dataset.split_seed`` is ``seed``, and ``report.metric``."""
        return replace(cls._of(dataset, seed, device), metric=metric)

    @classmethod
    def _of(cls, dataset: Dataset, seed: int, device: torch.device) -> Data:
        if isinstance(dataset.table, CodedTable):
            return cls._of_codes(dataset, dataset.table, seed, device)
        rows = {name: getattr(dataset, name).to(device) for name in SPLITS}
        pixels, unit = dataset.pixels, float(dataset.scale[0])
        if pixels is None or bool(dataset.shift.any()) or bool((dataset.scale != unit).any()):
            pixels, unit = None, 1.0
        x = dataset.x if pixels is None else pixels
        assert isinstance(dataset.y, Tensor)  # computed ones come with codes
        y, target = dataset.y, dataset.target
        if target is not None:
            y = (y - target.mean) / target.std
        return cls(
            x.to(device),
            y.to(device),
            rows,
            dataset.num_classes,
            seed,
            unit,
            one_hot=() if dataset.encoder is None else dataset.encoder.one_hot,
            scale=dataset.scale.numpy() if pixels is None else None,
            target=target,
        )

    @classmethod
    def _of_codes(
        cls, dataset: Dataset, table: CodedTable, seed: int, device: torch.device
    ) -> Data:
        """The rows of the splits alone, as bytes; of training rows as many as there is room for."""
        most = num_baseline_rows(dataset)
        if isinstance(dataset.train, EpochRows):
            train = dataset.train.some(most)
        else:
            train = dataset.train.numpy()
            if most < len(train):
                keys = random_bits(len(dataset.y), seed, "split")
                train = np.sort(train[np.argsort(keys[train], kind="stable")[:most]])
        if most < dataset.num_train:
            log.warning(
                "%s: baselines learn from %d of %d training samples: of these %d features "
                "take %.1f GiB",
                dataset.name, most, dataset.num_train, dataset.num_features,
                _DENSE_BYTES / 2**30,
            )  # fmt: skip
        parts = [train, dataset.val.numpy(), dataset.test.numpy()]
        every = np.concatenate(parts)
        ends = np.cumsum([0, *map(len, parts)])
        rows = {
            name: torch.arange(int(ends[at]), int(ends[at + 1]), device=device)
            for at, name in enumerate(SPLITS)
        }
        y = dataset.y[torch.from_numpy(every)].to(device)
        return cls(table.dense(every).to(device), y, rows, dataset.num_classes, seed)

    def split(self, name: str) -> Rows:
        """The rows of ``train``, ``val`` or ``test``, on the device."""
        rows = self.rows[name]
        return Rows(self.x.index_select(0, rows), self.y.index_select(0, rows))

    def some(self, name: str, most: int) -> Rows:
        """At most so many rows of ``train``, as ``training`` takes them, or of another split."""
        rows = self.rows[name]
        if most >= len(rows):
            return self.split(name)
        if name == "train":
            order = torch.from_numpy(self._order()[: max(most, self.num_classes)])
        else:
            keys = random_bits(len(self.x), self.seed, "split")[rows.cpu().numpy()]
            order = rows.cpu()[torch.from_numpy(keys.argsort(kind="stable")[:most])]
        chosen = order.sort().values.to(rows.device)
        return Rows(self.x.index_select(0, chosen), self.y.index_select(0, chosen))

    def labels(self, name: str) -> npt.NDArray[Any]:
        """The classes of the same rows [M], in the memory of the CPU; of a regression the target in
        its unit."""
        labels: npt.NDArray[Any] = self.y.index_select(0, self.rows[name]).cpu().numpy()
        return labels if self.target is None else self.target.restored(labels)

    def scores(self, probabilities: Tensor, y: Tensor) -> Scores:
        """Of probabilities [M, C] and right classes [M], with the primary metric."""
        found = scores(probabilities, y)
        if self.metric in (None, ACCURACY):
            return found
        return replace(found, primary=self._primary(probabilities.cpu().numpy(), y.cpu().numpy()))

    def error_scores(self, predicted: npt.NDArray[Any], right: npt.NDArray[Any]) -> ErrorScores:
        """Of predictions and right values [M], both standardised."""
        assert self.target is not None
        told, truth = self.target.restored(predicted), self.target.restored(right)
        return ErrorScores(float(np.sqrt(((told - truth) ** 2).mean())), self._primary(told, truth))

    def _primary(self, told: npt.NDArray[Any], right: npt.NDArray[Any]) -> Primary:
        name = self.metric or TASKS[REGRESSION].metric
        value = measured([name], told, right, "a setting on validation rows")[name]
        return Primary(name, value, METRICS[name].greater_is_better)

    def arrays(self, name: str) -> Arrays:
        """The same for scikit-learn, scaled."""
        return self._arrays(self.rows[name])

    def training(self, most: int | None) -> Arrays:
        """All training rows, or of more than ``most`` a subset of so many, a row a class at least.

        Subsets are nested and stratified: of the whole training rows they are those that
        ``dataset.num_train`` would take.
        """
        rows = self.rows["train"]
        if most is None or most >= len(rows):
            return self.arrays("train")
        chosen = torch.from_numpy(self._order()[: max(most, self.num_classes)]).sort().values
        return self._arrays(chosen.to(rows.device))

    def _order(self) -> Indices:
        """All training rows in an order of which every beginning is stratified."""
        rows = self.rows["train"].cpu().numpy()
        classes = self.y.index_select(0, self.rows["train"]).cpu().numpy()
        keys = random_bits(len(self.x), self.seed, "split")
        parts = [rows]
        if self.target is None:
            parts = [rows[classes == label] for label in range(self.num_classes)]
        return nested([part[np.argsort(keys[part], kind="stable")] for part in parts], keys)

    def _arrays(self, rows: Tensor) -> Arrays:
        x, y = (table.index_select(0, rows).cpu().numpy() for table in (self.x, self.y))
        if x.dtype == np.uint8:
            x = apply(x, np.zeros(x.shape[1]), np.full(x.shape[1], self.unit))
        return Arrays(x, y, self.one_hot)


_DENSE_BYTES = 2**29  # of rows of codes, which baselines take as features


def num_baseline_rows(dataset: Dataset) -> int:
    """How many training rows baselines learn from: all, or what of codes there is room for."""
    if not isinstance(dataset.table, CodedTable):
        return dataset.num_train
    room = _DENSE_BYTES // dataset.num_features - dataset.num_val - dataset.num_test
    return min(dataset.num_train, max(room, 1000))


# --------------------------------------------------------------------------------------------------
# How a baseline's settings are chosen, and what is written down of it.
# --------------------------------------------------------------------------------------------------

Settings = dict[str, Any]
Kept = TypeVar("Kept")

MEASURES = (
    "val/acc", "val/clipped_loss", "test/acc", "test/clipped_loss", "test/brier", "calibration",
)  # fmt: skip


@dataclass
class Choice(Generic[Kept]):
    """The best of the settings offered so far, on the validation rows.

    Best is the highest accuracy, or the best of another primary metric; among equals the lowest
    clipped log-loss; among these the first.
    """

    tried: list[Settings] = field(default_factory=list)  # each with its "val/acc", or None
    settings: Settings = field(default_factory=dict)
    val: Scores | ErrorScores | None = None
    kept: Kept | None = None

    def take(self, settings: Settings, kept: Kept | None = None) -> None:
        """The only ones, where there are no validation rows to choose by."""
        self.tried.append({**settings, "val/acc": None})
        self.settings, self.kept = settings, kept

    def offer(self, settings: Settings, val: Scores | ErrorScores, kept: Kept) -> None:
        """One more; ``kept`` is what is needed to go on with it."""
        self.tried.append({**settings, **val.compared()})
        if self.val is None or val.rank > self.val.rank:
            self.settings, self.val, self.kept = settings, val, kept


@dataclass(frozen=True)
class Found:
    """What became of a baseline: chosen on the validation rows, then tried on the test rows."""

    settings: Settings
    tried: list[Settings]
    val: Scores | ErrorScores | None  # None: there are no validation rows
    test: Scores | ErrorScores
    predictions: npt.NDArray[Any]  # classes of the test rows [M]; of a regression the quantity
    num_rows: int  # trained on
    predict_seconds: float  # of the test rows
    train_seconds: float | None = None
    """Of the fit that is tested, which may serve other settings too; None: it learns nothing."""
    note: str | None = None
    num_settings: int | None = None
    """In the whole grid, of which a budget may have left some out; None: those tried."""
    learned: Settings = field(default_factory=dict)
    """What the chosen model found by itself; no setting, for none of it was given."""
    limits: Sequence[str] = ()
    """Remarks on limits that the model has run into."""
    probabilities: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Of the rows of ``val``, if any, and ``test``, [M, C] each: what metrics are computed from. Of
    a regression the predictions [M], in the unit of the target."""


def found_record(
    found: Found,
    seconds: float,
    metrics: Mapping[str, float | None],
    edges: Sequence[str] = (),
) -> dict[str, Any]:
    """For ``result.json``, but for ``predicted`` and ``probabilities``, which go into a file of
    their own; the latter only where further metrics are asked for, as only these need them.

    Args:
        edges: see :mod:`nnexp.baselines.edges`.
        metrics: further ones by key, ``test/macro_f1``.
    """
    val, test, tested = found.val, found.test, found.probabilities.get("test")
    keeps_more = bool(metrics) and isinstance(test, Scores)  # predictions say all of a quantity
    return {
        **found.settings,
        **found.learned,
        **(dict.fromkeys(test.recorded("val")) if val is None else val.recorded("val")),
        **test.recorded("test"),
        **metrics,
        **({"calibration": test.calibration} if isinstance(test, Scores) else {}),
        "seconds": round(seconds, 3),
        "seconds/train": None if found.train_seconds is None else round(found.train_seconds, 3),
        "seconds/predict": round(found.predict_seconds, 4),
        "rows": found.num_rows,
        "note": found.note,
        "edges": [*edges, *found.limits],
        "settings": len(found.tried) if found.num_settings is None else found.num_settings,
        "tried": found.tried,
        "predicted": found.predictions,
        **({"probabilities": tested.cpu().numpy()} if keeps_more and tested is not None else {}),
    }


def skipped_record(reason: str, metrics: Iterable[str], task: str) -> dict[str, Any]:
    """The same of a baseline that was left out; ``metrics`` are the names of further ones."""
    times = ("seconds", "seconds/train", "seconds/predict")
    measures = MEASURES if task == CLASSIFICATION else ("val/rmse", "test/rmse")
    nothing = dict.fromkeys((*measures, *metric_keys(metrics), *times, "rows", "note"))
    return {"skipped": reason, **nothing, "edges": [], "settings": None, "tried": []}


def compact(predictions: torch.Tensor, num_classes: int) -> npt.NDArray[Any]:
    """Classes [M] in as few bytes as so many classes need."""
    kind = np.min_scalar_type(max(num_classes - 1, 0))
    return predictions.cpu().numpy().astype(kind)
