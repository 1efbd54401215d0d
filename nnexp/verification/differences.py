"""What differs between a recorded run and the same run trained again: which value, and how much."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

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
        yield Difference(place, _shown(recorded), _shown(alone), amount)


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


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value) if isinstance(value, bool | int | float | str) else "present"
