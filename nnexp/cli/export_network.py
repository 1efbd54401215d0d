"""``nnexp export``: a trained network with its preprocessing as an ONNX or torch.export file."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from nnexp.cli.exit_codes import Parser, errors_in_one_line, report_lines
from nnexp.cli.prediction_options import ENSEMBLE_HELP, RUN_HELP
from nnexp.environment import prepare


def main(arguments: Sequence[str] | None = None) -> None:
    """Export; the exit code is 1 where the result would not agree with the network."""
    parser = Parser(
        prog="nnexp export",
        description="Writes a trained network to a file that needs no nnexp: .onnx, which "
        "onnxruntime runs, or .pt2, which torch.export.load reads. Filling in missing values, "
        "categories, dates, scaling and the softmax are inside. The file is run and compared with "
        "the network before it gets its name; an example of its use is written beside it.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help=RUN_HELP)
    parser.add_argument("file", type=Path, metavar="FILE", help="ends in .onnx or .pt2")
    parser.add_argument("--ensemble", action="store_true", help=ENSEMBLE_HELP)
    parser.add_argument(
        "--tolerance",
        type=_above_zero,
        default=1e-6,
        metavar="P",
        help="how far a probability may be from the network's own (default 1e-6)",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there already")
    parsed = parser.parse_args(arguments)
    with errors_in_one_line():
        prepare()  # before torch is loaded
        _export(parsed)


def _export(parsed: argparse.Namespace) -> None:
    from nnexp.prediction.export import check_target, example_path, export
    from nnexp.prediction.predictors import choose

    check_target(parsed.file, force=parsed.force)
    chosen = choose(parsed.run, ensemble=parsed.ensemble)
    if chosen.how is not None:
        report_lines(chosen.how)
    difference = export(chosen.predictors[0], parsed.file, tolerance=parsed.tolerance)
    what = "probabilities"
    if chosen.predictors[0].is_regression:
        what = "predictions, in standard deviations of the target"
    print(f"network  {parsed.file}, within {difference:.2g} of the run's {what}")
    print(f"example  {example_path(parsed.file)}")


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be a number above 0")
    return value
