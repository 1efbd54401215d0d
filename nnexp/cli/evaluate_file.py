"""``nnexp evaluate``: the metrics of a trained network on a file that has the labels."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from nnexp.cli.exit_codes import Parser, errors_in_one_line
from nnexp.cli.prediction_options import add_data, add_run, chosen_on, metric_lines, report_cells
from nnexp.environment import prepare


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate; the exit code is 1 where no row has a label that the network knows."""
    parser = Parser(
        prog="nnexp evaluate",
        description="Computes loss, accuracy and the metrics of the run on a file that has the "
        "labels. Rows with a label that is none of the network's classes do not count, and are "
        "reported.",
    )
    add_run(parser)
    add_data(parser)
    parser.add_argument("--json", action="store_true", help="as a JSON object, for programs")
    parsed = parser.parse_intermixed_args(arguments)
    with errors_in_one_line():
        prepare()  # before torch is loaded
        _evaluate(parsed)


def _evaluate(parsed: argparse.Namespace) -> None:
    from nnexp.data.source import quoted
    from nnexp.errors import DataError
    from nnexp.prediction.files import blocks_of
    from nnexp.prediction.predict import predict, progress

    chosen = chosen_on(parsed)
    network = chosen.predictors[0].networks[0]
    encoder = network.table_encoder
    with progress(parsed.data) as (tell, counted):
        blocks = blocks_of(
            parsed.data,
            network,
            chosen.config,
            parsed.options,
            tell,
            target=parsed.target,
        )
        outcome = predict(chosen.predictors, counted(blocks), None, target=parsed.target)
    if outcome.scores is None:
        target = f" {quoted(encoder.target)}" if encoder.target else ""
        kind = "values" if chosen.predictors[0].is_regression else "labels"
        raise DataError(
            f"{parsed.data}: has no column{target} of {kind}; --target names another one"
        )
    report_cells(outcome)
    values = {name: scores.values() for name, scores in outcome.scores.items()}
    if not all(values.values()):
        wanted = "a label that is a class of the network"
        if chosen.predictors[0].is_regression:
            wanted = "a value of the target"
        raise DataError(f"{parsed.data}: no row has {wanted}")
    if not parsed.json:
        print("\n".join(metric_lines(outcome)))
        return
    whole = {
        name: {"rows": outcome.scores[name].num_rows, **found} for name, found in values.items()
    }
    single = next(iter(whole.values())) if len(whole) == 1 else whole
    print(json.dumps(single, indent=2, allow_nan=False))
