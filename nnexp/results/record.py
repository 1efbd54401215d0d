"""The record of a run: ``metrics.jsonl`` while it trains, ``result.json`` when it has ended.

Both are strict JSON: a number that is not finite is written as ``null``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import platform
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from nnexp.errors import DataError
from nnexp.results.files import Journal, write_atomically

SCHEMA = 1
METRICS_FILE = "metrics.jsonl"
RESULT_FILE = "result.json"

EPOCH_KEYS = (
    "epoch",
    "step",
    "train/loss",
    "train/acc",
    "val/loss",
    "val/acc",
    "lr",
    "seconds",
)
"""What one line of ``metrics.jsonl`` holds.

``epoch`` counts from 1; ``step`` is the number of optimizer steps taken so far; ``train/*`` are
means over the epoch's batches; ``val/*`` are null in an epoch without evaluation; ``lr`` is the
learning rate of the epoch's last step; ``seconds`` is the time since training began.
"""

STATUSES = ("completed", "diverged", "failed", "interrupted")
RESULT_METRICS = ("train/loss", "val/loss", "val/acc", "test/loss", "test/acc")
RESULT_SECONDS = ("total", "train")
BASELINE_KEYS = ("val/acc", "test/acc", "seconds")
RECORDED_PACKAGES = ("nnexp", "torch", "numpy", "scikit-learn", "hydra-core", "omegaconf")


class MetricsLog:
    """Appends one line an epoch to ``metrics.jsonl``; see :class:`~nnexp.results.files.Journal`.

    Lines are collected for a moment before they are written, and then survive a kill of the
    process; a full disk delays them and stops nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder / METRICS_FILE)

    def append(self, epoch: Mapping[str, float | None]) -> None:
        """Record one epoch, given by exactly the keys of :data:`EPOCH_KEYS`."""
        if set(epoch) != set(EPOCH_KEYS):
            raise ValueError(f"an epoch has the keys {EPOCH_KEYS}, got {tuple(epoch)}")
        self._journal.append(_strict_json({key: epoch[key] for key in EPOCH_KEYS}) + b"\n")

    def flush(self) -> None:
        """Write the lines that are still being collected."""
        self._journal.flush()

    def close(self) -> None:
        """Write what is not written yet, or tell that it is lost."""
        self._journal.close()


def read_metrics(folder: Path) -> list[dict[str, float | None]]:
    """The epochs of ``metrics.jsonl`` in ``folder``; a torn last line is left out.

    Raises DataError if the file is missing or a line is no JSON object.
    """
    path = folder / METRICS_FILE
    epochs = []
    for number, line in enumerate(_read(path).split(b"\n")[:-1], start=1):
        try:
            epochs.append(_object(line))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
    return epochs


def installed_versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide a run's numbers."""
    return dict(_installed_versions())


@functools.cache
def _installed_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What ``result.json`` says about the data; all but the name are None if it was not loaded."""

    name: str
    fingerprint: str | None = None
    num_train: int | None = None
    num_val: int | None = None
    num_test: int | None = None
    num_features: int | None = None
    num_classes: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The contract of ``result.json``, in the order of its keys. All times are in seconds.

    A run that failed early knows little more than what is required here; the rest has defaults.
    """

    schema: int = SCHEMA
    status: str
    """One of :data:`STATUSES`."""
    error: str | None = None
    """One line on what went wrong, or None."""
    seed: int
    arm: str
    """A short readable name of all that the run's config says but the seed."""
    model: str
    optimizer: str
    dataset: DatasetSummary
    num_parameters: int | None = None
    epochs: int = 0
    """Epochs trained."""
    best_epoch: int | None = None
    """The epoch of least validation loss, whose parameters saw the test rows."""
    metrics: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(RESULT_METRICS))
    """:data:`RESULT_METRICS` at the best epoch."""
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: the chosen settings and :data:`BASELINE_KEYS`."""
    seconds: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(RESULT_SECONDS))
    """:data:`RESULT_SECONDS`: of the whole run; of its training, evaluation and logging in it."""
    group_size: int = 1
    """How many runs were trained as one computation with this one, itself included."""
    device: str | None = None
    threads: int | None = None
    versions: dict[str, str] = field(default_factory=installed_versions)


def write_result(folder: Path, result: RunResult) -> None:
    """Write ``result.json`` into ``folder``, atomically: where it stands, the run has ended.

    Raises OSError if it cannot be written, ValueError if it breaks the contract.
    """
    text = _strict_json(dataclasses.asdict(result), indent=2)
    _result_from(_object(text))
    write_atomically(folder / RESULT_FILE, text + b"\n")


def read_result(folder: Path) -> RunResult:
    """Read the ``result.json`` of ``folder``. Keys that the contract does not know are left out.

    Raises DataError if it is missing, damaged, of another schema or not what the contract says.
    """
    path = folder / RESULT_FILE
    content = _read(path)
    try:
        return _result_from(_object(content))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def discard(folder: Path) -> None:
    """Delete what a run that never had a result has left in ``folder``: it is to be run again."""
    if (folder / RESULT_FILE).exists():
        return
    (folder / METRICS_FILE).unlink(missing_ok=True)
    for path in [*folder.glob("events.out.tfevents.*"), *folder.glob("checkpoints/*.pt*")]:
        path.unlink()


def set_aside(folder: Path) -> Path | None:
    """Move what an earlier run left in ``folder`` to ``folder/previous/<n>``, and name that place.

    The next run then finds the folder empty of results, and nothing that was written is lost. None
    if there was nothing to move. ``result.json`` goes first: a folder that still has it is whole.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    leftovers = [name for name in (RESULT_FILE, METRICS_FILE, "checkpoints") if name in names]
    leftovers += [name for name in names if name.startswith("events.out.tfevents.")]
    if not leftovers:
        return None
    number = 1
    while (place := folder / "previous" / str(number)).exists():
        number += 1
    place.mkdir(parents=True)
    for name in leftovers:
        (folder / name).rename(place / name)
    return place


def _result_from(fields: dict[str, Any]) -> RunResult:
    if fields.get("schema") != SCHEMA:
        raise ValueError(f"schema {fields.get('schema')!r} is not {SCHEMA}, which this nnexp reads")
    result: RunResult = _typed(RunResult, fields)
    if result.status not in STATUSES:
        raise ValueError(f"status {result.status!r} is none of {', '.join(STATUSES)}")
    _require("metrics", result.metrics, RESULT_METRICS)
    _require("seconds", result.seconds, RESULT_SECONDS)
    for name, baseline in result.baselines.items():
        _require(f"baselines.{name}", baseline, BASELINE_KEYS)
    return result


def _typed(kind: Any, fields: object) -> Any:
    """An instance of the dataclass ``kind``, its fields checked against their annotations."""
    values = {}
    hints = _hints(kind)
    _require(kind.__name__, fields, hints)
    assert isinstance(fields, dict)
    for name, hint in hints.items():
        value = fields[name]
        if dataclasses.is_dataclass(hint):
            value = _typed(hint, value)
        else:
            allowed = dict if typing.get_origin(hint) is dict else hint
            if not isinstance(value, allowed) or isinstance(value, bool):
                kinds = getattr(allowed, "__name__", allowed)
                raise ValueError(f"{name} is {value!r}, which is no {kinds}")
        values[name] = value
    return kind(**values)


_hints = functools.cache(typing.get_type_hints)


def _require(where: str, fields: object, keys: Iterable[str]) -> None:
    if not isinstance(fields, dict):
        raise ValueError(f"{where} is no object")
    missing = [key for key in keys if key not in fields]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _object(line: bytes) -> dict[str, Any]:
    """One strict JSON object. Raises ValueError in one line."""
    value = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _strict_json(value: object, indent: int | None = None) -> bytes:
    encoder = _ENCODERS[indent]
    try:
        text = encoder.encode(value)
    except ValueError:  # a number that is not finite
        text = encoder.encode(_finite(value))
    # A lone surrogate (from a file name that is no UTF-8) becomes its JSON escape, \\udcXX.
    return text.encode("utf-8", errors="backslashreplace")


_ENCODERS = {
    indent: json.JSONEncoder(indent=indent, allow_nan=False, ensure_ascii=False)
    for indent in (None, 2)
}


def _finite(value: Any) -> Any:
    """``value`` with every number that is not finite replaced by None, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
