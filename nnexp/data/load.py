"""From a DatasetConfig to a Dataset, in two steps: read the source, then split and scale it."""

from __future__ import annotations

import torch

from nnexp.config.schema import DatasetConfig
from nnexp.data.dataset import Dataset, ScaledTable
from nnexp.data.scaling import apply, fill_missing, fit, require_float32
from nnexp.data.split import draw_rows
from nnexp.data.types import Doubles, RawTable, Source


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


def split(
    source: Source, config: DatasetConfig, tables: dict[bytes, ScaledTable] | None = None
) -> Dataset:
    """Rows drawn, missing values filled in and columns scaled, fitted on the training rows.

    Args:
        tables: of this source by scaling. A table that is there is used, a new one is put there.

    Raises:
        ConfigError: ``num_train`` does not fit the source.
        DataError: too few rows for every class, or numbers beyond float32.
    """
    rows = draw_rows(source, config)
    filled = fill_missing(source, rows.train)
    shift, scale = fit(filled, source, rows.train, config.scaling)
    scaling = shift.tobytes() + scale.tobytes()
    table = None
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
        official_test=source.test is not None,
    )


def _table(filled: RawTable, shift: Doubles, scale: Doubles, source: Source) -> ScaledTable:
    if source.pixels is not None:  # of which float32 is made where and when it is needed
        return ScaledTable(source.pixels, shift, scale)
    x = apply(filled, shift, scale)
    require_float32(x, source)
    return ScaledTable(torch.from_numpy(x), shift, scale)
