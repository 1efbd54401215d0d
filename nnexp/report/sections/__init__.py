"""The sections of the page, in its order. One without content is left out."""

from __future__ import annotations

from nnexp.report.blocks import Section
from nnexp.report.sections.view import View


def sections(view: View) -> list[Section]:
    """All that the page says after verdicts and warnings. Draws the figures, once each."""
    from nnexp.report.sections import (
        across,
        cost,
        failures,
        metrics,
        results,
        scores,
        splits,
        training,
        tuning,
    )

    makers = (
        results.main_table,
        splits.dots,
        across.data_sets,
        across.pairwise,
        training.curves,
        training.learning_curves,
        tuning.sensitivity,
        tuning.settings_tried,
        cost.cost,
        scores.probabilities,
        metrics.further,
        scores.ensembles,
        failures.failed_runs,
        failures.protocol,
    )
    return [section for make in makers if (section := make(view)) is not None]
