"""``nnexp predict``: the predictions of a trained network for the rows of a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nnexp.cli.exit_codes import Parser, errors_in_one_line
from nnexp.cli.prediction_options import (
    add_data,
    add_run,
    chosen_on,
    metric_lines,
    report_cells,
)
from nnexp.environment import prepare


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict; the exit code is 1 where a row cannot be predicted, and nothing is written then."""
    parser = Parser(
        prog="nnexp predict",
        description="Predicts the rows of a file: the likeliest class, and the probability of "
        "each. Columns go by name, in any order, among others; a missing value becomes what the "
        "training rows said, a category that is new is none of the known ones, and both are "
        "reported. Where the file has the labels, metrics are shown.",
    )
    add_run(parser)
    add_data(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="a .csv or .parquet file to write (default: CSV on standard output)",
    )
    parser.add_argument(
        "--keep",
        nargs="*",
        default=None,
        metavar="COLUMN",
        help="columns of DATA to write before the predictions; none named: all of them",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there already")
    parsed = parser.parse_intermixed_args(arguments)
    with errors_in_one_line():
        prepare()  # before torch is loaded
        _predict(parsed, () if parsed.keep is None else parsed.keep or None)


def _predict(parsed: argparse.Namespace, keep: Sequence[str] | None) -> None:
    from nnexp.prediction.files import blocks_of
    from nnexp.prediction.output_files import check_output, output_file
    from nnexp.prediction.predict import predict, progress

    if parsed.output is not None:
        check_output(parsed.output, [parsed.data], force=parsed.force)
    chosen = chosen_on(parsed)
    network = chosen.predictors[0].networks[0]
    with progress(parsed.data) as (tell, counted), output_file(parsed.output) as writer:
        blocks = blocks_of(
            parsed.data,
            network,
            chosen.config,
            parsed.options,
            tell,
            keep=keep,
            target=parsed.target,
        )
        outcome = predict(
            chosen.predictors, counted(blocks), writer, keep=keep, target=parsed.target
        )
    report_cells(outcome)
    told = sys.stderr if parsed.output is None else sys.stdout
    for line in metric_lines(outcome):
        print(line, file=told)
    if parsed.output is not None:
        print(f"{outcome.num_rows:,} rows in {parsed.output}")
