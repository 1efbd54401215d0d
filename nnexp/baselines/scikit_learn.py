"""Baselines through scikit-learn: settings are compared, the best is fitted and tested.

The chosen model is not fitted again on training and validation rows together: the network, whose
best epoch the validation rows choose, does not learn from them either.

Axis legend: ``M`` rows, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from nnexp.baselines.base import FittedConfig, Learner, Settings, drawn
from nnexp.baselines.selection import Arrays, Choice, Data, Found, compact
from nnexp.errors import DataError
from nnexp.metrics import ACCURACY
from nnexp.scoring_rules import ErrorScores, Scores, scores

if TYPE_CHECKING:
    from nnexp.baselines.base import Floats

# Keeps a model, the fit's seconds and the outputs of the validation rows.
_Choice = Choice[tuple[Any, float, "Floats"]]

_ROWS_AT_ONCE = 8192  # of predictions
_FITS_ON_ALL_ROWS = 3  # at most, where the settings were compared on fewer


class SkippedError(Exception):
    """A baseline is left out; the message says why."""


def tuned(learner: Learner, config: FittedConfig, data: Data, name: str) -> Found:
    """Choose by the validation rows, then read the test rows.

    Raises:
        SkippedError: the data are too large.
        DataError: a class has no training row.
    """
    bounds = [config.max_rows, learner.most_rows(data.x.shape[1], data.num_classes)]
    train = data.training(min((most for most in bounds if most is not None), default=None))
    whole, too_large = _within_reason(learner, config, data, len(train.y), name)
    groups = drawn(whole, config.budget, data.seed)
    if data.target is None and len(np.unique(train.y)) < data.num_classes:
        raise DataError("not every class has a training row")
    num_settings = sum(map(len, groups))
    few = data.training(min(config.tune_rows or len(train.y), len(train.y)))
    is_subset = num_settings > 1 and len(few.y) < len(train.y)
    trial = _Trial(learner, data)
    choice = trial.choose(groups, few if is_subset else train)
    tried = choice.tried
    notes = [learner.note] if learner.note else []
    if num_settings < (in_all := sum(map(len, whole))):
        notes.append(f"{num_settings} of {in_all} settings tried, drawn at random")
    if too_large:
        notes.append(f"too large to try: {'; '.join(too_large)}")
    if len(train.y) < len(data.rows["train"]):
        notes.append(f"trained on {len(train.y)} of {len(data.rows['train'])} training rows")
    if is_subset:
        notes.append(f"settings compared by fits on {len(few.y)} rows")
        choice, fallen = trial.again(choice, train)
        notes += [f"not taken, for fitted on all rows {each}" for each in fallen]
    if trial.unconverged:
        notes.append(f"had not converged: {'; '.join(dict.fromkeys(trial.unconverged))}")
    assert choice.kept is not None
    model, train_seconds, val_outputs = choice.kept
    began = time.perf_counter()
    calibration = learner.calibration(choice.settings, train)
    train_seconds += time.perf_counter() - began
    val, probabilities = None, {}
    if len(trial.val.y):
        probabilities["val"], predictions = _predicted(learner, val_outputs, calibration, data)
        val = _scores(probabilities["val"], predictions, trial.val, data)

    test = data.arrays("test")  # all choices have been made
    began = time.perf_counter()
    (outputs,) = _outputs(learner, model, [choice.settings], test.x)
    found, predictions = _predicted(learner, outputs, calibration, data)
    predict_seconds = time.perf_counter() - began
    return Found(
        choice.settings,
        tried,
        val,
        _scores(found, predictions, test, data),
        predictions.numpy() if data.target else compact(predictions, data.num_classes),
        len(train.y),
        predict_seconds,
        train_seconds=train_seconds,
        note="; ".join(notes) or None,
        num_settings=in_all,
        learned=learner.learned(model),
        limits=learner.limits(model),
        probabilities={**probabilities, "test": found},
    )


def _within_reason(
    learner: Learner, config: FittedConfig, data: Data, num_rows: int, name: str
) -> tuple[list[list[Settings]], list[str]]:
    """The groups that are not too large to fit to so many rows, and the settings of the others."""
    groups, too_large, problem = [], [], ""
    for group in learner.groups():
        work = learner.work(group[-1], num_rows, data.x.shape[1], data.num_classes)
        if config.max_cells is None or math.prod(size for size, _ in work) <= config.max_cells:
            groups.append(group)
        else:
            too_large += [_told(settings) for settings in group]
            sizes = " x ".join(f"{size} {unit}" for size, unit in work)
            problem = f"{sizes} are more than baseline.{name}.max_cells={config.max_cells}"
    if not groups:
        raise SkippedError(problem)
    return groups, too_large


class _Trial:
    """Fits, and compares on the validation rows."""

    def __init__(self, learner: Learner, data: Data) -> None:
        self._learner, self._data, self.val = learner, data, data.arrays("val")
        self.unconverged: list[str] = []

    def choose(self, groups: Sequence[Sequence[Settings]], train: Arrays) -> _Choice:
        """The best of the settings, with its model."""
        choice: _Choice = Choice()
        for group in groups:
            began = time.perf_counter()
            with _caught_convergence() as caught:
                if len(self.val.y):
                    model = self._learner.fit_watched(group, train, self.val)
                else:
                    model = self._learner.fit(group, train)
            fit_seconds = time.perf_counter() - began
            if caught:
                self.unconverged += [_told(settings) for settings in group]
            if not len(self.val.y):
                (settings,) = group
                choice.take(settings, (model, fit_seconds, np.empty((0, 0))))
                continue
            outputs = _outputs(self._learner, model, group, self.val.x)
            for settings, own in zip(group, outputs, strict=True):
                choice.offer(settings, self._compared(own), (model, fit_seconds, own))
        return choice

    def again(self, compared: _Choice, train: Arrays) -> tuple[_Choice, list[str]]:
        """What was the best on fewer rows, fitted to all of them; and what turned out worse there.

        More rows can do harm: where boosting has many classes and a high learning rate, the values
        of its leaves may run away. Then the next best settings are fitted too, and the validation
        rows choose once more.
        """
        by_accuracy = self._data.target is None and self._data.metric in (None, ACCURACY)
        if not by_accuracy:  # how far a value may fall by chance is known of accuracy alone
            return self.choose([[compared.settings]], train), []
        best = next(t for t in compared.tried if compared.settings.items() <= t.items())
        others = sorted((t for t in compared.tried if t is not best), key=lambda t: -t["val/acc"])
        choice: _Choice = Choice()
        fallen: dict[int, str] = {}
        for place, expected in enumerate([best, *others][:_FITS_ON_ALL_ROWS]):
            settings = {key: value for key, value in expected.items() if key != "val/acc"}
            found = self.choose([[settings]], train)
            assert isinstance(found.val, Scores)
            assert found.kept is not None
            choice.offer(settings, found.val, found.kept)
            if found.val.acc >= expected["val/acc"] - 2 * self._standard_error(expected["val/acc"]):
                break
            fallen[place] = (
                f"{_told(settings)} has validation accuracy {found.val.acc:.3f} "
                f"instead of {expected['val/acc']:.3f}"
            )
        taken = next(i for i, t in enumerate(choice.tried) if choice.settings.items() <= t.items())
        return choice, [told for place, told in fallen.items() if place != taken]

    def _compared(self, outputs: Floats) -> Scores | ErrorScores:
        """What settings are compared by; without probabilities by the accuracy alone, or by another
        metric of a softmax of the outputs."""
        if self._data.target is not None:
            return self._data.error_scores(outputs, self.val.y)
        if self._learner.has_probabilities:
            return self._data.scores(
                torch.from_numpy(outputs).float(), torch.from_numpy(self.val.y)
            )
        if self._data.metric not in (None, ACCURACY):
            likely = torch.from_numpy(outputs).softmax(1)
            told = self._data.scores(likely, torch.from_numpy(self.val.y))
            return replace(told, clipped_loss=math.inf)
        right = outputs.argmax(1) == self.val.y
        return Scores(float(right.mean()), math.inf, math.inf, {})

    def _standard_error(self, acc: float) -> float:
        """Of an accuracy on the validation rows."""
        return math.sqrt(acc * (1 - acc) / len(self.val.y))


def _outputs(
    learner: Learner, model: Any, group: Sequence[Settings], x: npt.NDArray[np.float32]
) -> list[Floats]:
    """Some rows at a time: what some models allocate grows with rows times classes squared."""
    parts = [
        learner.outputs(model, group, x[start : start + _ROWS_AT_ONCE])
        for start in range(0, len(x), _ROWS_AT_ONCE)
    ]
    return [np.concatenate(own) for own in zip(*parts, strict=True)]


def _predicted(
    learner: Learner, outputs: Floats, calibration: Any, data: Data
) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities [M, C] and classes [M], which go by the outputs; of a regression the quantities
    [M] in the unit of the target, twice."""
    if data.target is not None:
        told = torch.from_numpy(data.target.restored(np.asarray(outputs, np.float64)))
        return told, told
    found = torch.from_numpy(learner.probabilities(outputs, calibration)).float()
    own = torch.from_numpy(outputs)
    return found, (own.float() if learner.has_probabilities else own).argmax(1)


def _scores(
    probabilities: torch.Tensor, predictions: torch.Tensor, rows: Arrays, data: Data
) -> Scores | ErrorScores:
    if data.target is not None:
        standardised = (predictions.numpy() - data.target.mean) / data.target.std
        return data.error_scores(standardised, rows.y)
    y = torch.from_numpy(rows.y)
    told = scores(probabilities, y)
    if math.isnan(told.acc):  # there are no probabilities, so no predictions either
        return told
    return replace(told, acc=float((predictions == y).double().mean()))


def _told(settings: Settings) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


@contextmanager
def _caught_convergence() -> Iterator[list[str]]:
    """What inside warns that it has not converged; other warnings are raised as ever."""
    from sklearn.exceptions import ConvergenceWarning

    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        yield told
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            told.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
