"""A sweep that has ended, read from its folder; and how runs and sweeps are loaded."""

from __future__ import annotations

import functools
import html
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnexp.api.reports import Report, report_of
from nnexp.api.run_object import Run, frame_of, row_of
from nnexp.errors import DataError
from nnexp.metrics import metric_key
from nnexp.runs.folder import METRICS_FILE, RESULT_FILE, run_folders, short
from nnexp.runs.selection import greater_is_better, is_test_metric, primary_of, validation_rank

if TYPE_CHECKING:
    import pandas as pd

# --------------------------------------------------------------------------------------------------
# A sweep that has ended: its runs, read from its folder.
# --------------------------------------------------------------------------------------------------


class Sweep:
    """The runs of a sweep, in the order of its jobs.

    Args:
        folder: of the sweep.

    Raises:
        DataError: no run has ended in it, or a ``result.json`` is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        found = list(run_folders(self.folder))
        if not found:
            raise DataError(f"{self.folder}: holds no run that has ended")
        self.runs: tuple[Run, ...] = tuple(map(Run, found))

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __getitem__(self, index: int) -> Run:
        return self.runs[index]

    @property
    def failures(self) -> tuple[Run, ...]:
        """The runs that failed, diverged or were interrupted; ``error`` of each says why."""
        return tuple(run for run in self.runs if run.status != "completed")

    def best(self, metric: str | None = None) -> Run:
        """Return the completed run with the best value; of equals that of lower validation loss.

        Args:
            metric: by default that of reports, ``val/acc`` or what ``report.metric`` says. Else
                ``val/loss``, ``val/acc``, ``train/loss``, or a further metric that the runs
                recorded: ``val/macro_f1``. Its registration says which way is better. Test rows
                choose nothing.

        Raises:
            ConfigError: another metric, or one whose direction is not known any more.
            DataError: no run has the metric.
        """
        configs = [run.config for run in self.runs]
        primary = primary_of(configs)
        metric = metric or metric_key(primary, "val")
        sign = -1 if greater_is_better(metric, configs, f"best({metric!r})") else 1
        known = [
            (value * sign, *validation_rank(run.metrics, primary), place)
            for place, run in enumerate(self.runs)
            if run.status == "completed" and (value := run.metrics.get(metric)) is not None
        ]
        if not known:
            raise DataError(f"{self.folder}: no run was completed with a {metric}")
        return self.runs[min(known)[-1]]

    def to_pandas(self, *, test_metrics: bool = False) -> pd.DataFrame:
        """Return a row a run: its overrides, then metrics, seconds and folder.

        Args:
            test_metrics: also those on the test set, of every run. Whoever picks the best row by
                them reports a number that is too good; ``best`` and ``report`` do not.

        Raises:
            NnexpError: pandas is not installed.
        """
        rows = [row_of(run, _overrides(run)) for run in self.runs]
        if not test_metrics:
            rows = [{k: v for k, v in row.items() if not is_test_metric(k)} for row in rows]
        return frame_of(rows)

    def report(
        self,
        *,
        tuned: Sequence[str] | None = None,
        reference: str | None = None,
        equivalence: float | None = None,
        relative_equivalence: float | None = None,
        title: str | None = None,
        metric: str | None = None,
    ) -> Report:
        """Return the sweep's report; it is written anew where an option is given.

        Args:
            tuned: options that a network chooses on the validation rows, such as
                ``["optimizer.lr"]``.
            reference: what the others are compared with: a baseline such as ``knn``, or a network.
            equivalence: difference, in percentage points, that does not matter.
            relative_equivalence: the same as a share of the reference's test error.
            title: of the page.
            metric: that selects and judges: ``accuracy``, or one that the runs recorded.

        Raises:
            NnexpError: an option that cannot be, or files that cannot be written.
        """
        return report_of(
            self.folder,
            [run.folder for run in self.runs],
            tuned=tuned,
            reference=reference,
            equivalence=equivalence,
            relative_equivalence=relative_equivalence,
            title=title,
            metric=metric,
        )

    def __repr__(self) -> str:
        lines = [f"Sweep of {self._counted}"]
        if (best := self._best) is not None:
            key = metric_key(primary_of(run.config for run in self.runs), "val")
            shown = f"{key} {best.metrics[key]:.4f}, {best.arm}, seed {best.seed}"
            lines.append(f"  best     {shown}")
        lines += [f"  {run.folder.name}: {run.status}: {run.error}" for run in self.failures[:3]]
        return "\n".join([*lines, f"  folder   {short(self.folder)}"])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"

    @property
    def _counted(self) -> str:
        counts = Counter(run.status for run in self.runs)
        statuses = ", ".join(f"{number} {status}" for status, number in counts.items())
        return f"{len(self)} run{'s' * (len(self) != 1)}: {statuses}"

    @functools.cached_property
    def _best(self) -> Run | None:
        try:
            return self.best()
        except DataError:
            return None


def _overrides(run: Run) -> dict[str, Any]:
    """A job's own overrides by key, values as they were composed."""
    import yaml  # type: ignore[import-untyped]

    try:
        lines = yaml.safe_load((run.folder / ".hydra" / "overrides.yaml").read_bytes())
    except (OSError, yaml.YAMLError):
        return {}
    found = {}
    for line in lines if isinstance(lines, list) else ():
        key, _, text = str(line).lstrip("+").partition("=")
        value: Any = run.config
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        found[key] = text if value is None or isinstance(value, dict) else value
    return found


# --------------------------------------------------------------------------------------------------
# Runs and sweeps that lie on the disk.
# --------------------------------------------------------------------------------------------------

_SWEEP = "multirun.yaml"  # what Hydra writes into a sweep's folder


def load(folder: str | Path) -> Run | Sweep:
    """Return the run or the sweep of this folder.

    Raises:
        DataError: it is no folder of a run or a sweep that has ended, or its record is damaged.
    """
    place = Path(folder)
    if not place.is_dir():
        problem = "is a file, not a folder" if place.exists() else "no such folder"
        raise DataError(f"{place}: {problem}")
    if (place / RESULT_FILE).exists():
        return Run(place)
    if (place / METRICS_FILE).exists():
        raise DataError(f"{place}: holds no {RESULT_FILE}: the run was killed or is still training")
    if (place / _SWEEP).exists():
        return Sweep(place)
    below = next(run_folders(place), None)
    if below is None:
        raise DataError(f"{place}: holds no run and no sweep")
    raise DataError(f"{place}: is no run and no sweep, but holds some, such as {below}")
