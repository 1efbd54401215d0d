"""The record of a run: ``metrics.jsonl`` while it trains, ``result.json`` when it has ended.

Both are strict JSON: a number that is not finite is written as ``null``.
"""

from __future__ import annotations

import dataclasses
import functools
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnexp.errors import DataError
from nnexp.metrics import recorded_metrics
from nnexp.runs.files import Journal, to_json, to_object, to_readable_json, write_atomically
from nnexp.runs.folder import (
    METRICS_FILE,
    RESULT_FILE,
    read_bytes,
)
from nnexp.runs.result_checks import ADDED, check_values, from_fields, require
from nnexp.tasks import CLASSIFICATION, REGRESSION, TASKS, Task

if TYPE_CHECKING:
    from nnexp.engine import Epoch

# --------------------------------------------------------------------------------------------------
# The software that decides a run's numbers.
# --------------------------------------------------------------------------------------------------

RECORDED_PACKAGES = ("nnexp", "torch", "numpy", "scikit-learn", "hydra-core", "omegaconf")


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


# --------------------------------------------------------------------------------------------------
# ``metrics.jsonl``: a line an epoch, while the run trains.
# --------------------------------------------------------------------------------------------------


def epoch_keys(task: Task) -> tuple[str, ...]:
    """What one line of ``metrics.jsonl`` holds at least; see :data:`EPOCH_KEYS`."""
    key = task.key
    train, val = ("train/loss", f"train/{key}"), ("val/loss", f"val/{key}")
    return ("epoch", "step", *train, *val, "lr", "seconds")


EPOCH_KEYS = epoch_keys(TASKS[CLASSIFICATION])
"""The same of a classification; a regression has ``train/rmse`` and ``val/rmse`` for accuracies.
Where ``trainer.select`` names a further metric, ``val/<name>`` comes to it.

``epoch`` counts from 1; ``step`` is the number of optimizer steps taken so far; ``train/*`` are
means over the epoch's batches; ``val/*`` are null in an epoch without evaluation; ``lr`` is the
learning rate of the epoch's last step; ``seconds`` is the time since training began.
"""


def epoch_record(epoch: Epoch, task: Task, metric: str | None = None) -> dict[str, Any]:
    """What the engine says of an epoch, by the keys of its line in ``metrics.jsonl``.

    Args:
        metric: the further metric that ``trainer.select`` names, if it is one.
    """
    score = f"/{task.key}"
    values = {
        key: getattr(epoch, key.replace(score, "/score").replace("/", "_"))
        for key in epoch_keys(task)
    }
    values["seconds"] = round(epoch.seconds, 4)
    return values if metric is None else {**values, f"val/{metric}": epoch.val_metric}


class MetricsLog:
    """Appends one line an epoch to ``metrics.jsonl``; see :class:`~nnexp.runs.files.Journal`.

    Lines are collected for a moment before they are written, and then survive a kill of the
    process; a full disk delays them and stops nothing.
    """

    def __init__(self, folder: Path, keys: Sequence[str] = EPOCH_KEYS) -> None:
        self._journal = Journal(folder / METRICS_FILE)
        self._keys = tuple(keys)

    def append(self, epoch: Mapping[str, float | None]) -> None:
        """Record one epoch, given by exactly the keys of this log."""
        if set(epoch) != set(self._keys):
            raise ValueError(f"an epoch has the keys {self._keys}, got {tuple(epoch)}")
        self._journal.append(to_json({key: epoch[key] for key in self._keys}) + b"\n")

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
    for number, line in enumerate(read_bytes(path).split(b"\n")[:-1], start=1):
        try:
            epochs.append(to_object(line))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
    return epochs


# --------------------------------------------------------------------------------------------------
# ``result.json``: what a run was and came to, written when it has ended.
# --------------------------------------------------------------------------------------------------

SCHEMA = 1
STATUSES = ("completed", "diverged", "failed", "interrupted")
RESULT_METRICS = (
    "train/loss",
    "val/loss",
    "val/acc",
    "test/loss",
    "test/acc",
    "test/clipped_loss",
    "test/brier",
)
_SAID_OF_REGRESSION = ("train/loss", "val/loss", "val/rmse", "test/loss", "test/rmse")


def result_metrics(task: str) -> tuple[str, ...]:
    """The metrics that every result of a task has: of a classification :data:`RESULT_METRICS`."""
    return _SAID_OF_REGRESSION if task == REGRESSION else RESULT_METRICS


RESULT_SECONDS = ("total", "train", "predict")
BASELINE_KEYS = (
    "val/acc",
    "val/clipped_loss",
    "test/acc",
    "test/clipped_loss",
    "test/brier",
    "calibration",
    "tried",
    "settings",
    "edges",
    "rows",
    "seconds",
    "seconds/train",
    "seconds/predict",
    "note",
)
_OF_REGRESSION = ("val/rmse", "test/rmse")


def baseline_keys(task: str) -> tuple[str, ...]:
    """What a result says of each baseline: of a classification :data:`BASELINE_KEYS`."""
    if task != REGRESSION:
        return BASELINE_KEYS
    of_classes = ("val/acc", "val/clipped_loss", "test/acc", "test/clipped_loss", "test/brier",
                  "calibration")  # fmt: skip
    return (*_OF_REGRESSION, *(key for key in BASELINE_KEYS if key not in of_classes))


_ADDED = {
    "metrics": dict.fromkeys(("test/brier", "test/clipped_loss")),
    "seconds": {"predict": None},
    "baselines": dict.fromkeys(set(BASELINE_KEYS) - {"val/acc", "test/acc", "seconds"}),
}
"""Keys that the first results do not have, and what is read in their place."""
_REPLACED = ("val/acc by k",)
"""Keys of baselines that the first results have alone."""


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
    official_test: bool | None = field(default=None, metadata=ADDED)
    """Whether the test rows are official; else they are drawn, others for each split_seed."""
    class_names: list[str] | None = field(default=None, metadata=ADDED)
    """In the order of the probabilities: of two classes the second one is class 1 of a metric."""

    @classmethod
    def of(cls, dataset: object) -> DatasetSummary:
        """What a :class:`~nnexp.data.Dataset` says of itself."""
        fields = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(cls)}
        names = list(fields["class_names"])
        num_classes = fields["num_classes"] or None  # a regression has none
        return cls(**{**fields, "class_names": names or None, "num_classes": num_classes})


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
    task: str = field(default=CLASSIFICATION, metadata=ADDED)
    """``classification`` or ``regression``."""
    model: str
    optimizer: str
    dataset: DatasetSummary
    data_card: dict[str, Any] | None = field(default=None, metadata=ADDED)
    """Of a table: what its columns were taken for, see :class:`~nnexp.data.card.DataCard`."""
    num_parameters: int | None = None
    epochs: int = 0
    """Epochs trained."""
    best_epoch: int | None = None
    """The epoch that ``trainer.select`` chose, whose parameters saw the test rows. None: no epoch
    was evaluated and had finite losses."""
    metrics: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(RESULT_METRICS))
    """:data:`RESULT_METRICS` at the best epoch, and ``val/<name>`` and ``test/<name>`` of further
    metrics that the config asks for (:mod:`nnexp.metrics`).

    ``val/loss`` and ``test/loss`` are the exact cross-entropy in nats, not bounded. ``train/loss``
    is what was minimised: with dropout and label smoothing, over the epoch. By
    ``test/clipped_loss`` networks are compared with baselines: see :mod:`nnexp.scoring_rules`.
    Of a regression losses are squared errors of the standardised target, and ``rmse``, ``mae`` and
    ``r2`` take the place of the others, in the unit of the target.
    """
    calibration: dict[str, list[Any]] | None = field(default=None, metadata=ADDED)
    """Of the network on the test rows; see :class:`~nnexp.scoring_rules.Scores`."""
    baselines: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: the chosen settings, :data:`BASELINE_KEYS` and further metrics as above.

    ``tried`` lists settings with their ``val/acc``, of the ``settings`` that the grid has;
    ``edges`` remarks on choices at an end of those tried; ``rows`` is the number of training rows
    used.
    Of a baseline that was left out ``skipped`` says why, and the rest is null.
    """
    seconds: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(RESULT_SECONDS))
    """:data:`RESULT_SECONDS`: of the whole run; of its training, evaluation and logging in it; of
    predicting the test rows. Of runs that trained together each has the time of all."""
    group_size: int = 1
    """How many runs were trained as one computation with this one, itself included."""
    device: str | None = None
    threads: int | None = None
    matmul: str | None = field(default=None, metadata=ADDED)
    """The library of the matrix products and its kernels: see :func:`nnexp.device.description`."""
    versions: dict[str, str] = field(default_factory=installed_versions)
    config: dict[str, Any] = field(default_factory=dict, metadata=ADDED)
    """All options of the run; empty if they were refused."""

    @property
    def further(self) -> tuple[str, ...]:
        """The names of the metrics that the run records beside loss and accuracy, each once."""
        report = self.config.get("report") or {}
        return tuple(recorded_metrics(self.config.get("metrics"), report.get("metric")))


def write_result(folder: Path, result: RunResult) -> None:
    """Write ``result.json`` into ``folder``, atomically: where it stands, the run has ended.

    Raises OSError if it cannot be written, ValueError if it breaks the contract.
    """
    fields = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    fields["dataset"] = dataclasses.asdict(result.dataset)
    _result_from(fields)
    write_atomically(folder / RESULT_FILE, to_readable_json(fields) + b"\n")


def read_result(folder: Path) -> RunResult:
    """Read the ``result.json`` of ``folder``. Keys that the contract does not know are left out;
    what the first results did not have is None, or empty, where it is absent.

    Raises DataError if it is missing, damaged, of another schema or not what the contract says.
    """
    path = folder / RESULT_FILE
    content = read_bytes(path)
    try:
        result = _result_from(to_object(content))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return dataclasses.replace(result, config=with_selection(result.config))


def with_selection(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded config, with ``trainer.select`` where it is of a version that did not have
    it: such runs kept the epoch of lowest validation loss."""
    trainer = config.get("trainer")
    if not isinstance(trainer, Mapping) or "select" in trainer:
        return dict(config)
    return {**config, "trainer": {**trainer, "select": "loss"}}


def unrecorded(folder: Path) -> list[tuple[str, ...]]:
    """Return the keys that the ``result.json`` of ``folder``, by an earlier version, lacks.

    Each is the path to a key that :func:`read_result` fills in, or to one that has been replaced
    since.

    Raises:
        DataError: as ``read_result``.
    """
    result = read_result(folder)
    fields = to_object((folder / RESULT_FILE).read_bytes())
    found: list[tuple[str, ...]] = [
        (f.name,) for f in dataclasses.fields(result) if f.name not in fields
    ]
    found += [
        ("dataset", f.name)
        for f in dataclasses.fields(result.dataset)
        if f.name not in fields["dataset"]
    ]
    metrics = fields["metrics"]
    if result.task == CLASSIFICATION:
        metrics = _with_clipped(metrics, ("test",))
    found += [("metrics", key) for key in result_metrics(result.task) if key not in metrics]
    for name, values in fields["baselines"].items():
        baseline = _with_clipped(values, ("val", "test"))
        expected = baseline_keys(result.task)
        found += [("baselines", name, key) for key in expected if key not in baseline]
        found += [("baselines", name, key) for key in _REPLACED if key in baseline]
    return found


def without(result: RunResult, keys: Iterable[tuple[str, ...]]) -> RunResult:
    """Return ``result`` as if nothing had been recorded for ``keys``, paths of ``unrecorded``."""
    fields = dataclasses.asdict(result)
    for *outer, key in keys:
        inner: dict[str, Any] = fields
        for part in outer:
            inner = inner.get(part, {})
        inner.pop(key, None)
    return RunResult(**{**fields, "dataset": DatasetSummary(**fields["dataset"])})


def precedence(result: RunResult) -> int:
    """Which of several results of one run counts: the least; of equals the newest.

    What came to the end of its training says more than a failure, and that more than a run that
    somebody stopped.
    """
    return {"completed": 0, "diverged": 0, "failed": 1, "interrupted": 2}[result.status]


def _result_from(fields: dict[str, Any]) -> RunResult:
    if fields.get("schema") != SCHEMA:
        raise ValueError(f"schema {fields.get('schema')!r} is not {SCHEMA}, which this nnexp reads")
    result: RunResult = from_fields(RunResult, fields)
    if result.status not in STATUSES:
        raise ValueError(f"status {result.status!r} is none of {', '.join(STATUSES)}")
    if result.task not in TASKS:
        raise ValueError(f"task {result.task!r} is none of {', '.join(TASKS)}")
    metrics = result.metrics
    if result.task == CLASSIFICATION:
        metrics = _with_clipped(metrics, ("test",))
        if "test/loss" in result.metrics:
            metrics.setdefault("test/loss", None)
    metrics = _completed("metrics", metrics, result_metrics(result.task))
    seconds = _completed("seconds", result.seconds, RESULT_SECONDS)
    expected = baseline_keys(result.task)
    baselines = {
        name: _completed("baselines", _with_clipped(baseline, ("val", "test")), expected, name)
        for name, baseline in result.baselines.items()
    }
    check_values({**fields, "metrics": metrics, "baselines": baselines})
    return dataclasses.replace(result, metrics=metrics, seconds=seconds, baselines=baselines)


def _with_clipped(values: dict[str, Any], splits: Iterable[str]) -> dict[str, Any]:
    """What was called ``loss`` at first, of networks on the test rows and of baselines, is the
    clipped log-loss, and is renamed. The exact one is then not known."""
    renamed = dict(values)
    for split in splits:
        exact, clipped = f"{split}/loss", f"{split}/clipped_loss"
        if exact in values and clipped not in values:
            renamed[clipped] = renamed.pop(exact)
    return renamed


def _completed(kind: str, values: Any, keys: Iterable[str], name: str = "") -> dict[str, Any]:
    """``values`` with what results of its kind did not have at first. Raises ValueError."""
    added = _ADDED[kind]
    require(f"{kind}.{name}" if name else kind, values, [key for key in keys if key not in added])
    return {**added, **values} if any(key not in values for key in added) else values
