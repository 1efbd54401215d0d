"""A report for programs: ``runs.csv``, a row a run; ``summary.json``, all that the page shows."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnexp.comparison.records import RunRecord
from nnexp.comparison.types import Comparison
from nnexp.results.strict_json import to_readable_json

SUMMARY_SCHEMA = 1
_OBJECTS = ("config", "baselines", "calibration", "versions")


def runs_csv(records: Sequence[RunRecord], root: Path) -> bytes:
    """A row a run: what ``result.json`` says in single values, and the options that vary.

    Columns are named as the keys are nested, ``dataset.num_train``, ``baselines.knn.test/acc``;
    options begin with ``config.``. RFC 4180, UTF-8; what a run does not have is left empty, and a
    list is written as JSON.

    Args:
        root: what ``folder`` is told from, for runs below it.
    """
    varied = _varied([record.result.config for record in records])
    rows = [_row(record, root, varied) for record in records]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    # A lone surrogate, from a file name that is no UTF-8, becomes \udcXX.
    return text.getvalue().encode("utf-8", errors="backslashreplace")


def summary_json(comparison: Comparison, **more: Any) -> bytes:
    """The comparison as strict JSON: what is not a finite number is null.

    Args:
        more: further keys, behind ``schema``.
    """
    told = {"schema": SUMMARY_SCHEMA, **more, **dataclasses.asdict(comparison)}
    for result in told["results"]:
        if not result["test_metrics"]:
            del result["test_metrics"]
    return to_readable_json(told) + b"\n"


def _row(record: RunRecord, root: Path, varied: Sequence[str]) -> dict[str, Any]:
    result = record.result
    folder = record.folder.absolute()
    below = folder.is_relative_to(root.absolute())
    row: dict[str, Any] = {
        "folder": (folder.relative_to(root.absolute()) if below else folder).as_posix()
    }
    for name in (item.name for item in dataclasses.fields(result)):
        value = getattr(result, name)
        if name == "dataset":
            value = dataclasses.asdict(value)
        if name in ("metrics", "seconds") and isinstance(value, dict):
            row |= {f"{name}.{key}": _cell(item) for key, item in value.items()}
        elif name not in _OBJECTS:
            row |= {key: _cell(item) for key, item in _flat(value, name).items()}
    for baseline, told in result.baselines.items():
        for key, value in told.items():
            if not isinstance(value, dict | list):
                row[f"baselines.{baseline}.{key}"] = _cell(value)
    row |= {f"versions.{name}": version for name, version in result.versions.items()}
    options = _flat(result.config, "")
    return row | {f"config.{key}": _cell(options.get(key)) for key in varied}


def _varied(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options that differ between runs, in the order of the configs."""
    values: dict[str, set[str]] = {}
    flat = [_flat(config, "") for config in configs if config]
    for options in flat:
        for key, value in options.items():
            values.setdefault(key, set()).add(json.dumps(value, default=str))
    return [
        key
        for key, found in values.items()
        if len(found) > 1 or any(key not in options for options in flat)
    ]


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    """Values by their path, ``optimizer.lr``; a list is a value."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return "" if value is None else value
