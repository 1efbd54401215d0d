"""A data set ready to train on, and how a ``DatasetConfig`` becomes one: read, split, scale."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from nnexp.config.schema import DatasetConfig
from nnexp.data.coded import Classes, CodedTable, TrainRows, num_rows_of_epoch
from nnexp.data.duplicates import warn_of_duplicates, warn_of_shared_groups
from nnexp.data.preprocessing import (
    apply,
    fill_missing,
    fit,
    fit_fill,
    require_float32,
    require_told_apart,
)
from nnexp.data.source import Doubles, Indices, RawTable, Source
from nnexp.data.split import draw_rows
from nnexp.data.targets import TargetScaling, fit_target
from nnexp.data.text_encoders import TextEncoder
from nnexp.errors import DataError
from nnexp.tasks import CLASSIFICATION, REGRESSION

if TYPE_CHECKING:
    from nnexp.data.card import DataCard
    from nnexp.data.encoder import Encoder

log = logging.getLogger(__name__)

# --------------------------------------------------------------------------------------------------
# A data set ready to train on: a table of scaled features and the rows of its splits.
#
# Axes: ``M`` rows of the whole table, ``D`` features, ``C`` classes.
# --------------------------------------------------------------------------------------------------


class ScaledTable:
    """All rows of a source and their scaling. Data sets that are scaled alike share one.

    Args:
        x: [M, D]; float32 that is scaled already, or pixels in uint8, which are not.
        shift, scale: [D].
    """

    def __init__(self, x: Tensor, shift: Doubles, scale: Doubles) -> None:
        self.pixels = x if x.dtype == torch.uint8 else None
        self.shift, self.scale = torch.from_numpy(shift), torch.from_numpy(scale)
        self._x = None if self.pixels is not None else x

    @property
    def x(self) -> Tensor:
        """[M, D] float32: (raw - shift) * scale. Of pixels it is made when first asked for."""
        if self._x is None:
            assert self.pixels is not None
            x = apply(self.pixels.numpy(), self.shift.numpy(), self.scale.numpy())
            self._x = torch.from_numpy(x)
        return self._x


@dataclass(frozen=True, eq=False)
class Dataset:
    """One table of scaled features, with the rows to train, validate and test on.

    A batch is an index into the table: ``x[train[positions]]``.
    """

    name: str
    table: ScaledTable | CodedTable
    y: Classes  # [M] int64, from 0 to C - 1; of a regression the quantity, float64
    train: TrainRows  # int64 indices of rows, ascending, as val and test
    val: Tensor
    test: Tensor
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    fingerprint: str  # of the source: the same for every split, subset and scaling
    image_shape: tuple[int, ...] | None = None  # as of a Source
    official_test: bool = False  # the test rows are the source's own; else they were drawn
    encoder: Encoder | None = None  # how a table's columns became the features
    fill: Tensor | None = None  # [D] float64, for missing values; only beside an encoder
    card: DataCard | None = None  # what was understood of a table
    target: TargetScaling | None = None  # of a regression
    weights: Tensor | None = None  # [M] float64, of the rows in training; None: all count alike

    @property
    def task(self) -> str:
        """Classification or regression."""
        return CLASSIFICATION if self.target is None else REGRESSION

    @property
    def x(self) -> Tensor:
        """The table [M, D] in float32, scaled."""
        return self.table.x

    @property
    def pixels(self) -> Tensor | None:
        """The table [M, D] in uint8 as it was read, if it was; all splits of a source share it."""
        return self.table.pixels

    @property
    def text_encoder(self) -> TextEncoder | None:
        """What makes features of lines of text, where the data set is one of text."""
        return self.table.encoder if isinstance(self.table, CodedTable) else None

    @property
    def shift(self) -> Tensor:
        """[D] float64, fitted on the training rows."""
        return self.table.shift

    @property
    def scale(self) -> Tensor:
        """[D] float64, fitted on the training rows; 0 blanks a column."""
        return self.table.scale

    @property
    def num_train(self) -> int:
        """Number of training rows."""
        return len(self.train)

    @property
    def num_rows_of_epoch(self) -> int:
        """Number of training rows that an epoch takes: all, but of a table that is computed."""
        return num_rows_of_epoch(self.train)

    @property
    def num_val(self) -> int:
        """Number of validation rows."""
        return len(self.val)

    @property
    def num_test(self) -> int:
        """Number of test rows."""
        return len(self.test)

    def table_bytes(self, device: str) -> int:
        """Bytes of the table where it is trained on, ``cpu`` or ``cuda``: as codes; on CUDA as
        pixels, if it is of these; else as float32."""
        if isinstance(self.table, CodedTable):
            return self.table.nbytes
        is_bytes = self.pixels is not None and device == "cuda"
        return (1 if is_bytes else 4) * len(self.y) * self.num_features

    @property
    def num_features(self) -> int:
        """D."""
        return len(self.feature_names)

    @property
    def num_classes(self) -> int:
        """C; 0 of a regression."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """Of a network: C, or 1 of a regression."""
        return self.num_classes or 1


Tables = dict[bytes, ScaledTable | CodedTable]  # of one source, by scaling or vocabulary


class CodedSource(Source, ABC):
    """A source whose table is one of codes. What it has to encode it keeps beside ``x``."""

    own_table: ClassVar[bool]  # whether another choice of training rows may give another table

    @abstractmethod
    def split(self, config: DatasetConfig, tables: Tables) -> Dataset:
        """See the function ``split``."""


# --------------------------------------------------------------------------------------------------
# From a DatasetConfig to a Dataset, in two steps: read the source, then split and scale it.
# --------------------------------------------------------------------------------------------------


def load(config: DatasetConfig) -> Dataset:
    """The data set that a config describes.

    Raises:
        ConfigError: an option that does not fit the data.
        DataError: a file that is missing, damaged or not what the config says.
    """
    return split(load_source(config), config)


def load_source(config: DatasetConfig) -> Source:
    """All rows as they are; the options of the split are not looked at. Raises as ``load``."""
    return config.read()


def split(source: Source, config: DatasetConfig, tables: Tables | None = None) -> Dataset:
    """Rows drawn, missing values filled in and columns scaled, fitted on the training rows.

    Args:
        tables: of this source by scaling. A table that is there is used, a new one is put there.

    Raises:
        ConfigError: ``num_train`` does not fit the source.
        DataError: too few rows for every class, or numbers beyond float32.
    """
    if isinstance(source, CodedSource):
        return source.split(config, {} if tables is None else tables)
    for level, text in source.notices:
        log.log(level, "%s", text)
    rows = draw_rows(source, config)
    if source.weights is not None and not source.weights[rows.train].any():
        raise DataError(f"{source.name}: dataset.weight is 0 in all training rows")
    warn_of_duplicates(source, rows)
    warn_of_shared_groups(source, rows)
    filled = fill_missing(source, rows.train)
    shift, scale = fit(filled, source, rows.train, config.scaling)
    scaling = shift.tobytes() + scale.tobytes()
    table: ScaledTable | CodedTable | None = None
    if tables is not None and filled is source.x:  # what is filled in depends on the split
        table = tables.get(scaling)
    if table is None:
        table = _table(filled, shift, scale, source)
        if tables is not None and filled is source.x:
            tables[scaling] = table
    return Dataset(
        name=source.name,
        table=table,
        y=torch.from_numpy(source.y.copy()),
        train=torch.from_numpy(rows.train),
        val=torch.from_numpy(rows.val),
        test=torch.from_numpy(rows.test),
        class_names=source.class_names,
        feature_names=source.feature_names,
        fingerprint=source.fingerprint,
        image_shape=source.image_shape,
        official_test=rows.same_test,
        encoder=source.encoder,
        fill=_fill(source, rows.train),
        card=source.card,
        target=fit_target(source, rows.train) if source.task == REGRESSION else None,
        weights=None if source.weights is None else torch.from_numpy(source.weights),
    )


def _fill(source: Source, train: Indices) -> Tensor | None:
    """For rows of later tables, also where the rows of this one have no gaps."""
    if source.encoder is None:
        return None
    return torch.from_numpy(fit_fill(source, train, range(source.x.shape[1])))


def _table(filled: RawTable, shift: Doubles, scale: Doubles, source: Source) -> ScaledTable:
    if source.pixels is not None:  # of which float32 is made where and when it is needed
        return ScaledTable(source.pixels, shift, scale)
    x = apply(filled, shift, scale)
    require_float32(x, source)
    require_told_apart(filled, x, source)
    return ScaledTable(torch.from_numpy(x), shift, scale)
