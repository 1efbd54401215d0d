"""A trained network with its preprocessing as one ``torch.nn.Module``, for export.

Columns come in groups, a tensor each and in this order, as far as the network has such columns:
``numeric`` [B, N] float64 with NaN where there is no value, ``dates`` [B, T] float64 in seconds
since 1970-01-01 00:00 UTC likewise, ``categories`` [B, K] int64, places in the column's vocabulary,
-1 where there is no value, -2 for a category that training did not have.

Axes: ``B`` rows, ``D`` features, ``C`` classes; ``N``, ``T``, ``K`` columns of a kind.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nnexp.data.date_formats import cycle_lengths
from nnexp.data.encoder import Column, Encoder
from nnexp.data.table import Cells, Moments, Table, Texts
from nnexp.runs.trained_network import TrainedNetwork

MISSING, UNSEEN = -1, -2
"""Codes of cells without a known category."""
GROUPS = {"numeric": "numeric", "date": "dates", "categorical": "categories"}
"""The input that columns of a kind go to."""

# --------------------------------------------------------------------------------------------------
# What an exported network takes.
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signature:
    """The inputs of an exported network, and what its outputs mean."""

    groups: dict[str, tuple[Column, ...]]  # by the name of the input, in order
    missing: tuple[str, ...]  # texts that mean no value
    class_names: tuple[str, ...]  # of a regression ()
    target: str | None = None  # the quantity that a regression predicts

    @property
    def output(self) -> str:
        """The name of the output."""
        return "probabilities" if self.class_names else "prediction"

    @classmethod
    def of(cls, network: TrainedNetwork) -> Signature:
        """Of a trained network."""
        encoder = network.table_encoder
        groups = {
            name: tuple(column for column in encoder.columns if column.kind == kind)
            for kind, name in GROUPS.items()
        }
        return cls(
            {name: columns for name, columns in groups.items() if columns},
            encoder.missing,
            network.class_names,
            None if network.class_names else encoder.target,
        )

    def to_json(self) -> str:
        """As text, for the file's metadata."""
        inputs: dict[str, Any] = {}
        for name, columns in self.groups.items():
            if name == "categories":
                inputs[name] = {column.name: list(column.categories) for column in columns}
            else:
                inputs[name] = [column.name for column in columns]
        outputs: dict[str, Any] = {"classes": list(self.class_names)}
        if not self.class_names:
            outputs = {"target": self.target}
        return json.dumps(
            {"inputs": inputs, "missing": list(self.missing), **outputs}, ensure_ascii=False
        )

    def tensors(self, table: Table) -> list[Tensor]:
        """Return the inputs for a table of these columns, as ``drawn_table`` makes them."""
        return [
            torch.from_numpy(
                np.stack([_codes(one, self.vocabulary(column)) for column, one in cells], axis=1)
                if name == "categories"
                else np.stack([_numbers(one) for _, one in cells], axis=1)
            )
            for name, cells in self._cells(table)
        ]

    def arrays(self, table: Table) -> dict[str, Any]:
        """Return the same by name, categories as texts, an empty one where there is no value."""
        return {
            name: np.stack(
                [_words(one) if name == "categories" else _numbers(one) for _, one in cells],
                axis=1,
            )
            for name, cells in self._cells(table)
        }

    def _cells(self, table: Table) -> Iterator[tuple[str, list[tuple[Column, Cells]]]]:
        assert table.names is not None
        for name, columns in self.groups.items():
            yield name, [(one, table.columns[table.names.index(one.name)]) for one in columns]

    def vocabulary(self, column: Column) -> dict[str, int]:
        """Return the code of every text that a categorical column knows."""
        known = dict.fromkeys(("", *self.missing), MISSING)
        return known | {category: code for code, category in enumerate(column.categories)}


def _codes(cells: Cells, vocabulary: Mapping[str, int]) -> Any:
    assert isinstance(cells, Texts)
    codes = [vocabulary.get(text, UNSEEN) for text in cells.values]
    return np.array([*codes, MISSING], np.int64)[cells.codes]


def _words(cells: Cells) -> Any:
    assert isinstance(cells, Texts)
    return np.array([*cells.values, ""], dtype=object)[cells.codes]


def _numbers(cells: Cells) -> Any:
    return cells.seconds if isinstance(cells, Moments) else cells


# --------------------------------------------------------------------------------------------------
# The module.
# --------------------------------------------------------------------------------------------------


class ExportedNetwork(nn.Module):
    """Probabilities [B, C] from the columns of a table, or of a regression predictions [B, 1] in
    float64, in the unit of the target; of several networks their mean.

    A value that is missing where the networks were trained without missing values makes all
    probabilities of its row NaN.
    """

    def __init__(self, networks: Sequence[TrainedNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(_Member(network) for network in networks)

    def forward(self, *groups: Tensor) -> Tensor:
        """See the head of the file."""
        found = [member(*groups) for member in self.members]
        if len(found) == 1:
            return found[0]  # type: ignore[no-any-return]
        return torch.stack([one.double() for one in found]).mean(0).to(found[0].dtype)


class _Member(nn.Module):
    def __init__(self, network: TrainedNetwork) -> None:
        super().__init__()
        encoder = network.table_encoder
        fill = _fill(network, encoder)
        names = list(Signature.of(network).groups)
        parts: dict[str, nn.Module] = {}
        features: list[int] = []
        for kind, name in GROUPS.items():
            if name in names:
                places = [
                    (column, start)
                    for column, start in zip(encoder.columns, _starts(encoder), strict=True)
                    if column.kind == kind
                ]
                part = _PARTS[kind](places, fill)
                parts[name] = part
                features += part.features
        self.parts = nn.ModuleList(parts[name] for name in names)
        order = torch.tensor(features).argsort()
        self.order: Tensor
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("order", order)
        self.register_buffer("shift", network.shift.clone())
        self.register_buffer("scale", network.scale.clone())
        self.network = network.module
        self._dtype = next(network.module.parameters()).dtype
        self._target = network.target

    def forward(self, *groups: Tensor) -> Tensor:
        x = torch.cat([part(group) for part, group in zip(self.parts, groups, strict=True)], 1)
        scaled = ((x.index_select(1, self.order) - self.shift) * self.scale).to(self._dtype)
        outputs: Tensor = self.network(scaled)
        if self._target is not None:
            return outputs.double() * self._target.std + self._target.mean
        return outputs.softmax(1)


def _starts(encoder: Encoder) -> list[int]:
    widths = [len(column.feature_names) for column in encoder.columns]
    return [sum(widths[:place]) for place in range(len(widths))]


def _fill(network: TrainedNetwork, encoder: Encoder) -> Tensor:
    """[D] what a missing value becomes; NaN where there must be none."""
    fill = torch.full((len(network.feature_names),), math.nan, dtype=torch.float64)
    for column, start in zip(encoder.columns, _starts(encoder), strict=True):
        rule = (
            encoder.impute_categorical if column.kind == "categorical" else encoder.impute_numeric
        )
        if rule != "error" and network.fill is not None:
            stop = start + len(column.feature_names)
            fill[start:stop] = network.fill[start:stop]
    return fill


Places = Sequence[tuple[Column, int]]
"""Columns with the place of the first feature of each."""


class _Part(nn.Module):
    """Features of the columns of one kind.

    Attributes:
        features: their places among all features, in the order of the outputs.
    """

    features: list[int]


class _Numeric(_Part):
    def __init__(self, places: Places, fill: Tensor) -> None:
        super().__init__()
        self.features = [start for _, start in places]
        indicated = [place for place, (column, _) in enumerate(places) if column.indicator]
        self.features += [places[place][1] + 1 for place in indicated]
        self.fill: Tensor
        self.indicated: Tensor
        self.register_buffer("fill", fill[self.features[: len(places)]])
        self.register_buffer("indicated", torch.tensor(indicated, dtype=torch.int64))

    def forward(self, numbers: Tensor) -> Tensor:
        missing = numbers.isnan()
        filled = torch.where(missing, self.fill, numbers)
        if not len(self.indicated):
            return filled
        return torch.cat([filled, missing.index_select(1, self.indicated).double()], 1)


class _Dates(_Part):
    """The number of days or seconds, then what comes round, in the order of ``DateFeatures``."""

    def __init__(self, places: Places, fill: Tensor) -> None:
        super().__init__()
        self.features = []
        self._columns = []
        for column, start in places:
            assert column.dates is not None
            stop = start + len(column.feature_names)
            self.features += range(start, stop)
            unit = 1.0 if column.dates.has_time else cycle_lengths()["day"][0]
            turns = [cycle_lengths()[cycle] for cycle in column.dates.cycles]
            self._columns.append((column.dates.origin, unit, turns))
            self.register_buffer(f"fill_{len(self._columns) - 1}", fill[start:stop])

    def forward(self, seconds: Tensor) -> Tensor:
        parts = []
        for place, (origin, unit, turns) in enumerate(self._columns):
            column = seconds[:, place]
            missing = column.isnan()
            known = torch.where(missing, torch.zeros_like(column), column)
            features = [(known - origin) / unit]
            for length, start in turns:
                phase = (known - start) / length
                turn = 2 * math.pi * (phase - phase.floor())
                features += [turn.sin(), turn.cos()]
            fill = getattr(self, f"fill_{place}")
            parts.append(torch.where(missing[:, None], fill, torch.stack(features, 1)))
        return torch.cat(parts, 1)


class _Categories(_Part):
    def __init__(self, places: Places, fill: Tensor) -> None:
        super().__init__()
        self.features = []
        of_column: list[int] = []
        code: list[int] = []
        fills: list[bool] = []
        for place, (column, start) in enumerate(places):
            width = len(column.feature_names)
            self.features += range(start, start + width)
            of_column += [place] * width
            code += range(len(column.categories))
            code += [MISSING] * column.missing_category
            fills += [not column.missing_category] * width
        for name, values in {
            "fill": fill[self.features],
            "of_column": torch.tensor(of_column),
            "code": torch.tensor(code),
            "fills": torch.tensor(fills),
        }.items():
            self.register_buffer(name, values)
        self.fill: Tensor
        self.of_column: Tensor
        self.code: Tensor
        self.fills: Tensor

    def forward(self, codes: Tensor) -> Tensor:
        cells = codes.index_select(1, self.of_column)
        hot = (cells == self.code).double()
        return torch.where((cells == MISSING) & self.fills, self.fill, hot)


_PARTS: dict[str, Any] = {"numeric": _Numeric, "date": _Dates, "categorical": _Categories}

# --------------------------------------------------------------------------------------------------
# Rows to check an export with.
# --------------------------------------------------------------------------------------------------


def drawn_table(network: TrainedNetwork, num_rows: int, seed: int) -> Table:
    """Return rows near those of training, with missing values and new categories where those are
    allowed, drawn from a seed."""
    draw = np.random.default_rng(seed)
    encoder = network.table_encoder
    columns: list[Cells] = []
    shift, scale = network.shift.numpy(), network.scale.numpy()
    for column, start in zip(encoder.columns, _starts(encoder), strict=True):
        is_text = column.kind == "categorical"
        rule = encoder.impute_categorical if is_text else encoder.impute_numeric
        gaps = (draw.random(num_rows) < 0.15) & (rule != "error")
        if is_text:
            texts = ("never seen before", *column.categories)
            chosen = draw.integers(0, len(texts), num_rows).tolist()
            cells = zip(gaps.tolist(), chosen, strict=True)
            columns.append(Texts.of(None if gap else texts[code] for gap, code in cells))
            continue
        spread = 1 / scale[start] if scale[start] else 1.0
        values = shift[start] + draw.standard_normal(num_rows) * spread
        if network.pixels:
            values = draw.integers(0, 256, num_rows).astype(np.float64)
        if column.dates is not None:
            unit = 1.0 if column.dates.has_time else cycle_lengths()["day"][0]
            columns.append(
                Moments(np.where(gaps, np.nan, column.dates.origin + values * unit), True)
            )
            continue
        columns.append(np.where(gaps, np.nan, values))
    names = tuple(column.name for column in encoder.columns)
    return Table("drawn rows", names, columns, num_rows)
