"""The table of ``prediction_cases`` as a data set, ``dataset=people``: imported by name."""

from __future__ import annotations

from dataclasses import dataclass

from prediction_cases import a_source

from nnexp.config.dataset_schema import DrawnDatasetConfig, dataset
from nnexp.data.source import Source


@dataset("people")
@dataclass
class PeopleConfig(DrawnDatasetConfig):
    """See there."""

    name: str = "people"

    def read(self) -> Source:
        """See ``DatasetConfig.read``."""
        return a_source()
