"""Predict the rows of a file block by block, write the predictions, and measure them.

Axes: ``M`` rows of a block, ``C`` classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from nnexp.data.encoder import Encoder
from nnexp.data.source import quoted
from nnexp.data.table import Table, Texts
from nnexp.errors import DataError
from nnexp.prediction.files import Tell
from nnexp.prediction.output_files import Values, Writer
from nnexp.prediction.predictors import Predictor
from nnexp.prediction.regression_scores import RegressionScores, quantities_in
from nnexp.prediction.scoring import Scores, labels_in
from nnexp.runs.trained_network import Treatment


@dataclass
class Outcome:
    """What came of a file.

    Attributes:
        scores: of each predictor by its name; None where the file has no labels.
        treatment: of cells that are not as in training.
    """

    num_rows: int
    scores: dict[str, Scores | RegressionScores] | None
    treatment: Treatment


def predict(
    predictors: Sequence[Predictor],
    blocks: Iterable[Table],
    writer: Writer | None,
    *,
    keep: Sequence[str] | None = (),
    target: str | None = None,
) -> Outcome:
    """Predict every row, in the order of the file.

    Args:
        predictors: all of the same features and classes.
        writer: of the predictions; None writes nothing.
        keep: columns of the input that stand before the predictions; None: all of them.
        target: the column of labels; None: that of training, if it is there.

    Raises:
        ConfigError: ``target`` is no column.
        DataError: as the readers; a cell that does not fit; a column to keep that is not there.
        OSError: the output cannot be written.
    """
    outcome = Outcome(0, None, Treatment())
    encoder = predictors[0].networks[0].table_encoder
    for block in blocks:
        columns: dict[str, Values] = _kept(block, keep)
        predicted = (_quantities if predictors[0].is_regression else _classes)(
            predictors, block, encoder, target, outcome
        )
        for one, its_columns in zip(predictors, predicted, strict=True):
            prefix = f"{one.name}/" if len(predictors) > 1 else ""
            _add(columns, {f"{prefix}{name}": values for name, values in its_columns.items()})
        if writer is not None:
            writer.write(columns)
        outcome.num_rows += block.num_rows
    if not outcome.num_rows:
        raise DataError("no rows to predict")
    return outcome


Columns = dict[str, Values]


def _classes(
    predictors: Sequence[Predictor],
    block: Table,
    encoder: Encoder,
    target: str | None,
    outcome: Outcome,
) -> Iterator[Columns]:
    """Of each predictor the likeliest class, the first of equals, and the probability of each."""
    labels = labels_in(block, encoder, target)
    for number, one in enumerate(predictors):
        counted = outcome.treatment if number == 0 else Treatment()
        probabilities, logs = one.outputs(block, counted)
        if labels is not None:
            outcome.scores = outcome.scores or {}
            scores = outcome.scores.setdefault(
                one.name, Scores(one.class_names, one.metrics, encoder.missing)
            )
            assert isinstance(scores, Scores)
            scores.add(probabilities, logs, labels)
        chosen = probabilities.argmax(1).numpy().astype(np.int32)
        p = probabilities.numpy()
        columns: Columns = {"prediction": Texts(chosen, one.class_names)}
        for place, name in enumerate(one.class_names):
            columns[f"probability {name}"] = p[:, place]
        yield columns


def _quantities(
    predictors: Sequence[Predictor],
    block: Table,
    encoder: Encoder,
    target: str | None,
    outcome: Outcome,
) -> Iterator[Columns]:
    """Of each predictor the quantity."""
    right = quantities_in(block, encoder, target)
    for number, one in enumerate(predictors):
        predicted = one.quantities(block, outcome.treatment if number == 0 else Treatment())
        if right is not None:
            outcome.scores = outcome.scores or {}
            scores = outcome.scores.setdefault(one.name, RegressionScores(one.metrics))
            assert isinstance(scores, RegressionScores)
            scores.add(predicted, right)
        yield {"prediction": predicted}


def _kept(block: Table, keep: Sequence[str] | None) -> dict[str, Values]:
    places = range(len(block.columns)) if keep is None else [_place(block, name) for name in keep]
    columns: dict[str, Values] = {}
    for place in places:
        columns[block.title(place)] = block.columns[place]
    return columns


def _place(block: Table, name: str) -> int:
    if block.names is not None and name in block.names:
        return block.names.index(name)
    if block.names is None and name.isdecimal() and int(name) < len(block.columns):
        return int(name)
    have = ", ".join(block.names) if block.names else f"columns 0 to {len(block.columns) - 1}"
    raise DataError(f"{block.path}: has no column {quoted(name)} to keep; it has {have}")


def _add(columns: dict[str, Values], more: dict[str, Values]) -> None:
    for name, values in more.items():
        if name in columns:
            raise DataError(
                f"the input has a column {quoted(name)}, as the predictions have; name others to "
                "keep"
            )
        columns[name] = values


# --------------------------------------------------------------------------------------------------
# How far it is.
# --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def progress(path: Path) -> Iterator[tuple[Tell, Callable[[Iterable[Table]], Iterator[Table]]]]:
    """A bar on standard error while inside, if that is a terminal; nothing elsewhere.

    Yields what is told how many bytes of the file have been read, and what counts the rows of
    blocks that pass.
    """
    console = Console(stderr=True)
    with Progress(
        TextColumn("predicting"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not (console.is_terminal or console.is_jupyter),
        transient=True,
    ) as bar:
        size = path.stat().st_size if path.is_file() else None
        task = bar.add_task("", total=size, rows=0)
        rows = 0

        def tell(read: int) -> None:
            bar.update(task, completed=read)

        def counted(blocks: Iterable[Table]) -> Iterator[Table]:
            nonlocal rows
            for block in blocks:
                yield block
                rows += block.num_rows
                bar.update(task, rows=rows)

        yield tell, counted
