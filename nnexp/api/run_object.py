"""A run that has ended: what lies in its folder, as Python objects."""

from __future__ import annotations

import functools
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from nnexp.api.reports import Report, report_of
from nnexp.api.user_data import recorded_classes
from nnexp.data.readers.frames import table_of_frame
from nnexp.data.sources.frames import is_frame
from nnexp.errors import NnexpError
from nnexp.runs.folder import METRICS_FILE, short
from nnexp.runs.record import RunResult, read_metrics, read_result
from nnexp.tasks import TASKS

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from nnexp.runs.checkpoints import TrainedNetwork

# --------------------------------------------------------------------------------------------------
# pandas, which is optional.
# --------------------------------------------------------------------------------------------------


def frame_of(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return rows as a ``pandas.DataFrame``; columns as in the first row that has each.

    Raises:
        NnexpError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise NnexpError("to_pandas() needs pandas: pip install 'nnexp[pandas]'") from None
    names = dict.fromkeys(key for row in rows for key in row) if columns is None else columns
    return pd.DataFrame(list(rows), columns=list(names))


# --------------------------------------------------------------------------------------------------
# The epochs of a run.
# --------------------------------------------------------------------------------------------------

Record = dict[str, Any]
"""One epoch, with the keys of a line of ``metrics.jsonl``."""

# As in nnexp.runs.record, which takes its time to import.
_KEYS = ("epoch", "step", "train/loss", "train/acc", "val/loss", "val/acc", "lr", "seconds")


class History(Sequence[Record]):
    """The records of a run's epochs, the first one first."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = [dict(record) for record in records]

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> History: ...

    def __getitem__(self, index: int | slice) -> Record | History:
        if isinstance(index, slice):
            return History(self._records[index])
        return self._records[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self._records == other._records

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if not self._records:
            return "History of no epochs"
        last = ", ".join(f"{k}: {v:g}" for k, v in self._records[-1].items() if v is not None)
        return f"History of {len(self)} epochs, the last: {last}"

    def to_pandas(self) -> pd.DataFrame:
        """Return a row an epoch, with the columns of ``metrics.jsonl``.

        Raises:
            NnexpError: pandas is not installed.
        """
        own = self._records[0] if self._records else ()
        return frame_of(self._records, tuple(own) if "train/rmse" in own else _KEYS)


# --------------------------------------------------------------------------------------------------
# A run that has ended: what lies in its folder, as Python objects.
#
# Axes: ``B`` rows, ``C`` classes.
# --------------------------------------------------------------------------------------------------

_CHECKPOINTS = ("best.pt", "last.pt")
_SHOWN = {
    task.name: ("val/loss", f"val/{task.key}", "test/loss", f"test/{task.key}")
    for task in TASKS.values()
}
_COMPARED = ("val/acc", "test/acc", "val/rmse", "test/rmse")


class Run:
    """One run, read from its folder.

    Args:
        folder: that holds a ``result.json``.

    Raises:
        DataError: it holds none, or a damaged one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._result: RunResult = read_result(self.folder)

    @property
    def config(self) -> dict[str, Any]:
        """All options of the run, as plain values; empty where they were refused."""
        return self._result.config

    @property
    def status(self) -> str:
        """``completed``, ``diverged``, ``failed`` or ``interrupted``."""
        return self._result.status

    @property
    def error(self) -> str | None:
        """One line on what went wrong, or None."""
        return self._result.error

    @property
    def seed(self) -> int:
        """Of which split, initial weights, order of rows and dropout follow."""
        return self._result.seed

    @property
    def arm(self) -> str:
        """A short name of the run's config, the seed left out: ``deep · adam · lr=0.01``."""
        return self._result.arm

    @property
    def metrics(self) -> dict[str, float | None]:
        """Losses in nats and accuracies from 0 to 1, at the best epoch; None where unknown. Of a
        regression losses are squared errors of the standardised target, RMSE and MAE in its unit.
        """
        return dict(self._result.metrics)

    @property
    def baselines(self) -> dict[str, dict[str, Any]]:
        """By name what was chosen, and its accuracies: ``baselines["knn"]["test/acc"]``; of a
        regression ``"test/rmse"``."""
        return self._result.baselines

    @property
    def seconds(self) -> dict[str, float | None]:
        """Of the whole run, of training and of predicting the test rows."""
        return dict(self._result.seconds)

    @property
    def best_epoch(self) -> int | None:
        """The epoch that ``trainer.select`` chose, whose network this is."""
        return self._result.best_epoch

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return self._result.epochs

    @functools.cached_property
    def history(self) -> History:
        """A record an epoch. Raises DataError if ``metrics.jsonl`` is damaged."""
        is_there = (self.folder / METRICS_FILE).exists()
        return History(read_metrics(self.folder) if is_there else ())

    @property
    def network(self) -> nn.Module:
        """The network of the best epoch: scaled features [B, D] to logits [B, C].

        Raises:
            DataError: the run left no network.
        """
        return self._trained.module

    @functools.cached_property
    def classes(self) -> NDArray[Any]:
        """The classes [C] in the order of ``predict_proba``, as the labels of the data had them.

        They are text for data sets that were not passed as ``data``.

        Raises:
            DataError: the run left no network, or its data are gone.
        """
        names = self._trained.class_names
        found = recorded_classes(self.config, self.folder, names)
        return np.array(names) if found is None else found

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The network's features [D]. Raises DataError if the run left no network."""
        return self._trained.feature_names

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the probabilities [B, C] of the classes for features [B, D], not scaled.

        Of a run that was trained on a table or a DataFrame, X is a DataFrame with its columns, in
        any order and among others, as ``nnexp predict`` takes them from a file: a missing value
        becomes what the training rows said, a category that they did not have is none of the known
        ones.

        Args:
            X: a DataFrame with the columns of the data, text columns included, or the features as
                an array, a tensor or a list of rows.

        Raises:
            DataError: a column that is lacking; a value that is not finite or of another type, by
                its row and column; where the run was not trained on a table also one that is
                missing; another shape; or a run that left no network.
        """
        network = self._trained
        if network.encoder is not None and is_frame(X):
            return network.probabilities_of(table_of_frame(X)).numpy()
        return network.probabilities(X).numpy()

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class [B] of each row, of the type that the labels had; of a
        regression the quantity, float64.

        Takes and raises what ``predict_proba`` does.
        """
        network = self._trained
        if network.target is not None:
            if network.encoder is not None and is_frame(X):
                return network.quantities_of(table_of_frame(X))
            return network.quantities(X)
        chosen = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes[chosen])

    def report(self, *, reference: str | None = None, equivalence: float | None = None) -> Report:
        """Return the report that compares the run with its baselines; see ``Sweep.report``."""
        return report_of(self.folder, [self.folder], reference=reference, equivalence=equivalence)

    def to_pandas(self) -> pd.DataFrame:
        """Return the run as one row. Raises NnexpError where pandas is not installed."""
        return frame_of([row_of(self)])

    def __repr__(self) -> str:
        lines = [f"Run: {self.arm} on {self._result.dataset.name}, seed {self.seed}: {self.status}"]
        if self.error:
            lines.append(f"  {self.error}")
        numbers = self._numbers(self._result.metrics)
        if numbers:
            lines.append(f"  network  {numbers}  (epoch {self.best_epoch})")
        for name, values in self.baselines.items():
            own = self._numbers(values)
            lines.append(f"  {name}  {own or 'left out'}")
        return "\n".join([*lines, f"  folder   {short(self.folder)}"])

    def _numbers(self, values: dict[str, Any]) -> str:
        keys = [key for key in _SHOWN[self._result.task] if values.get(key) is not None]
        return "  ".join(f"{key} {values[key]:.4f}" for key in keys)

    def _repr_html_(self) -> str:
        title = f"{self.arm} on {self._result.dataset.name}, seed {self.seed}: {self.status}"
        rows = {"network": self._result.metrics, **self.baselines}
        keys = _SHOWN[self._result.task]
        head = "".join(f"<th>{key}</th>" for key in ("", *keys))
        body = "".join(
            f"<tr><th>{html.escape(name)}</th>{''.join(_cell(values.get(k)) for k in keys)}</tr>"
            for name, values in rows.items()
        )
        error = f"<p>{html.escape(self.error)}</p>" if self.error else ""
        return (
            f"<div><b>{html.escape(title)}</b>{error}<table><tr>{head}</tr>{body}</table>"
            f"<code>{html.escape(short(self.folder))}</code></div>"
        )

    @functools.cached_property
    def _trained(self) -> TrainedNetwork:
        from nnexp.prediction.array_columns import with_columns
        from nnexp.runs.checkpoints import load_network

        best, last = (self.folder / "checkpoints" / name for name in _CHECKPOINTS)
        network = load_network(best if best.exists() or not last.exists() else last)
        return with_columns(network, self.config, self.folder)


def row_of(run: Run, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
    """A run as a row of a table: its overrides, then what it came to."""
    row = {"run": run.folder.name, **(overrides or {})}
    known = {"arm": run.arm, "seed": run.seed, "status": run.status, "epochs": run.epochs}
    known |= {"best_epoch": run.best_epoch, **run.metrics}
    for name, values in run.baselines.items():
        known |= {f"{name}/{key}": values.get(key) for key in _COMPARED if key in values}
    known |= {"seconds": run.seconds.get("train"), "error": run.error, "folder": str(run.folder)}
    return row | {key: value for key, value in known.items() if key not in row}


def _cell(value: float | None) -> str:
    return f"<td>{'' if value is None else f'{value:.4f}'}</td>"
