"""``nnexp report DIR``: the report on runs that are there already."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from nnexp.cli.exit_codes import Parser, errors_in_one_line, restart_in_utf8
from nnexp.environment import allow_any_text
from nnexp.errors import ConfigError
from nnexp.registry import import_components
from nnexp.report.inputs import Asked, Runs, listed, named_reference


def main(arguments: Sequence[str] | None = None) -> None:
    """Report; the exit code is 1 for bad input, told in one line."""
    allow_any_text()
    parsed = _arguments(arguments)
    with errors_in_one_line():
        _report(parsed)


def _report(arguments: argparse.Namespace) -> None:
    from nnexp.report.inputs import read_runs
    from nnexp.report.terminal import print_page, print_report, waiting
    from nnexp.report.write import report_on

    folders: list[Path] = arguments.folders
    asked = Asked(
        tuned=listed(arguments.tuned),
        metric=arguments.metric,
        reference=named_reference(arguments.reference),
        equivalence=arguments.equivalence,
        relative_equivalence=arguments.relative_equivalence,
        tensorboard=arguments.tensorboard,
        test_metrics=arguments.test_metrics,
        title=arguments.title,
    )
    out: Path = arguments.out or (folders[0] if len(folders) == 1 else Path()) / "report"
    with waiting("reading") as note:
        runs = read_runs(folders)
        missing = _import_components(runs)
        runs = dataclasses.replace(runs, problems=(*runs.problems, *missing))
        note(f"reporting on {len(runs.records):,} runs")
        report = report_on(runs, asked, out)
    print_report(report.comparison, runs.problems)
    print()
    print_page(report.page)


def _import_components(runs: Runs) -> list[str]:
    """Import what the runs imported, for the labels of their metrics and baselines.

    Returns a line on what is not there any more; the report then has names in place of labels.
    """
    configs = [record.result.config for record in runs.records]
    imports = {str(name) for config in configs for name in config.get("imports") or ()}
    missing = []
    for name in sorted(imports):
        try:
            import_components([name])
        except ConfigError as error:
            missing.append(f"{error}; its metrics and baselines go by their names")
    return missing


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="nnexp report",
        description="Compares the runs at or below the folders: verdicts and a table here, all "
        "else on a page, DIR/report/index.html. Options that are left out are as the runs' configs "
        "have them under 'report'.",
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folder of a run, of a sweep or above them, such as multirun",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the report goes (default: report in the one folder given, else ./report)",
    )
    parser.add_argument(
        "--tuned",
        action="append",
        metavar="KEY[,KEY]",
        help="hyperparameters selected on the validation set, such as optimizer.lr; "
        "several with commas or repeated; none: nothing is tuned",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="what selects and judges: accuracy, or a metric that the runs recorded, such as "
        "roc_auc",
    )
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="what the others are compared with: a baseline such as KNN, or a network such as "
        "'deep · adam', in upper or lower case",
    )
    parser.add_argument(
        "--equivalence",
        type=float,
        metavar="POINTS",
        help="difference, in pp, that is negligible; of a metric without bounds see "
        "--relative-equivalence",
    )
    parser.add_argument(
        "--relative-equivalence",
        type=float,
        metavar="SHARE",
        help="the same as a share of the reference's test error: 0.05",
    )
    parser.add_argument(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        help="write mean curves too, as TensorBoard runs",
    )
    parser.add_argument(
        "--test-metrics",
        action=argparse.BooleanOptionalAction,
        help="runs.csv has the test metrics of every run, not only what was selected on the "
        "validation set",
    )
    parser.add_argument("--title", help="of the page")
    return parser.parse_args(words)


if __name__ == "__main__":
    restart_in_utf8()
    main()
