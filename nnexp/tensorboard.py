"""``nnexp tensorboard DIR``: TensorBoard, with runs called by what tells them apart."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnexp.cli.exit_codes import Parser, errors_in_one_line, restart_in_utf8
from nnexp.environment import allow_any_text
from nnexp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from nnexp.report.tensorboard import Logdir

_EVERY = 5.0  # seconds from one look at the folders to the next, as TensorBoard's own
_SHARE = 0.05  # of the time may go into looking: folders may be many, and far away


def main(arguments: Sequence[str] | None = None) -> None:
    """Show until TensorBoard ends; its exit code, or 1 for bad input, told in one line."""
    allow_any_text()
    folders, options = _arguments(sys.argv[1:] if arguments is None else arguments)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # the links are to be removed
            signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
    with errors_in_one_line():
        code = show(folders, options)
    sys.exit(code)


def show(folders: Sequence[Path], options: Sequence[str]) -> int:
    """Run TensorBoard on links to the runs in ``folders``, and return its exit code.

    Runs that are trained meanwhile are linked as they begin.

    Args:
        options: for TensorBoard.

    Raises:
        ConfigError: an option that names a folder.
        DataError: a folder that is not there, no run in any, or links cannot be made.
    """
    for option in options:
        if option.startswith(("--logdir", "--logdir_spec")):
            raise ConfigError(f"{option}: name the folders first, without an option")
    from nnexp.report.tensorboard import Logdir  # TensorBoard takes its time

    with tempfile.TemporaryDirectory(prefix="nnexp-tensorboard-") as place:
        logdir = Logdir(Path(place), folders)
        logdir.refresh()
        if not logdir.names:
            where = ", ".join(str(folder) for folder in folders)
            holds = "holds" if len(folders) == 1 else "hold"
            raise DataError(f"{where}: {holds} no TensorBoard file of a run")
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", place, *options]
        process = subprocess.Popen(command)
        try:
            code = _follow(process, logdir)
        except KeyboardInterrupt:
            try:
                code = process.wait(timeout=2)  # it has been told too, by the terminal
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    return code if code >= 0 else 128 - code


def _follow(process: subprocess.Popen[bytes], logdir: Logdir) -> int:
    """Keep the links as the folders are, until TensorBoard ends."""
    pause = _EVERY
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=pause)
        began = time.monotonic()
        logdir.refresh()
        pause = max(_EVERY, (time.monotonic() - began) / _SHARE)


def _arguments(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Folders, and from the first word with a hyphen on TensorBoard's options."""
    parser = Parser(
        prog="nnexp tensorboard",
        usage="%(prog)s DIR [DIR ...] [TensorBoard's options, such as --port 6007]",
        description="Starts TensorBoard on the runs at or below the folders, each called by what "
        "tells it from the others, as in 'deep · adam · lr=0.01/seed=3'. Runs that begin later "
        "appear as well.",
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folder of a run, of a sweep or above them, such as multirun",
    )
    first = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    if {"-h", "--help"} & set(words[first:]):
        first = len(words)
    return parser.parse_args(words[:first]).folders, list(words[first:])


if __name__ == "__main__":
    restart_in_utf8()
    main()
