"""``nnexp verify SWEEP``: whether runs of a sweep come out the same alone."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nnexp.cli.exit_codes import Parser, errors_in_one_line, restart_in_utf8
from nnexp.environment import allow_any_text, prepare

if TYPE_CHECKING:
    from nnexp.verification.agreement import Difference
    from nnexp.verification.picks import Recorded
    from nnexp.verification.rerun import Comparison

_TOLERANCE = 1e-3
_HEADER = ("number", "arm", "seed", "group of", "epochs", "metrics", "weights")


class _Terminated(BaseException):
    """SIGTERM: temporary files are to be removed."""


def _terminate(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # timeout(1) sends it twice
    raise _Terminated


def main(arguments: Sequence[str] | None = None) -> None:
    """Verify; the exit code is 0 where all that was trained again is the same (see --help)."""
    allow_any_text()
    parsed = _arguments(arguments)
    signal.signal(signal.SIGTERM, _terminate)
    prepare()
    try:
        with errors_in_one_line(), _without_warnings_of_data():
            same = verify(parsed.sweep, parsed.runs, parsed.tolerance, parsed.epochs)
    except _Terminated:
        print("nnexp: terminated", file=sys.stderr)
        sys.exit(143)
    sys.exit(0 if same else 1)


@contextlib.contextmanager
def _without_warnings_of_data() -> Iterator[None]:
    """Warnings about the data are in the logs of the runs already."""
    of_data = logging.getLogger("nnexp.data")
    level = of_data.level
    of_data.setLevel(logging.ERROR)
    try:
        yield
    finally:
        of_data.setLevel(level)


def verify(folder: Path, count: int | None, tolerance: float, epochs: int = 1) -> bool:
    """Train runs of a sweep again, print a line for each and the largest difference.

    Args:
        count: how many; None: all.
        tolerance: for metrics of runs on CUDA; see :mod:`nnexp.verification.agreement`.
        epochs: the first epochs in which runs on CUDA must be within it.

    Returns:
        Whether all are the same: bit for bit on the CPU; on CUDA within the tolerance for so many
        epochs, and without any difference that rounding cannot explain.

    Raises:
        NnexpError: as ``find_runs`` and ``compared``.
    """
    from nnexp.verification.picks import find_runs, picked

    runs = picked(find_runs(folder), count)
    from nnexp.verification.rerun import compared  # torch takes its time

    widths = [max(len(row[i]) for row in [_HEADER, *map(_facts, runs)]) for i in range(5)]
    print(_line(_HEADER, widths), flush=True)
    found: list[_Verified] = []
    told: set[str] = set()
    for run in runs:
        verified = _Verified(compared(run), tolerance, epochs)
        found.append(verified)
        cells = (*_facts(run), *(f"{amount:.2g}" for amount in verified.amounts))
        print(f"{_line(cells, widths)}  {verified.verdict}")
        for line in verified.details:
            if line not in told:
                print(f"    {line}")
        told.update(verified.comparison.notes)
        sys.stdout.flush()
    for line in _summary(found, tolerance, epochs):
        print(line)
    return all(verified.is_same for verified in found)


class _Verified:
    """What is said of a run, by the rules of the device that it was trained on."""

    def __init__(self, comparison: Comparison, tolerance: float, epochs: int) -> None:
        self.comparison = comparison
        self.on_cuda = comparison.on_cuda
        if self.on_cuda:
            agreement = comparison.agreement(tolerance)
            self.verdict = "identical" if comparison.identical else agreement.verdict(epochs)
            self.amounts = agreement.largest, comparison.amount_in_parameters
            worst = [_worst(agreement.facts), agreement.parting]
        else:
            self.verdict = "identical" if comparison.identical else "differs"
            self.amounts = _largest(comparison.metrics), _largest(comparison.weights)
            worst = [_worst(comparison.metrics), _worst(comparison.weights)]
        self.details = [str(difference) for difference in worst if difference] + comparison.notes

    @property
    def is_same(self) -> bool:
        return self.verdict != "differs"


def _summary(found: Sequence[_Verified], tolerance: float, epochs: int) -> Iterator[str]:
    """A line for the runs on the CPU, and two for those on CUDA."""
    on_cpu = [verified for verified in found if not verified.on_cuda]
    on_cuda = [verified for verified in found if verified.on_cuda]
    if on_cpu:
        identical = sum(verified.comparison.identical for verified in on_cpu)
        yield (
            f"largest difference: {max(v.comparison.amount for v in on_cpu):.2g} "
            f"({identical} of {_runs(len(on_cpu))} identical, bit for bit)"
        )
    if on_cuda:
        kinds = Counter(verified.verdict.partition(" from ")[0] for verified in on_cuda)
        counts = ", ".join(
            f"{kinds[kind]} {words}" for kind, words in _KINDS.items() if kinds[kind]
        )
        yield f"{_runs(len(on_cuda))} on CUDA: {counts}"
        yield (
            f"agreeing means losses within {tolerance:g} (those above 1: {100 * tolerance:g} %), "
            f"accuracies within {tolerance:g} and one sample; required of the first "
            + (f"{epochs} epochs" if epochs > 1 else "epoch")
        )


# How a verdict on CUDA is counted, by its beginning.
_KINDS = {
    "identical": "identical in every bit",
    "agrees": "within the tolerance in every epoch",
    "drifts apart": "within it at first and apart later",
    "diverges solo as well": "diverging both times",
    "differs": "different",
}


def _runs(count: int) -> str:
    return f"{count} run{'s' if count > 1 else ''}"


def _worst(differences: Sequence[Difference]) -> Difference | None:
    from nnexp.verification.agreement import largest

    return largest(differences)


def _largest(differences: Sequence[Difference]) -> float:
    from nnexp.verification.agreement import largest_amount

    return largest_amount(differences)


def _facts(run: Recorded) -> tuple[str, ...]:
    result = run.result
    numbers = (result.seed, result.group_size, result.epochs)
    return (run.name, result.arm, *map(str, numbers))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """All to the right but the arm; ``widths`` of all but the two amounts."""
    all_widths = [*widths, 7, 7]
    pairs = zip(cells, all_widths, strict=True)
    return "  ".join(c.ljust(w) if i == 1 else c.rjust(w) for i, (c, w) in enumerate(pairs))


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="nnexp verify",
        description="Trains a few runs of a sweep again, alone, and prints the largest difference "
        "between what comes out and what was recorded. On the CPU there is to be none: in metrics, "
        "weights, optimizer state and results of baselines. On CUDA, where rounding depends on how "
        "many runs are batched, metrics are compared epoch by epoch within a tolerance, and the "
        "epoch is named from which on a run drifts apart: training multiplies what rounding "
        "changes, in some runs a millionfold within an epoch.",
        epilog="Exit code: 0 if every run on the CPU is identical and every run on CUDA is within "
        "the tolerance in its first --epochs epochs; 1 if one is not, or if a learning rate, a "
        "count of steps, the data or a baseline differs; 2 for a wrong command line.",
    )
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help="folder of a sweep or of a run")
    parser.add_argument(
        "--runs",
        type=_count,
        default=3,
        metavar="N",
        help="how many to train, over as many arms as can be, or 'all' (default 3)",
    )
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        default=_TOLERANCE,
        metavar="T",
        help="for runs on CUDA: how far a loss may be from the recorded one (as a fraction of "
        "losses above 1), and an accuracy, which may also be one sample off "
        f"(default {_TOLERANCE:g})",
    )
    parser.add_argument(
        "--epochs",
        type=_whole,
        default=1,
        metavar="N",
        help="for runs on CUDA: the first N epochs must be within the tolerance (default 1)",
    )
    return parser.parse_args(words)


def _count(text: str) -> int | None:
    return None if text == "all" else _whole(text, ", or all")


def _whole(text: str, otherwise: str = "") -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1{otherwise}")
    return int(text)


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text}: must be a number of at least 0")
    return value


if __name__ == "__main__":
    restart_in_utf8()
    main()
