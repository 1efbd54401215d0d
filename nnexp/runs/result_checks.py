"""What ``result.json`` may hold: types, ranges and keys, checked as it is read."""

from __future__ import annotations

import dataclasses
import functools
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from nnexp.config.schema import ReportConfig
from nnexp.metrics import metric_keys, recorded_metrics

# --------------------------------------------------------------------------------------------------
# Dataclasses from what was read, with a line on what is wrong.
# --------------------------------------------------------------------------------------------------

ADDED = {"added": True}
"""The metadata of a field that the first results did not have."""


def from_fields(kind: Any, fields: object, where: str = "") -> Any:
    """An instance of the dataclass ``kind``, its fields checked against their annotations.

    Keys that it does not know are left out; fields marked ``ADDED`` may be absent.

    Args:
        where: the keys that lead there, for the message.

    Raises:
        ValueError: in one line.
    """
    hints, required = _fields_of(kind)
    require(where or kind.__name__, fields, required)
    assert isinstance(fields, dict)
    values = {}
    for name, hint in hints.items():
        if name in fields:
            place, value = _below(where, name), fields[name]
            if dataclasses.is_dataclass(hint):
                values[name] = from_fields(hint, value, place)
            else:
                check(place, value, hint)
                values[name] = value
    return kind(**values)


def check_present(kind: Any, fields: object, where: str) -> None:
    """Check an object that may lack fields of the dataclass ``kind``; else as ``from_fields``."""
    require(where, fields, ())
    assert isinstance(fields, dict)
    for name, hint in _fields_of(kind)[0].items():
        if name in fields:
            check(_below(where, name), fields[name], hint)


def check(place: str, value: object, hint: Any) -> None:
    """Whether a value is what a type hint says, to the bottom of its containers.

    A hint is a plain class, ``Any``, ``list[...]``, ``dict[str, ...]`` or one of these or None. A
    whole number is a float too, a bool is neither.

    Raises:
        ValueError: in one line that names the place and the first value that is not.
    """
    problem = _problem(place, value, hint)
    if problem:
        raise ValueError(problem)


def require(where: str, fields: object, keys: Iterable[str]) -> None:
    """Raises ValueError unless ``fields`` is an object that has the keys."""
    if not isinstance(fields, dict):
        raise ValueError(f"{where} is no object")
    missing = [key for key in keys if key not in fields]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")


def misfit(place: str, value: object, wanted: str) -> str:
    """In one line that a value is not what it must be."""
    return f"{place} is {reprlib.repr(value)}, which is no {wanted}"


def _problem(place: str, value: object, hint: Any) -> str | None:
    if isinstance(hint, types.UnionType):
        if value is None:  # no union here is without it
            return None
        (inner,) = (kind for kind in hint.__args__ if kind is not types.NoneType)
        return _problem(place, value, inner)
    kind, inside = _parts(hint)
    if kind is Any:
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return misfit(place, value, _NAMES.get(hint, _NAMES.get(typing.get_origin(hint), "value")))
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict) and inside:
        items = value.items()
    elif isinstance(value, list) and inside:
        items = enumerate(value)
    for key, item in items:
        found = _problem(_below(place, str(key)), item, inside[-1])
        if found:
            return found
    return None


@functools.cache
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """What ``isinstance`` takes, and the hints of what is inside."""
    if hint is float:
        return (float, int), ()
    return typing.get_origin(hint) or hint, typing.get_args(hint)


@functools.cache
def _fields_of(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """What the fields of a dataclass may be, by name; which there must be."""
    return typing.get_type_hints(kind), [
        field.name for field in dataclasses.fields(kind) if field.metadata != ADDED
    ]


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
}

# --------------------------------------------------------------------------------------------------
# What the values in a ``result.json`` must be, beyond their types: whoever reads one may rely on
# it.
# --------------------------------------------------------------------------------------------------

_AT_LEAST = {
    "num_parameters": 0, "epochs": 0, "best_epoch": 0, "group_size": 1,
    "dataset.num_train": 0, "dataset.num_val": 0, "dataset.num_test": 0,
    "dataset.num_features": 0, "dataset.num_classes": 1,
}  # fmt: skip
_OF_BASELINES: dict[str, Any] = {
    "val/acc": float | None,
    "val/clipped_loss": float | None,
    "test/acc": float | None,
    "test/clipped_loss": float | None,
    "test/brier": float | None,
    "val/rmse": float | None,
    "test/rmse": float | None,
    "seconds": float | None,
    "seconds/train": float | None,
    "seconds/predict": float | None,
    "rows": int | None,
    "settings": int | None,
    "edges": list[str] | None,
    "note": str | None,
    "skipped": str | None,
    "failed": bool | None,
    "tried": list[dict[str, Any]] | None,
    "val/acc by k": dict[str, float | None] | None,  # of the first results
}
_OF_CALIBRATION: dict[str, Any] = {
    "count": list[int],
    "confidence": list[float | None],
    "accuracy": list[float | None],
}


def check_values(fields: Mapping[str, Any]) -> None:
    """Check the fields of a result, whose types and keys are right.

    Raises:
        ValueError: in one line that names the key and the value.
    """
    for key, least in _AT_LEAST.items():
        value: Any = fields
        for part in key.split("."):
            value = value.get(part)
        if value is not None and value < least:
            raise ValueError(f"{key} is {value}, which is less than {least}")
    _check_accuracies("metrics", fields["metrics"])
    check_calibration("calibration", fields.get("calibration"))
    metrics = fields.get("config", {}).get("metrics")
    check("config.metrics", metrics, list[str] | None)
    report = fields.get("config", {}).get("report")
    if report is not None:
        check_present(ReportConfig, report, "config.report")
    further = metric_keys(recorded_metrics(metrics, (report or {}).get("metric")))
    for name, baseline in fields["baselines"].items():
        _check_baseline(f"baselines.{name}", baseline)
        for key in further:
            check(f"baselines.{name}.{key}", baseline.get(key), float | None)


def check_calibration(place: str, calibration: Any) -> None:
    """Bins of confidence, as ``Scores`` has them; None is none. Raises as ``check_values``."""
    if calibration is None:
        return
    require(place, calibration, _OF_CALIBRATION)
    for key, hint in _OF_CALIBRATION.items():
        check(f"{place}.{key}", calibration[key], hint)
    columns = [calibration[key] for key in _OF_CALIBRATION]
    if len({len(column) for column in columns}) > 1:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise ValueError(f"{place}: {', '.join(_OF_CALIBRATION)} have {lengths} bins")
    for bin_, (count, *means) in enumerate(zip(*columns, strict=True)):
        if count < 0 or (count and None in means):
            raise ValueError(f"{place}: bin {bin_} of {count} rows has the means {means}")


def _check_baseline(place: str, baseline: Mapping[str, Any]) -> None:
    for key, hint in _OF_BASELINES.items():
        if key in baseline:
            check(f"{place}.{key}", baseline[key], hint)
    _check_accuracies(place, baseline)
    check_calibration(f"{place}.calibration", baseline.get("calibration"))
    for number, tried in enumerate(baseline.get("tried") or ()):
        here = f"{place}.tried.{number}"
        check(f"{here}.val/acc", tried.get("val/acc"), float | None)
        _check_accuracies(here, tried)
    for k in baseline.get("val/acc by k") or ():
        if not k.isdecimal():
            raise ValueError(misfit(f"{place}.val/acc by k", k, "whole number"))


def _check_accuracies(place: str, values: Mapping[str, Any]) -> None:
    for key in ("train/acc", "val/acc", "test/acc"):
        value = values.get(key)
        if value is not None and (value < 0 or value > 1):  # not a number is null in the file
            raise ValueError(f"{place}.{key} is {value}, which is no share of rows")
