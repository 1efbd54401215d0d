"""What a comparison is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """The report's options, as the comparison takes them."""

    tuned: tuple[str, ...] = ("optimizer.lr",)
    """Keys of a config that a learner chooses on the validation rows. A key stands for all under
    it: ``optimizer`` for ``optimizer.lr`` and the rest."""
    reference: str = "knn"  # a baseline's name, or a learner's as the comparison calls it
    equivalence: float = 0.005  # a share of the test rows: less than this does not matter
    title: str = "Comparison"
