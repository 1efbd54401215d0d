"""What ``predict``, ``evaluate`` and ``export`` have in common: arguments, and what is reported."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnexp.cli.exit_codes import Parser, report_lines

if TYPE_CHECKING:
    from nnexp.prediction.predict import Outcome
    from nnexp.prediction.predictors import Chosen

RUN_HELP = (
    "the folder of a run; or of a sweep, which stands for its completed run of highest validation "
    "accuracy"
)

ENSEMBLE_HELP = (
    "of a sweep, average the probabilities of the runs that differ in their seed alone: those of "
    "the arm of highest mean validation accuracy"
)


def add_run(parser: Parser) -> None:
    """Add the argument RUN and the options that choose among the runs of a sweep."""
    parser.add_argument("run", type=Path, metavar="RUN", help=RUN_HELP)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--ensemble", action="store_true", help=ENSEMBLE_HELP)
    which.add_argument(
        "--all", action="store_true", dest="each", help="of a sweep, use every completed run"
    )


def add_data(parser: Parser) -> None:
    """Add the argument DATA and what says how to read it."""
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="the file of rows, in any format that is read"
    )
    parser.add_argument(
        "options",
        nargs="*",
        metavar="dataset.OPTION=VALUE",
        help="how DATA is written where that is not as in training: separator, header, encoding, "
        "quote, escape, comment, skip_rows, skip_footer, index_column",
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="the column of labels (default: as in training)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N or auto (default cpu)")


def chosen_on(parsed: argparse.Namespace) -> Chosen:
    """Load what RUN stands for onto the device; which it is of a sweep is reported.

    Raises:
        ConfigError: a device that is not there.
        DataError: as ``choose``.
    """
    from nnexp.device import resolve_device
    from nnexp.prediction.predictors import choose

    device = resolve_device(parsed.device)
    chosen = choose(parsed.run, ensemble=parsed.ensemble, each=parsed.each)
    if chosen.how is not None:
        report_lines(chosen.how)
    for predictor in chosen.predictors:
        predictor.on(device)
    return chosen


def report_cells(outcome: Outcome) -> None:
    """Report cells that are not as in training, and rows that do not count in the metrics."""
    lines = outcome.treatment.lines()
    for scores in (outcome.scores or {}).values():
        lines += scores.lines()
        break  # the labels are the same for all
    report_lines(*lines)


def metric_lines(outcome: Outcome) -> list[str]:
    """Return the metrics of each predictor, a line each."""
    from nnexp.metrics import metric_label

    labels = {"acc": "accuracy", "clipped_loss": "clipped loss", "brier": "Brier score"}
    found = []
    for name, scores in (outcome.scores or {}).items():
        values = scores.values()
        if not values:
            continue
        prefix = f"{name}/" if len(outcome.scores or {}) > 1 else ""
        found.append(f"{prefix + 'rows':20} {scores.num_rows:,}")
        for metric, value in values.items():
            label = prefix + (labels.get(metric) or metric_label(metric))
            found.append(f"{label:20} {'-' if value is None else f'{value:.6g}'}")
    return found
