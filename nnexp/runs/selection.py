"""What runs may be selected or sorted by: validation metrics, each in its own direction."""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnexp.errors import ConfigError, did_you_mean
from nnexp.metrics import (
    ACCURACY,
    METRICS,
    is_known,
    metric_key,
    metric_keys,
    primary_metric,
    recorded_metrics,
)
from nnexp.metrics import greater_is_better as more_is_better
from nnexp.registry import import_components
from nnexp.tasks import CLASSIFICATION, REGRESSION, TASKS, Task

log = logging.getLogger(__name__)

_RECORDED_ANYWAY = {"val/loss": False, "val/acc": True, "val/rmse": False, "train/loss": False}
"""Whether greater is better, of what every run of a task has."""


_TEST = re.compile(r"(?:^|[./])test/")

Config = Mapping[str, Any]  # of a run, as its ``result.json`` has it


def selectable(configs: Iterable[Config]) -> list[str]:
    """Return what runs may be selected by: loss, accuracy, and the further metrics of the
    validation rows that one of them records. Test rows select nothing."""
    told = list(configs)
    scores = [f"val/{task.key}" for task in _tasks(told)]
    further = metric_keys((n for c in told for n in _further(c)), "val")
    return list(dict.fromkeys(["val/loss", *scores, "train/loss", *further]))


def _tasks(configs: Sequence[Config]) -> list[Task]:
    """Of the runs: those of a regression, and no others, record what every regression does."""
    further = TASKS[REGRESSION].further
    found = {
        REGRESSION if set(further) <= set(config.get("metrics") or ()) else CLASSIFICATION
        for config in configs
    }
    return [task for task in TASKS.values() if task.name in (found or {CLASSIFICATION})]


def greater_is_better(key: str, configs: Iterable[Config], asked: str) -> bool:
    """Return the direction of one of ``selectable``, for a further metric as it was registered.

    Modules that the runs imported are imported if the metric is not registered here.

    Args:
        asked: what named the key, for the error: ``--sort val/f1``.

    Raises:
        ConfigError: it is none of them, or its direction is not known here.
    """
    told = list(configs)
    allowed = selectable(told)
    if key not in allowed:
        why = "; the test set must not select" * key.startswith("test/")
        raise ConfigError(
            f"{asked}: must be one of {', '.join(allowed)}{why}{did_you_mean(key, allowed)}"
        )
    if key in _RECORDED_ANYWAY:
        return _RECORDED_ANYWAY[key]
    name = key.removeprefix("val/")
    if name not in METRICS:
        imports = (config.get("imports") or () for config in told if name in _further(config))
        import_components(dict.fromkeys(str(module) for modules in imports for module in modules))
    if name not in METRICS:
        raise ConfigError(f"{asked}: no module registers {name} any more: which way is better?")
    found: bool = METRICS[name].greater_is_better
    return found


def primary_of(configs: Iterable[Config]) -> str:
    """Return the metric that runs are judged by unless somebody asks for another: what most of
    their configs say (``report.metric``); accuracy where no module registers it any more, which is
    told.

    Modules that the runs imported are imported if it is not registered here.
    """
    told = list(configs)
    counts = Counter(map(primary_metric, told))
    if not counts:
        return ACCURACY
    name = counts.most_common(1)[0][0]
    if not is_known(name):
        _import_for(name, told)
    if is_known(name):
        return name
    log.warning("no module registers the metric %s any more: accuracy takes its place", name)
    return ACCURACY


def _import_for(name: str, configs: Sequence[Config]) -> None:
    """Import the modules of the runs that record a metric, as far as they are there."""
    imports = (config.get("imports") or () for config in configs if name in _further(config))
    modules = dict.fromkeys(str(module) for modules in imports for module in modules)
    with contextlib.suppress(ConfigError):
        import_components(modules)


def badness(metrics: Mapping[str, float | None], metric: str) -> float:
    """How a run ranks by a metric of its validation samples, the least first; what is not known
    ranks last."""
    value = metrics.get(metric_key(metric, "val"))
    if value is None:
        return math.inf
    return -value if more_is_better(metric) else value


def validation_rank(
    metrics: Mapping[str, float | None], metric: str = ACCURACY
) -> tuple[float, float]:
    """How a run ranks by its validation samples, the least first: by the metric, then by loss.

    What is not known ranks last.
    """
    loss = metrics.get("val/loss")
    return badness(metrics, metric), (math.inf if loss is None else loss)


def is_test_metric(column: str) -> bool:
    """Return whether a column of a table of runs is on test samples: ``test/acc``,
    ``knn/test/acc``, ``metrics.test/acc``."""
    return _TEST.search(column) is not None


def _further(config: Config) -> Sequence[str]:
    return recorded_metrics(config.get("metrics"), primary_metric(config))
