"""A trained network with its preprocessing: from cells or raw features to probabilities.

Rows are computed in batches of a fixed size, so that the same rows in the same order get the same
bits whether they come at once or in blocks.

Axes: ``M`` rows, ``B`` rows of a batch, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nnexp.data.blocks import rows_of
from nnexp.data.encoder import Column, Encoder, Unseen
from nnexp.data.preprocessing import raw_features
from nnexp.data.source import Doubles, quoted
from nnexp.data.table import Table, as_texts
from nnexp.data.targets import TargetScaling
from nnexp.data.text_blocks import LINE
from nnexp.data.text_encoders import TextEncoder
from nnexp.errors import DataError

_RUNNING = ("running_mean", "running_var")  # what batch norm learns beside its parameters
_BATCH = 1024  # rows
_PADDED = 32  # of which a smaller batch is a multiple: elementwise kernels then have no tail
_MOST_NUMBERS = 2**20  # of a batch
_ARRAY_TARGET = "y"  # the labels of a network that was trained on arrays
_MOST_ENCODED = 2**24  # numbers of the features that are encoded together
ROWS_AT_ONCE = 8192
"""Rows of a block, of a network without too many features; a multiple of those of a batch."""


@dataclass
class Treatment:
    """Cells that are not as in training, by column, and what became of them."""

    unseen: Unseen = field(default_factory=Unseen)
    filled: dict[str, int] = field(default_factory=dict)  # missing values

    def lines(self) -> list[str]:
        """Return a line for each column that has such cells."""
        found = [
            f"column {quoted(name)}: {_counted(count, 'missing value')} filled in as in training"
            for name, count in self.filled.items()
        ]
        for name, count in self.unseen.counts.items():
            found.append(
                f"column {quoted(name)}: {_counted(count, 'cell')} of categories that training did "
                f"not have, such as {quoted(self.unseen.examples[name])}: none of its categories"
            )
        return found


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with all that it takes to use it on data as they come."""

    module: nn.Module  # scaled features [B, D] to logits [B, C], in evaluation mode
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...] = field(repr=False)
    shift: Tensor = field(repr=False)  # [D] float64
    scale: Tensor = field(repr=False)  # [D] float64
    pixels: bool = field(default=False, repr=False)  # features are bytes
    encoder: Encoder | None = field(default=None, repr=False)  # of the cells of a table
    fill: Tensor | None = field(default=None, repr=False)  # [D] float64, for missing values
    text_encoder: TextEncoder | None = field(default=None, repr=False)  # if it reads lines of text
    target: TargetScaling | None = field(default=None, repr=False)  # of a regression

    @property
    def num_outputs(self) -> int:
        """C, or 1 of a regression."""
        return len(self.class_names) or 1

    def probabilities(self, raw: ArrayLike | Tensor) -> Tensor:
        """Return [M, C], on the CPU, for features [M, D] as the data set has them before scaling.

        Args:
            raw: a tensor, an array or a list of rows, columns in the order of ``feature_names``;
                or, of a network that reads text, a list of M lines.

        Raises:
            DataError: the features are not [M, D] finite real numbers, or too large once scaled;
                the network has weights that are not finite, is in training mode, or its outputs
                for a row are not finite. A softmax would turn these into some class.
        """
        self._require_classes()
        return self._raw_logits(raw).softmax(1)

    def quantities(self, raw: ArrayLike | Tensor) -> Doubles:
        """Return what a regression predicts of features [M, D], [M] in the unit of the target.

        Takes and raises what ``probabilities`` does.
        """
        return self._restored(self._raw_logits(raw))

    def predict(self, raw: ArrayLike | Tensor) -> list[str] | list[float]:
        """Return the likeliest class's name for each row of features [M, D]; of a regression the
        quantity.

        Takes and raises what ``probabilities`` does.
        """
        if self.target is not None:
            return [float(value) for value in self.quantities(raw)]
        return [self.class_names[i] for i in self.probabilities(raw).argmax(1).tolist()]

    def _raw_logits(self, raw: ArrayLike | Tensor) -> Tensor:
        lines = self._lines(raw)
        rows = raw_features(raw, self.feature_names, pixels=self.pixels) if lines is None else lines
        self._check_module()
        return self._logits(rows, lambda row: f"row {row}")

    def _restored(self, outputs: Tensor) -> Doubles:
        """Outputs [M, 1] in the unit of the target [M]."""
        if self.target is None:
            raise DataError("the network tells classes apart; it predicts no quantity")
        return self.target.restored(outputs[:, 0].double().numpy())

    def _require_classes(self) -> None:
        if self.target is not None:
            raise DataError("the network predicts a quantity, which has no probabilities")

    def probabilities_of(self, table: Table, treatment: Treatment | None = None) -> Tensor:
        """Return [M, C], on the CPU, for the rows of a table, whose columns go by name.

        A missing value becomes what the training rows said, a category that they did not have is
        none of the known ones. A network that was not trained on a table takes one with its
        features as columns, all of them numbers.

        The features, and so the inputs of the network, have the bits that they have in training.
        The outputs may differ from those in ``predictions.npz`` by the rounding of float32, since
        there all runs of a group are multiplied together.

        Args:
            treatment: counts the cells that are not as in training.

        Raises:
            DataError: a column is lacking; a cell is no number or no date where one belongs, or
                missing where the network was trained without such; and as ``probabilities``.
        """
        self._require_classes()
        return self.logits_of(table, treatment).softmax(1)

    def quantities_of(self, table: Table, treatment: Treatment | None = None) -> Doubles:
        """Return what a regression predicts of a table's rows [M], in the unit of the target; see
        ``probabilities_of``."""
        return self._restored(self.logits_of(table, treatment))

    def logits_of(self, table: Table, treatment: Treatment | None = None) -> Tensor:
        """Return the network's outputs [M, C] before the softmax; see ``probabilities_of``."""
        treatment = Treatment() if treatment is None else treatment
        self._check_module()
        parts = []
        size = _power_of_two(ROWS_AT_ONCE, len(self.feature_names), _MOST_ENCODED)
        for start in range(0, table.num_rows, size):
            block = rows_of(table, start, start + size)
            features = self.features_of(block, treatment)
            parts.append(self._logits(features, block.place))
        return torch.cat(parts) if parts else torch.empty(0, self.num_outputs)

    def features_of(self, table: Table, treatment: Treatment) -> Tensor:
        """Return the features [M, D] in float64 of a table, missing values filled in, not scaled.

        Raises:
            DataError: as ``probabilities_of``, for columns and cells.
        """
        if self.text_encoder is not None:
            return torch.from_numpy(self.text_encoder.counts(_lines_of(table)))
        encoder = self.table_encoder
        x = encoder.encode(table, treatment.unseen)
        gaps = np.isnan(x)
        if self.fill is not None and gaps.any():
            start = 0
            for column in encoder.columns:
                count = int(gaps[:, start].sum())
                start += len(column.feature_names)
                if count:
                    treatment.filled[column.name] = treatment.filled.get(column.name, 0) + count
            x = np.where(gaps, self.fill.numpy(), x)
        if self.pixels:
            return raw_features(x, self.feature_names, pixels=True)
        return torch.from_numpy(x)

    @functools.cached_property
    def table_encoder(self) -> Encoder:
        """How a table's columns become features: as in training, or each feature a column; without
        columns where the network reads lines of text."""
        if self.encoder is not None:
            return self.encoder
        if self.text_encoder is not None:
            return Encoder((), missing=())
        columns = (Column(name, "numeric", number=i) for i, name in enumerate(self.feature_names))
        target = None if _ARRAY_TARGET in self.feature_names else _ARRAY_TARGET
        return Encoder(tuple(columns), missing=(), impute_numeric="error", target=target)

    @torch.no_grad()
    def _logits(self, rows: Tensor, place: Callable[[int], str]) -> Tensor:
        """Logits [M, C], on the CPU, of features [M, D], finite and not scaled.

        Args:
            place: of a row, for messages.
        """
        weight = next(self.module.parameters())
        scaled = ((rows - self.shift) * self.scale).to(weight.dtype)
        for row, column in (~scaled.isfinite()).nonzero()[:1].tolist():
            raise DataError(
                f"{place(row)}, column {quoted(self.feature_names[column])}: "
                f"{rows[row, column].item():g} is too large for the network, which computes in "
                f"{_name(weight.dtype)}"
            )
        logits = torch.empty(len(rows), self.num_outputs, dtype=weight.dtype)
        size = _power_of_two(_BATCH, len(self.feature_names), _MOST_NUMBERS)
        for start in range(0, len(rows), size):
            batch = scaled[start : start + size]
            padding = -len(batch) % _PADDED
            padded = torch.nn.functional.pad(batch, (0, 0, 0, padding)) if padding else batch
            out = self.module(padded.to(weight.device))[: len(batch)]
            logits[start : start + size] = out.cpu()
        overflown = (~logits.isfinite()).any(1).nonzero()[:1].flatten().tolist()
        for row in overflown:
            raise DataError(
                f"{place(row)}: the network's outputs are not finite; its features are far from "
                "those of the training data"
            )
        return logits

    def _lines(self, raw: Any) -> Tensor | None:
        """The features of lines of text [M, D], float64; None if ``raw`` is none of text."""
        if self.text_encoder is None or isinstance(raw, Tensor):
            return None
        if isinstance(raw, str):
            raise DataError("a single line of text is [line]")
        lines = list(raw)
        if not any(isinstance(line, str) for line in lines):
            return None
        for row, line in enumerate(lines):
            if not isinstance(line, str):
                raise DataError(f"row {row} is a {type(line).__name__}, not a line of text")
        return torch.from_numpy(self.text_encoder.counts(lines))

    def _check_module(self) -> None:
        """Users may have trained it further, or loaded the last weights of a run that diverged."""
        if any(part.training for part in self.module.modules()):
            raise DataError(
                "the network is in training mode, where its outputs depend on the other rows: call "
                "network.module.eval() first"
            )
        # Other buffers, such as masks, may hold infinities that are meant.
        running = [b for b in self.module.named_buffers() if b[0].endswith(_RUNNING)]
        for name, tensor in [*self.module.named_parameters(), *running]:
            if not tensor.isfinite().all():
                raise DataError(f"the network's {name} is not finite: its training diverged")


def _lines_of(table: Table) -> list[str]:
    """The lines of text of a table that has them in its column ``text``."""
    if table.names is None or LINE not in table.names:
        raise DataError(f"{table.path}: lacks column {quoted(LINE)}, of lines of text")
    texts = as_texts(table.columns[table.names.index(LINE)])
    return [texts.values[code] if code >= 0 else "" for code in texts.codes.tolist()]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _power_of_two(most_rows: int, num_features: int, most_numbers: int) -> int:
    """Return how many rows are treated together, at least ``_PADDED``."""
    size = most_rows
    while size > _PADDED and size * num_features > most_numbers:
        size //= 2
    return size
