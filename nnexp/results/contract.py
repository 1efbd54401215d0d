"""What the values in a ``result.json`` must be, beyond their types: whoever reads one may rely on
it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnexp.config.schema import ReportConfig
from nnexp.metrics import metric_keys
from nnexp.results.typed import check, check_present, misfit, require

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
    "seconds": float | None,
    "seconds/train": float | None,
    "seconds/predict": float | None,
    "rows": int | None,
    "note": str | None,
    "skipped": str | None,
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
    for name, baseline in fields["baselines"].items():
        _check_baseline(f"baselines.{name}", baseline)
        for key in metric_keys(metrics or ()):
            check(f"baselines.{name}.{key}", baseline.get(key), float | None)
    report = fields.get("config", {}).get("report")
    if report is not None:
        check_present(ReportConfig, report, "config.report")


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
