"""``python -m nnexp.verify SWEEP``: whether runs of a sweep come out the same alone."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nnexp.environment import prepare
from nnexp.program import errors_in_one_line, restart_in_utf8
from nnexp.streams import allow_any_text

if TYPE_CHECKING:
    from nnexp.verification.again import Comparison
    from nnexp.verification.differences import Difference
    from nnexp.verification.picks import Recorded

_TOLERANCE = 1e-3
_HEADER = ("number", "arm", "seed", "group of", "epochs", "metrics", "weights")


class _Terminated(BaseException):
    """SIGTERM: temporary files are to be removed."""


def _terminate(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # timeout(1) sends it twice
    raise _Terminated


def main() -> None:
    """Verify; the exit code is 0 where all that was trained again is the same."""
    allow_any_text()
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _terminate)
    prepare()
    try:
        with errors_in_one_line():
            same = verify(arguments.sweep, arguments.runs, arguments.tolerance)
    except _Terminated:
        print("nnexp: terminated", file=sys.stderr)
        sys.exit(143)
    sys.exit(0 if same else 1)


def verify(folder: Path, count: int | None, tolerance: float) -> bool:
    """Train runs of a sweep again, print a line for each and the largest difference.

    Args:
        count: how many; None: all.
        tolerance: the largest difference that runs on CUDA may have.

    Returns:
        Whether all are the same: bit for bit on the CPU, within the tolerance on CUDA.

    Raises:
        NnexpError: as ``find_runs`` and ``compared``.
    """
    from nnexp.verification.picks import find_runs, picked

    runs = picked(find_runs(folder), count)
    from nnexp.verification.again import compared  # torch takes its time

    widths = [max(len(row[i]) for row in [_HEADER, *map(_facts, runs)]) for i in range(5)]
    print(_line(_HEADER, widths), flush=True)
    found: list[Comparison] = []
    told: set[str] = set()
    for run in runs:
        comparison = compared(run)
        found.append(comparison)
        amounts = (_largest(comparison.metrics), _largest(comparison.weights))
        verdict = "identical" if comparison.identical else "differs"
        cells = (*_facts(run), *(f"{amount:.2g}" for amount in amounts))
        print(f"{_line(cells, widths)}  {verdict}")
        for line in _details(comparison):
            if line not in told:
                print(f"    {line}")
        told.update(comparison.notes)
        sys.stdout.flush()
    identical = sum(comparison.identical for comparison in found)
    allowed = f"; {tolerance:g} is allowed on CUDA" if any(c.on_cuda for c in found) else ""
    print(
        f"largest difference: {max(c.amount for c in found):.2g} "
        f"({identical} of {len(found)} run{'s' if len(found) > 1 else ''} identical, "
        f"bit for bit{allowed})"
    )
    return all(c.identical or (c.on_cuda and c.amount <= tolerance) for c in found)


def _details(comparison: Comparison) -> list[str]:
    from nnexp.verification.differences import largest

    worst = [largest(comparison.metrics), largest(comparison.weights)]
    return [str(difference) for difference in worst if difference] + comparison.notes


def _largest(differences: Sequence[Difference]) -> float:
    return max((difference.amount for difference in differences), default=0.0)


def _facts(run: Recorded) -> tuple[str, ...]:
    result = run.result
    numbers = (result.seed, result.group_size, result.epochs)
    return (run.name, result.arm, *map(str, numbers))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """All to the right but the arm; ``widths`` of all but the two amounts."""
    all_widths = [*widths, 7, 7]
    pairs = zip(cells, all_widths, strict=True)
    return "  ".join(c.ljust(w) if i == 1 else c.rjust(w) for i, (c, w) in enumerate(pairs))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m nnexp.verify",
        description="Trains a few runs of a sweep again, alone, and prints the largest difference "
        "between what comes out and what was recorded: metrics, weights, optimizer state, results "
        "of baselines. On the CPU there is to be none.",
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
        help="largest absolute difference that runs on CUDA may have, where products are added up "
        f"in another order in company (default {_TOLERANCE:g}); runs on the CPU may have none",
    )
    return parser.parse_args()


def _count(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1, or all")
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
