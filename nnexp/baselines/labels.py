"""What a person reads for the name of a baseline."""

from __future__ import annotations

from nnexp import registry

_FIRST = ("knn", "svm", "logistic_regression", "forest", "boosting", "majority")


def labels() -> dict[str, str]:
    """By the name in a config, in the order in which a report tells them: guessing comes last."""
    known = registry.components("baseline")
    others = [name for name in known if name not in _FIRST]
    names = [*_FIRST[:-1], *others, _FIRST[-1]]
    return {name: known[name].label for name in names if name in known}
