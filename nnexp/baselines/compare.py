"""The baselines of a run, on the rows that its network sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nnexp.config.schema import BaselinesConfig


class Baselines:
    """Made before training, so that a setting that cannot work is told before time is spent.

    Args:
        x: the data table [N, D]; y: its classes [N].
        rows: int64 indices into the table by split: train, val, test.
    """

    def __init__(
        self,
        config: BaselinesConfig,
        x: Tensor,
        y: Tensor,
        rows: Mapping[str, Tensor],
        num_classes: int,
    ) -> None:
        self._config = config

    def test(self) -> dict[str, dict[str, Any]]:
        """By baseline: its chosen settings, ``val/acc``, ``test/acc`` and ``seconds``."""
        return {}
