"""Networks of DataFrames whose columns stand in the run's .npz file, as they once did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nnexp.data.encoder import Column, Encoder
from nnexp.data.sources.arrays import read_arrays
from nnexp.runs.trained_network import TrainedNetwork


def with_columns(
    network: TrainedNetwork, config: Mapping[str, Any], folder: Path
) -> TrainedNetwork:
    """Return a network that takes a table with the columns of the DataFrame it was trained on.

    One that was not, or whose columns were all numbers, is returned as it is; likewise where the
    file is not there any more, and its features are the columns then.

    Args:
        config: of the run.
        folder: of the run, beside which the file may be.

    Raises:
        DataError: the file is damaged.
    """
    recorded = Path(str((config.get("dataset") or {}).get("path") or ""))
    if network.encoder is not None or recorded.suffix != ".npz":
        return network
    places = (recorded, folder / recorded.name, folder.parent / recorded.name)
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        return network
    columns = read_arrays(path).columns
    if columns.are_numbers or columns.feature_names != network.feature_names:
        return network
    encoder = Encoder(
        tuple(
            Column(name, "numeric")
            if categories is None
            else Column(name, "categorical", categories=categories)
            for name, categories in zip(columns.names, columns.categories, strict=True)
        ),
        missing=("",),
        impute_numeric="error",
        impute_categorical="error",
        target="y",
    )
    nothing = torch.zeros(len(network.feature_names), dtype=torch.float64)
    return dataclasses.replace(network, encoder=encoder, fill=nothing)
