"""The sections of the page, in its order. One without content is left out."""

from __future__ import annotations

from nnexp.report.blocks import Section
from nnexp.report.sections.view import View


def sections(view: View) -> list[Section]:
    """All that the page says after verdicts and warnings. Draws the figures, once each."""
    from nnexp.report.sections import across, classes, details, metrics, results, tuning

    makers = (
        results.main_table,
        results.dots,
        across.data_sets,
        across.pairwise,
        tuning.curves,
        tuning.learning_curves,
        tuning.sensitivity,
        tuning.settings_tried,
        details.cost,
        details.probabilities,
        metrics.further,
        classes.by_class,
        details.ensembles,
        details.failed_runs,
        details.protocol,
    )
    return [section for make in makers if (section := make(view)) is not None]
