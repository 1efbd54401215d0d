"""Where two trainings of a run differ, and how far they agree on CUDA."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from nnexp.metrics import metric_keys
from nnexp.runs.folder import METRICS_FILE, RESULT_FILE
from nnexp.runs.record import RunResult

# --------------------------------------------------------------------------------------------------
# What differs between a recorded run and the same run trained again: which value, and how much.
# --------------------------------------------------------------------------------------------------

_ABSENT = "absent"
_TIMES = ("seconds", "seconds/train", "seconds/predict")  # at any depth: no time is ever the same


@dataclass(frozen=True)
class Difference:
    """One value, or one tensor, that is not the same in all its bits."""

    place: str
    recorded: str
    alone: str
    amount: float  # absolute; infinite where one is no number

    def __str__(self) -> str:
        """In one line."""
        return f"{self.place}: {self.recorded}, alone {self.alone}"


def largest(differences: Iterable[Difference]) -> Difference | None:
    """The first of those of the largest amount."""
    return max(differences, key=lambda difference: difference.amount, default=None)


def largest_amount(differences: Iterable[Difference]) -> float:
    """0 where there are none."""
    return max((difference.amount for difference in differences), default=0.0)


def differences(recorded: Any, alone: Any, place: str) -> Iterator[Difference]:
    """Of two trees of mappings, lists, tensors and plain values; times aside."""
    if isinstance(recorded, Mapping) and isinstance(alone, Mapping):
        for key in [*recorded, *(key for key in alone if key not in recorded)]:
            if key not in _TIMES:
                theirs, ours = recorded.get(key, _ABSENT), alone.get(key, _ABSENT)
                yield from differences(theirs, ours, f"{place}, {key}")
    elif isinstance(recorded, list | tuple) and isinstance(alone, list | tuple):
        for index, pair in enumerate(zip_longest(recorded, alone, fillvalue=_ABSENT)):
            yield from differences(*pair, f"{place}[{index}]")
    elif isinstance(recorded, Tensor) and isinstance(alone, Tensor):
        yield from _of_tensors(recorded, alone, place)
    elif type(recorded) is not type(alone) or repr(recorded) != repr(alone):
        both_numbers = isinstance(recorded, int | float) and isinstance(alone, int | float)
        amount = float(abs(recorded - alone)) if both_numbers else math.inf
        amount = math.inf if math.isnan(amount) else amount
        yield Difference(place, _value_text(recorded), _value_text(alone), amount)


def _of_tensors(recorded: Tensor, alone: Tensor, place: str) -> Iterator[Difference]:
    if recorded.shape != alone.shape or recorded.dtype != alone.dtype:
        yield Difference(place, _form(recorded), _form(alone), math.inf)
        return
    ours, theirs = alone.reshape(-1).contiguous(), recorded.reshape(-1).contiguous()
    if torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8)):
        return
    amounts = (ours.double() - theirs.double()).abs()
    amounts[(ours == theirs) | (ours.isnan() & theirs.isnan())] = 0.0  # also of infinities
    at = int(amounts.nan_to_num_(nan=math.inf, posinf=math.inf).argmax())
    index = [int(i) for i in torch.unravel_index(torch.tensor(at), recorded.shape)]
    element = f"{place}{index if index else ''}"
    yield Difference(element, str(theirs[at].item()), str(ours[at].item()), float(amounts[at]))


def _form(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} of {tensor.dtype}"


def _value_text(value: Any) -> str:
    if value is None:
        return "null"
    return str(value) if isinstance(value, bool | int | float | str) else "present"


# --------------------------------------------------------------------------------------------------
# How far two trainings of a run on CUDA agree, epoch by epoch.
#
# A run that trains batched with others is rounded otherwise there than alone: cuBLAS chooses a
# kernel by the number of products in a batch, and each adds up in an order of its own. Training
# can multiply such differences, by ten in an epoch or by a million; Adam, AdaGrad and RMSprop make
# full steps of gradients that are 0 but for rounding. So equal runs agree at first and may drift
# apart later, and how soon says nothing about the engine. What rounding does not touch must be the
# same throughout.
# --------------------------------------------------------------------------------------------------

Epochs = Sequence[Mapping[str, float | None]]  # as ``read_metrics`` gives them

_LOSSES = ("train/loss", "val/loss", "test/loss", "test/brier")
_ACCURACIES = {"train/acc": "num_train", "val/acc": "num_val", "test/acc": "num_test"}
_EXACT_OF_AN_EPOCH = ("epoch", "step", "lr")
_EXACT_OF_A_RESULT = ("seed", "arm", "model", "optimizer", "dataset", "num_parameters")


@dataclass(frozen=True)
class Deviation:
    """A metric of one epoch that the two trainings do not share."""

    place: str
    recorded: float | None
    alone: float | None
    amount: float  # absolute; infinite where one of them is no number
    allowed: float

    @property
    def is_excessive(self) -> bool:
        return self.amount > self.allowed

    def __str__(self) -> str:
        """In one line."""
        return (
            f"{self.place}: {_number_text(self.recorded)}, alone {_number_text(self.alone)} "
            f"({self.amount:.2g} apart, {self.allowed:.2g} allowed)"
        )


@dataclass(frozen=True)
class Agreement:
    """What two trainings of a run on CUDA have in common.

    ``epochs`` counts those of the longer one, ``until`` how many of the first are within the
    tolerance. ``parting`` is the worst metric of the first epoch that is not, or of the test rows
    if all epochs are; ``facts`` are differences that rounding cannot explain.
    """

    epochs: int
    until: int
    largest: float
    parting: Deviation | None
    facts: list[Difference]
    both_diverged: bool

    def verdict(self, required: int) -> str:
        """In a few words; "differs" unless ``required`` epochs agree, or all if there are fewer.

        Nothing can be required of a run that diverged in both trainings: its losses are what
        rounding has become.
        """
        if self.facts:
            return "differs"
        if self.both_diverged:
            return "diverges solo as well"
        if self.parting is None:
            return "agrees"
        if min(required, self.epochs) <= self.until < self.epochs:
            return f"drifts apart from epoch {self.until + 1}"
        return "differs"


def agreement(
    recorded: tuple[Epochs, RunResult], alone: tuple[Epochs, RunResult], tolerance: float
) -> Agreement:
    """Compare two trainings of a run; see :func:`allowed` for what ``tolerance`` means."""
    results = recorded[1], alone[1]
    rows = dataclasses.asdict(results[0].dataset)
    by_epoch = [
        list(_deviations(*pair, rows, tolerance, f"{METRICS_FILE}, epoch {number}"))
        for number, pair in enumerate(zip_longest(recorded[0], alone[0]), start=1)
    ]
    until = next(
        (place for place, found in enumerate(by_epoch) if any(d.is_excessive for d in found)),
        len(by_epoch),
    )
    tested = []
    if until == len(by_epoch) and results[0].best_epoch == results[1].best_epoch:
        pair = results[0].metrics, results[1].metrics
        further = metric_keys(results[0].further)
        tested = [
            *_deviations(*pair, rows, tolerance, RESULT_FILE),
            *_further_deviations(*pair, further, rows, tolerance),
        ]
    apart = [*by_epoch[until], *tested] if until < len(by_epoch) else tested
    return Agreement(
        epochs=len(by_epoch),
        until=until,
        largest=max((d.amount for found in [*by_epoch, tested] for d in found), default=0.0),
        parting=max(
            (d for d in apart if d.is_excessive),
            key=lambda d: d.amount / d.allowed if d.allowed else math.inf,
            default=None,
        ),
        facts=list(_facts(recorded, alone, tolerance)),
        both_diverged=all(result.status == "diverged" for result in results),
    )


def allowed(name: str, value: float | None, rows: int | None, tolerance: float) -> float:
    """How far a metric may be from its recorded ``value``.

    Losses: ``tolerance``, and that share of those above 1, as large ones are rounded more coarsely.
    Accuracies: ``tolerance`` and one of the ``rows``, since the least change can tip a sample over.
    """
    if name in _ACCURACIES:
        return tolerance + (1 / rows if rows else 0.0) * (1 + 1e-9)  # a difference of two quotients
    finite = value is not None and math.isfinite(value)
    return tolerance * max(1.0, abs(value or 0.0) if finite else 1.0)


def _deviations(
    recorded: Mapping[str, float | None] | None,
    alone: Mapping[str, float | None] | None,
    rows: Mapping[str, Any],
    tolerance: float,
    place: str,
) -> Iterator[Deviation]:
    """Of the metrics of an epoch, or of a result; one of the two may be missing altogether."""
    if recorded is None or alone is None:
        theirs, ours = (None if epoch is None else epoch["epoch"] for epoch in (recorded, alone))
        yield Deviation(place, theirs, ours, math.inf, 0.0)
        return
    for name in (*_LOSSES, *_ACCURACIES):
        theirs, ours = recorded.get(name), alone.get(name)
        amount = _distance(theirs, ours)
        if amount:
            most = allowed(name, theirs, rows.get(_ACCURACIES.get(name, "")), tolerance)
            yield Deviation(f"{place}, {name}", theirs, ours, amount, most)


def _further_deviations(
    recorded: Mapping[str, float | None],
    alone: Mapping[str, float | None],
    keys: Sequence[str],
    rows: Mapping[str, Any],
    tolerance: float,
) -> Iterator[Deviation]:
    """Of further metrics. In a mean over classes one sample that tips over may weigh as much as so
    many samples as there are classes."""
    for key in keys:
        theirs, ours = recorded.get(key), alone.get(key)
        amount = _distance(theirs, ours)
        if amount:
            number = rows[f"num_{key.partition('/')[0]}"]
            sample = (rows["num_classes"] or 0) / number if number else 0.0
            most = tolerance * max(1.0, abs(theirs or 0.0)) + sample
            yield Deviation(f"{RESULT_FILE}, {key}", theirs, ours, amount, most)


def _distance(one: float | None, other: float | None) -> float:
    """Nothing lies between two that are absent, or two that are not finite."""
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    if not (math.isfinite(one) and math.isfinite(other)):
        return 0.0 if math.isfinite(one) == math.isfinite(other) else math.inf
    return abs(one - other)


def _facts(
    recorded: tuple[Epochs, RunResult], alone: tuple[Epochs, RunResult], tolerance: float
) -> Iterator[Difference]:
    """Differences that training does not account for."""
    for number, pair in enumerate(zip(recorded[0], alone[0], strict=False), start=1):
        theirs, ours = ({key: epoch[key] for key in _EXACT_OF_AN_EPOCH} for epoch in pair)
        yield from differences(theirs, ours, f"{METRICS_FILE}, epoch {number}")
    fields = [dataclasses.asdict(result) for _, result in (recorded, alone)]
    theirs, ours = ({key: result[key] for key in _EXACT_OF_A_RESULT} for result in fields)
    yield from differences(theirs, ours, RESULT_FILE)
    recorded_baselines, baselines = (result["baselines"] for result in fields)
    for difference in differences(recorded_baselines, baselines, f"{RESULT_FILE}, baselines"):
        if difference.amount > tolerance:  # a probability's last bits may be the device's
            yield difference


def _number_text(value: float | None) -> str:
    return "absent" if value is None else str(value)
