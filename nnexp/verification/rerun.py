"""Recorded runs trained again, alone, from the config that stands in their folder."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import math
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nnexp.config.compose import to_config
from nnexp.config.errors import one_line
from nnexp.config.schema import SCHEMAS, Config, baselines_config
from nnexp.errors import ConfigError, DataError, NnexpError
from nnexp.registry import import_components
from nnexp.runs.checkpoints import ADDED, load_checkpoint
from nnexp.runs.folder import METRICS_FILE, PREDICTIONS_FILE, RESULT_FILE
from nnexp.runs.predictions import read_predictions
from nnexp.runs.record import (
    RunResult,
    read_metrics,
    read_result,
    unrecorded,
    with_selection,
    without,
)
from nnexp.trainer import run
from nnexp.verification.agreement import (
    Agreement,
    Difference,
    Epochs,
    agreement,
    differences,
    largest_amount,
)
from nnexp.verification.picks import REPEATABLE, Recorded

# --------------------------------------------------------------------------------------------------
# The typed config of a run that has been trained, from what stands in its folder.
# --------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class RecordedConfig:
    """What a run was told."""

    config: Config
    cwd: Path | None  # what paths in the config are relative to; None: not known


def recorded_config(folder: Path, trained_with: Mapping[str, Any]) -> RecordedConfig:
    """Of the run in ``folder``, from its ``.hydra/``.

    Args:
        trained_with: the config in the run's checkpoint, which serves where Hydra was told to write
            none.

    Raises:
        ConfigError: it does not compose any more.
        DataError: a file that cannot be read.
    """
    path = folder / ".hydra" / "config.yaml"
    values: Any = _loaded(path) if path.is_file() else OmegaConf.create(dict(trained_with))
    recorded: Any = OmegaConf.to_container(values, resolve=False)
    values = OmegaConf.create(with_selection(recorded))
    hydra = _loaded(path.with_name("hydra.yaml")) if path.is_file() else OmegaConf.create()
    choices = OmegaConf.select(hydra, "hydra.runtime.choices") or {}
    import_components(values.get("imports") or ())
    tree = OmegaConf.structured(Config)
    tree.baseline = OmegaConf.structured(baselines_config())
    try:
        for group in SCHEMAS:
            if group == "loss" and group not in values:  # of a run from before there were others
                values.loss = {"name": "cross_entropy"}
            options = values.get(group) or {}
            tree[group] = OmegaConf.structured(_kind(group, options, choices))
        composed = OmegaConf.merge(tree, values)
        assert isinstance(composed, DictConfig)
        with _resolving(hydra):
            config = to_config(composed)
    except (OmegaConfBaseException, ConfigError) as error:
        line = str(error) if isinstance(error, ConfigError) else one_line(error)
        raise ConfigError(f"{path if path.is_file() else folder}: {line}") from error
    chdir = OmegaConf.select(hydra, "hydra.job.chdir")
    cwd = folder if chdir else OmegaConf.select(hydra, "hydra.runtime.cwd")
    return RecordedConfig(config, None if cwd is None else Path(cwd))


def _kind(group: str, options: Mapping[str, Any], choices: Mapping[str, Any]) -> type[Any]:
    """The schema that the options of a group are of: the one that Hydra was told to choose, else
    the one that has just these options; the name decides between Adam and AdamW."""
    kinds = SCHEMAS[group]
    chosen = choices.get(f"schema/{group}@{group}")
    if isinstance(chosen, str) and chosen in kinds:
        return kinds[chosen]
    fitting = {
        name: kind
        for name, kind in kinds.items()
        if {field.name for field in dataclasses.fields(kind)} == set(options)
    }
    named = fitting.get(str(options.get("name")))
    if named is None and group == "dataset":  # csv is table under another name
        fitting = {
            name: kind
            for name, kind in fitting.items()
            if not any(kind is not other and issubclass(kind, other) for other in fitting.values())
        }
    if named is None and len(fitting) != 1:
        raise ConfigError(f"{group}: its options are those of none of {', '.join(kinds)}")
    return named or next(iter(fitting.values()))


def _loaded(path: Path) -> DictConfig:
    """Raises DataError; an error in the YAML is told by its line."""
    try:
        tree = OmegaConf.load(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    if not isinstance(tree, DictConfig):
        raise DataError(f"{path}: no mapping of options to values")
    return tree


@contextlib.contextmanager
def _resolving(hydra: DictConfig) -> Iterator[None]:
    """``${hydra:...}`` means inside what it meant for the run."""
    setup_globals()
    instance = HydraConfig.instance()
    before = instance.cfg
    instance.cfg = hydra  # type: ignore[assignment]
    try:
        yield
    finally:
        instance.cfg = before


# --------------------------------------------------------------------------------------------------
# A recorded run trained again, alone, and what differs.
# --------------------------------------------------------------------------------------------------

_CHECKPOINTS = "checkpoints"
# Where and in what company a run was computed, and its config, of which checkpoints tell; the rest
# of its result must be the same.
_CIRCUMSTANCES = ("schema", "group_size", "device", "threads", "matmul", "versions", "config")
# Options that the first configs do not have, with what they come to.
_ABSENT_AT_FIRST: dict[str, Any] = {
    "imports": [],
    "metrics": [],
    "loss": {"name": "cross_entropy"},
}
_SCORE_AT_FIRST = "best_loss"  # what last.pt called best_score
# What earlier versions called test/loss is clipped, and is compared as such.
_NAMES: dict[tuple[str, ...], str] = {("metrics", "test/loss"): "the exact test/loss"}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A recorded run beside the same run alone."""

    metrics: list[Difference]  # in metrics.jsonl, result.json and predictions.npz
    weights: list[Difference]  # in the checkpoints: also of the optimizer's state and the scaling
    notes: list[str]  # what may explain differences, a line each
    on_cuda: bool  # either of the two
    trainings: tuple[tuple[Epochs, RunResult], tuple[Epochs, RunResult]]  # recorded, alone

    @property
    def identical(self) -> bool:
        """In every bit."""
        return not (self.metrics or self.weights)

    @property
    def amount(self) -> float:
        """The largest absolute difference."""
        return largest_amount([*self.metrics, *self.weights])

    @property
    def amount_in_parameters(self) -> float:
        """The largest absolute difference in the parameters after the last epoch."""
        place = f"{_CHECKPOINTS}, last.pt, model, "
        return largest_amount([d for d in self.weights if d.place.startswith(place)])

    def agreement(self, tolerance: float) -> Agreement:
        """How far the two agree where rounding may differ; see :mod:`.agreement`."""
        return agreement(*self.trainings, tolerance)


def compared(recorded: Recorded) -> Comparison:
    """Train a recorded run again, in a temporary folder, and compare.

    Raises:
        NnexpError: its files cannot be read, or it cannot be trained any more.
        OSError: the temporary folder cannot be written.
    """
    theirs = _Files(recorded.folder)
    told = recorded_config(recorded.folder, theirs.config)
    notes = [
        f"the config now says {d.alone} for {d.place}; it was trained with {d.recorded}"
        for d in differences(
            {**_ABSENT_AT_FIRST, **theirs.config}, dataclasses.asdict(told.config), "config"
        )
    ]
    with tempfile.TemporaryDirectory(prefix="nnexp-verify-") as name:
        ours = _trained(told.config, Path(name).resolve(), recorded.result.arm, told.cwd)
    notes += _circumstances(theirs.result, ours.result)
    notes += _leave_out_unrecorded(recorded.folder, theirs, ours)
    return Comparison(
        metrics=[
            *_of_epochs(theirs.epochs, ours.epochs),
            *differences(_outcome(theirs.result), _outcome(ours.result), RESULT_FILE),
            *differences(theirs.predictions, ours.predictions, PREDICTIONS_FILE),
        ],
        weights=list(differences(theirs.checkpoints, ours.checkpoints, _CHECKPOINTS)),
        notes=notes,
        on_cuda=any(files.result.device != "cpu" for files in (theirs, ours)),
        trainings=((theirs.epochs, theirs.result), (ours.epochs, ours.result)),
    )


class _Files:
    """What a run has left, times and config aside."""

    def __init__(self, folder: Path) -> None:
        self.result = read_result(folder)
        self.epochs = read_metrics(folder)
        self.predictions = _predictions(folder)
        self.config: dict[str, Any] = {}
        self.checkpoints: dict[str, dict[str, Any]] = {}
        for path in sorted((folder / "checkpoints").glob("*.pt")):
            content = self.checkpoints[path.name] = load_checkpoint(path)
            self.config = with_selection(content.pop("config", {}))
            if _SCORE_AT_FIRST in content:  # of a run that was selected by loss: it is the score
                content["best_score"] = content.pop(_SCORE_AT_FIRST)


def _predictions(folder: Path) -> dict[str, Any]:
    """By name of the array; empty for a run that was never tested."""
    if not (folder / PREDICTIONS_FILE).exists():
        return {}
    found = read_predictions(folder)
    own = {name: getattr(found, name) for name in ("probabilities", "labels", "rows")}
    shares = {f"{name} probabilities": p for name, p in found.baseline_probabilities.items()}
    every = {**own, **found.baselines, **shares}
    return {name: torch.from_numpy(value) for name, value in every.items()}


def _trained(config: Config, folder: Path, arm: str, cwd: Path | None) -> _Files:
    trainer = dataclasses.replace(config.trainer, pictures=False, histograms=False)
    config = dataclasses.replace(config, trainer=trainer)
    place = contextlib.chdir(cwd) if cwd and cwd.is_dir() else contextlib.nullcontext()
    with place, contextlib.redirect_stdout(io.StringIO()):
        try:
            run(config, folder, arm)
        except NnexpError as error:
            if read_result(folder).status not in REPEATABLE:
                raise DataError(
                    f"{arm}, seed {config.seed}, cannot be trained again: {error}"
                ) from error
    return _Files(folder)


def _of_epochs(recorded: list[Any], alone: list[Any]) -> Iterator[Difference]:
    pairs = itertools.zip_longest(recorded, alone)
    for number, (theirs, ours) in enumerate(pairs, start=1):
        if theirs is None or ours is None:
            lengths = [str(len(epochs)) for epochs in (recorded, alone)]
            yield Difference(f"{METRICS_FILE}, epochs", lengths[0], lengths[1], math.inf)
            return
        yield from differences(theirs, ours, f"{METRICS_FILE}, epoch {number}")


def _outcome(result: RunResult) -> dict[str, Any]:
    fields = dataclasses.asdict(result)
    return {key: value for key, value in fields.items() if key not in _CIRCUMSTANCES}


def _leave_out_unrecorded(folder: Path, theirs: _Files, ours: _Files) -> list[str]:
    """Drop from both what the version that recorded the run did not write; a line that names it."""
    keys = unrecorded(folder)
    before = ours.result
    theirs.result, ours.result = without(theirs.result, keys), without(before, keys)
    fields = dataclasses.asdict(before)
    dropped = [
        _NAMES.get(path, path[-1])
        for path in keys
        if path[0] not in _CIRCUMSTANCES and _has(fields, path)
    ]
    for name, checkpoint in ours.checkpoints.items():
        for key in ADDED:
            lacks = name in theirs.checkpoints and key not in theirs.checkpoints[name]
            if lacks and key in checkpoint:
                del checkpoint[key]
                dropped.append(key)
    if ("calibration",) in keys and not theirs.predictions and ours.predictions:
        ours.predictions = {}  # of the same version
        dropped.append(PREDICTIONS_FILE)
    names = ", ".join(dict.fromkeys(dropped))
    return [f"recorded before {names} existed: not compared"] if dropped else []


def _has(fields: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        fields = fields.get(key) if isinstance(fields, dict) else None
    return fields is not None


def _circumstances(recorded: RunResult, alone: RunResult) -> Iterator[str]:
    """Lines on what else has changed since, so that differences are no surprise."""
    for package, version in recorded.versions.items():
        here = alone.versions.get(package, "not installed")
        if here != version:
            yield f"recorded with {package} {version}, now {here}: differences are to be expected"
    devices = [re.sub(r"^cuda:\d+", "cuda", str(r.device)) for r in (recorded, alone)]
    if recorded.matmul is None and alone.matmul is not None:
        yield (
            "the record does not say which library computed its matrix products, now "
            f"{alone.matmul}: another one would explain differences"
        )
    elif alone.matmul is not None and recorded.matmul != alone.matmul:
        yield (
            f"recorded with matrix products by {recorded.matmul}, now {alone.matmul}: "
            "differences are to be expected"
        )
    if devices[0] != devices[1]:
        yield f"recorded on {devices[0]}, now on {devices[1]}: differences are to be expected"
