"""``nnexp.sweep``: many runs, trained together by a process of their own."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nnexp.errors import ConfigError, NnexpError

if TYPE_CHECKING:
    from nnexp.api.sweep_object import Sweep
    from nnexp.api.user_data import UserData

_DIR = "hydra.sweep.dir"
_ROOT = "multirun"
_ERROR = "nnexp: "  # how the program begins a line about an error
_SECONDS_BETWEEN_LOOKS = 0.25
_JOBS = re.compile(r"\[HYDRA\] ([\d,]+) jobs?$", re.MULTILINE)


def sweep(
    *overrides: str,
    data: Any = None,
    target: str | None = None,
    test: Any = None,
    folder: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Sweep:
    """Train every combination of the values given, batched, in a process of its own.

    A list, a tuple, a range or an array is a choice: ``optimizer=["sgd", "adam"], seed=range(5)``.
    Where a value is itself a list, give a list of lists: ``model__hidden=[[64], [64, 64]]``.
    Ctrl-C ends the sweep; what has finished by then is kept, and read by ``nnexp.load``.

    Args:
        overrides: as on the command line: ``"optimizer=sgd,adam"``, ``"seed=range(5)"``.
        data: as of ``nnexp.run``, as are ``target`` and ``test``.
        target: the column of a DataFrame that holds the labels.
        test: official test rows.
        folder: of the sweep's files. None: ``multirun/<date>/<time>``.
        progress: show a bar over the runs, on standard error or in a notebook.
        settings: overrides by key, with double underscores for dots.

    Returns:
        The sweep, its report written. Runs that failed or diverged are its ``failures``.

    Raises:
        ConfigError, DataError: settings or data that cannot be used.
        NnexpError: no job could be trained, with the reason in one line.
    """
    from nnexp.api.errors import one_line_errors
    from nnexp.api.overrides import overrides_of
    from nnexp.api.running import refuse_without_data
    from nnexp.api.user_data import user_data

    given = overrides_of(overrides, settings, sweep=True)
    own = None
    if data is not None:
        own = user_data(data, target, test)
    else:
        refuse_without_data(target=target, test=test)
    if own is not None:
        with one_line_errors():
            _check(own, given)
    with one_line_errors(), _place(folder, given) as place:
        return _swept(given, own, place, progress=progress)


def _check(own: UserData, given: Sequence[str]) -> None:
    """Raise an error of the data before there is a folder, where all runs read them alike."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from nnexp.api.running import dataset_config
    from nnexp.config.overrides_text import mended

    texts = own.overrides(given)
    for text in given:
        key = text.lstrip("+").partition("=")[0]
        if key == "experiment":  # it may say anything
            return
        if key == "task" or key.startswith("dataset."):
            try:
                override = OverridesParser.create().parse_override(mended(text))
            except HydraException:  # which the program reports
                return
            if override.is_sweep_override():
                return
            texts.append(text)
    own.check(dataset_config(texts))


def _swept(given: list[str], own: UserData | None, place: Path, *, progress: bool) -> Sweep:
    from nnexp.api.overrides import quoted
    from nnexp.api.sweep_object import Sweep
    from nnexp.runs.folder import run_folders

    before = _results(place)
    made = []
    if own is not None:
        paths = [place.absolute() / name for name in own.file_names()]
        made = [path for path in paths if not path.exists()]
        own.write(place)
        given = [*own.overrides(given, place), *given]
    try:
        problem = _trained([*given, f"{_DIR}={quoted(str(place))}"], place, progress=progress)
        trained = [run for run, stamp in _results(place).items() if before.get(run) != stamp]
        # hydra.sweep.subdir may have put them further down.
        found = Sweep(place) if trained or (not problem and any(run_folders(place))) else None
    except BaseException:
        _forget(made, place, before)
        raise
    statuses = {run.status for run in found.runs} if found else set()
    if found is None or (problem and not statuses & {"completed", "diverged", "interrupted"}):
        _forget(made, place, before)
        raise NnexpError(problem or f"{place}: the sweep has trained nothing")
    return found


def _trained(overrides: Sequence[str], place: Path, *, progress: bool) -> str | None:
    """Run the program to its end; a line about what went wrong, if its exit code says so."""
    from nnexp.api.running import _random_kept

    command = [sys.executable, "-m", "nnexp", "-m", *overrides]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _random_kept(), _bar(shown=progress) as bar:
            code = _run_to_end(command, out, err, place, bar)
        return _problem(_text(out), _text(err), code) if code else None


def _run_to_end(
    command: Sequence[str], out: IO[bytes], err: IO[bytes], place: Path, bar: Any
) -> int:
    """Wait for a program, which a signal to this one reaches through us alone."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, **_own_group()
    )
    try:
        while (code := process.poll()) is None:
            if bar is not None:
                bar.update(_jobs(_text(out)), place)
            _wait(process)
        return code
    except BaseException as stop:
        _end(process, interrupt=isinstance(stop, KeyboardInterrupt))
        if isinstance(stop, KeyboardInterrupt) and place.is_dir():
            stop.add_note(f"what had finished is kept: nnexp.load({str(place)!r})")
        raise


def _wait(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_SECONDS_BETWEEN_LOOKS)


def _own_group() -> dict[str, Any]:
    """Ctrl-C in a terminal goes to a whole group of processes; this one passes it on itself."""
    return {} if sys.platform == "win32" else {"process_group": 0}


def _end(process: subprocess.Popen[bytes], *, interrupt: bool) -> None:
    """Pass a signal on and wait; a second Ctrl-C is passed on as well, a third one kills."""
    number = signal.SIGINT if interrupt and sys.platform != "win32" else signal.SIGTERM
    for _ in range(2):
        process.send_signal(number)
        try:
            process.wait()
            return
        except KeyboardInterrupt:
            continue
    process.kill()
    process.wait()


# ── what the program says ─────────────────────────────────────────────────────────────────────


def _text(file: IO[bytes]) -> str:
    """What has been written so far; the program's place in the file stays."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode("utf-8", "replace")


def _jobs(out: str) -> int | None:
    found = _JOBS.search(out)
    return int(found[1].replace(",", "")) if found else None


def _problem(out: str, err: str, code: int) -> str:
    """The program's own line about an error, without what it begins with; else its last line."""
    lines = [line for line in err.splitlines() if line.strip()]
    told = [line.removeprefix(_ERROR) for line in lines if line.startswith(_ERROR)]
    if told:
        return told[0]
    last = (lines or out.splitlines() or ["it said nothing"])[-1].strip()
    return f"the sweep ended with exit code {code}: {last}"


class _Bar:
    """Runs that have ended, of all."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def update(self, total: int | None, place: Path) -> None:
        """Look into the sweep's folder."""
        self._progress.update(self._task, total=total, completed=len(_results(place)))


@contextlib.contextmanager
def _bar(*, shown: bool) -> Iterator[_Bar | None]:
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("runs"),
        MofNCompleteColumn(),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=console,
        disable=not (console.is_terminal or console.is_jupyter),
        transient=True,
    ) as progress:
        yield _Bar(progress)


# ── the folder ────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _place(folder: str | Path | None, given: Sequence[str]) -> Iterator[Path]:
    """The sweep's folder: the one given, or a new one by the clock, which goes if it is empty."""
    if any(text.lstrip("+").startswith(f"{_DIR}=") for text in given):
        raise ConfigError(f"{_DIR}: is given by folder=...")
    if folder is not None:
        yield Path(folder)
        return
    first = Path(_ROOT, time.strftime("%Y-%m-%d"), time.strftime("%H-%M-%S"))
    first.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        place = first if number == 1 else first.with_name(f"{first.name}-{number}")
        try:
            place.mkdir()
            break
        except FileExistsError:
            continue
    try:
        yield place
    finally:
        _remove_empty(place)


def _results(place: Path) -> dict[str, int]:
    """The runs that have ended, by folder, and when their results were written."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for entry in os.scandir(place):
            with contextlib.suppress(OSError):
                found[entry.name] = (place / entry.name / "result.json").stat().st_mtime_ns
    return found


def _forget(made: Sequence[Path], place: Path, before: dict[str, int]) -> None:
    """Delete our own file of data where no run has been begun that needs it."""
    if _results(place) == before:
        for path in made:
            path.unlink(missing_ok=True)
    _remove_empty(place)


def _remove_empty(place: Path) -> None:
    with contextlib.suppress(OSError):
        for folder in (place, *list(place.parents)[:2]):
            folder.rmdir()
