"""How a metric that is no mean over samples would vary with other test samples.

Of an accuracy each test sample tells its part of the variance. Of an AUC, an F1 or a root of a mean
none does, so the samples are dealt into G groups, and the metric is computed G times without one of
them: a delete-a-group jackknife (Kott 2001). Its pseudo-values G t - (G - 1) t_(g) are to the
metric what single samples are to a mean: their variance / G is that of the metric, with G - 1
degrees of freedom. Groups are the same for all models, so that pseudo-values of two models pair up,
and their differences are those of the difference.

Axes: N test samples, C classes, G groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnexp.analysis.measure import Measure

NUM_GROUPS = 100

Floats = NDArray[np.float64]


def pseudo_values(measure: Measure, outputs: NDArray[Any], labels: NDArray[Any]) -> Floats | None:
    """Of a metric on test samples [G]; None where it is undefined without one of the groups, as
    where that holds all samples of a class.

    Args:
        outputs: what the metric takes, probabilities [N, C].
        labels: the right classes [N].
    """
    groups = groups_of(len(labels))
    num = int(groups.max(initial=-1)) + 1
    whole = measure.of_rows(outputs, labels)
    if whole is None or num < 2:
        return None
    found = np.empty(num)
    for group in range(num):
        kept = groups != group
        without = measure.of_rows(outputs[kept], labels[kept])
        if without is None:
            return None
        found[group] = num * whole - (num - 1) * without
    return found


def groups_of(num_rows: int) -> NDArray[np.int64]:
    """The group [N] of each sample: at random, always the same; sizes differ by 1 at most."""
    dealt = np.arange(num_rows) % min(NUM_GROUPS, max(num_rows, 1))
    return np.random.default_rng(0).permutation(dealt)
