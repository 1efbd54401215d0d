"""What a person sees while a run trains and when it has ended."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from nnexp.baselines.base import labels
from nnexp.engine import Epoch
from nnexp.metrics import metric_keys, metric_label
from nnexp.runs.folder import short
from nnexp.runs.record import RunResult
from nnexp.tasks import TASKS


class EpochBar:
    """A bar over the epochs with loss, accuracy and time left."""

    def __init__(self, progress: Progress, epochs: int, key: str) -> None:
        self._progress, self._key = progress, key
        self._task = progress.add_task("", total=epochs, numbers="starting")

    def update(self, epoch: Epoch) -> None:
        """Show one more epoch."""
        key = self._key
        numbers = f"train loss {epoch.train_loss:.4f} {key} {epoch.train_score:.4f}"
        if epoch.val_loss is not None:
            numbers += f"  val loss {epoch.val_loss:.4f} {key} {epoch.val_score:.4f}"
        self._progress.update(self._task, completed=epoch.epoch, numbers=numbers)


@contextmanager
def epoch_bar(epochs: int, key: str = "acc") -> Iterator[EpochBar]:
    """A bar on standard error, or in a notebook, while inside; nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not (console.is_terminal or console.is_jupyter),
        transient=True,
    ) as progress:
        yield EpochBar(progress, epochs, key)


def print_result(result: RunResult, folder: Path) -> None:
    """The last table of a run, and where its files are, on standard output."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    key = TASKS[result.task].key
    for name in (f"val {key}", f"test {key}", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    metrics = result.metrics
    val, test = f"val/{key}", f"test/{key}"
    rows = {"network": (metrics[val], metrics[test], result.seconds["train"])}
    further = {"network": _further(metrics, result)}
    chosen = {"network": f"epoch {result.best_epoch} of {result.epochs}"}
    for name, baseline in result.baselines.items():
        rows[name] = (baseline[val], baseline[test], baseline["seconds"])
        further[name] = _further(baseline, result)
        chosen[name] = _chosen(baseline)
    for place, name in enumerate(result.further):
        width = max(len(cells[place]) for cells in further.values())
        table.add_column(f"test {metric_label(name)}", justify="right", min_width=width)
    for name, (on_val, on_test, seconds) in rows.items():
        numbers = (_number(on_val), _number(on_test), _number(seconds, 2))
        table.add_row(labels().get(name, name), *numbers, *further[name])
    # Not through the console: names are no markup, and a path must not be wrapped.
    print(f"\n{result.arm} on {result.dataset.name}, seed {result.seed}")
    Console().print(table)
    head = "chosen"
    for name, told in chosen.items():
        if told:
            print(f"{head:12} {labels().get(name, name)}: {told}")
            head = ""
    for name, baseline in result.baselines.items():
        if baseline.get("skipped"):
            print(f"left out     {labels().get(name, name)}: {baseline['skipped']}")
    print(f"files        {short(folder)}")
    print(f"tensorboard  tensorboard --logdir {shlex.quote(short(_logdir(folder)))}")


def _logdir(folder: Path) -> Path:
    """What to look at together: the sweep, or all runs in Hydra's usual place, or this run."""
    if (folder.parent / "multirun.yaml").exists():
        return folder.parent
    return folder.parents[1] if folder.parents[1].name == "outputs" else folder


def _further(values: Mapping[str, Any], result: RunResult) -> list[str]:
    """The cells of further metrics of the test rows."""
    return [_number(values.get(key)) for key in metric_keys(result.further, "test")]


def _chosen(baseline: Mapping[str, Any]) -> str:
    """The settings that there was a choice of: ``C=10, gamma=1``. KNN's k is always told."""
    tried = baseline.get("tried", [])
    choices = {key for one in tried for key in one if any(one[key] != o.get(key) for o in tried)}
    choices |= {"k"}
    return ", ".join(
        f"{key}={value}" for key, value in baseline.items() if key in choices and "/" not in key
    )


def _number(value: float | None, decimals: int | None = None) -> str:
    """By default with four decimals, and fewer of numbers above 10."""
    if value is None:
        return "-"
    if decimals is None:
        decimals = 4 - min(4, max(0, len(str(int(abs(value)))) - 1))
    return f"{value:,.{decimals}f}"
