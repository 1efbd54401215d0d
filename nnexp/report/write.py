"""From runs to ``report/``: compare, write."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnexp.comparison.options import Options
from nnexp.comparison.types import Comparison, Protocol
from nnexp.config.schema import ReportConfig
from nnexp.errors import ConfigError, DataError
from nnexp.report.commands import command_lines
from nnexp.report.options import Asked, default_title, nearest, settled
from nnexp.report.runs import Runs
from nnexp.report.tables import runs_csv, summary_json
from nnexp.results.strict_json import to_object

PAGE = "index.html"
_TABLE = "runs.csv"
_SUMMARY = "summary.json"
_FIGURES = "figures"


@dataclass(frozen=True)
class Report:
    """What was written, and where."""

    comparison: Comparison
    page: Path
    runs: Runs


def report_on(runs: Runs, asked: Asked, out: Path) -> Report:
    """Compare the runs and write the page, its figures and the tables into ``out``.

    A report that is there already is replaced, file by file and the page last; what else is in
    ``out`` stays, and nobody else's page or table is replaced. All is computed and drawn before
    anything is replaced.

    Raises:
        DataError: none of the runs can be read; ``out`` is no folder, or holds somebody's files of
            the same names.
        ConfigError: an option that cannot be, or a reference asked for that no run has.
        OSError: ``out`` cannot be written.
    """
    if not runs.records:
        raise DataError("; ".join(runs.problems))
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: is a file where the folder of the report is to be")
    _refuse_foreign(out)
    options, disagreements = settled(asked, runs.records)
    comparison = _compared(runs, asked, options, disagreements)
    from nnexp.report.page import write_page  # matplotlib and jinja2 take their time

    out.mkdir(parents=True, exist_ok=True)
    with _staged(out) as stage:
        write_page(comparison, stage)
        (stage / _TABLE).write_bytes(runs_csv(runs.records, out.parent))
        summary = summary_json(comparison, figures=_figures(stage))
        (stage / _SUMMARY).write_bytes(summary)
        _replace(out, stage)
    if options.tensorboard:
        from nnexp.report.board import write_arms  # TensorBoard takes its time

        write_arms(runs.records, out)
    return Report(comparison, out / PAGE, runs)


def _compared(
    runs: Runs, asked: Asked, options: ReportConfig, disagreements: Sequence[str]
) -> Comparison:
    """The comparison, with what the reader of files knows beside it."""
    from nnexp.comparison.compare import compare  # scipy takes its time

    commands = command_lines(runs.records)
    comparison = compare(
        runs.records,
        Options(
            tuned=tuple(options.tuned),
            reference=options.reference,
            equivalence=options.equivalence / 100,
            title=asked.title or default_title(runs.records, commands),
        ),
    )
    _check_reference(asked, comparison)
    lines = tuple(("command", command) for command in commands)
    return dataclasses.replace(
        comparison,
        warnings=(*runs.problems, *disagreements, *comparison.warnings),
        protocol=Protocol(lines=(*comparison.protocol.lines, *lines)),
    )


def _check_reference(asked: Asked, comparison: Comparison) -> None:
    """Somebody who types a name wants that one; a name in a config may be another sweep's."""
    from nnexp.baselines.labels import labels

    name, found = asked.reference, comparison.reference or ""
    if name is None or name.casefold() in map(str.casefold, comparison.learners):
        return
    if found.startswith(labels().get(name, name)):
        return
    there = ", ".join(comparison.learners) or "none"
    near = nearest(name, comparison.learners)
    raise ConfigError(f"--reference {name}: no model of that name{near}; there are {there}")


# ── files ─────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder inside ``out`` that is gone afterwards, and ``out`` with it if nothing is in it."""
    stage = Path(tempfile.mkdtemp(prefix=".new-", dir=out))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):
            out.rmdir()


def _refuse_foreign(out: Path) -> None:
    """A killed program may have left any of its files without the others."""
    for name, mark in ((PAGE, b'content="nnexp"'), (_TABLE, b"folder,"), (_SUMMARY, b'"schema"')):
        path = out / name
        if path.is_file():
            with path.open("rb") as file:
                if mark in file.read(1000):
                    continue
        if path.exists():
            raise DataError(
                f"{path}: was not written by nnexp, which would replace it; move it, or give "
                "another folder"
            )


def _figures(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / _FIGURES).glob("*.png"))


def _replace(out: Path, stage: Path) -> None:
    """Move all files from ``stage`` to ``out``, the page last; figures of the report before that
    this one does not have are deleted."""
    stale = set(_former_figures(out)) - set(_figures(stage))
    files = [path.relative_to(stage) for path in stage.rglob("*") if path.is_file()]
    for file in sorted(files, key=lambda file: (file.name == PAGE, file.name == _SUMMARY, file)):
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (stage / file).replace(out / file)
    for name in stale:
        (out / _FIGURES / name).unlink(missing_ok=True)


def _former_figures(out: Path) -> list[str]:
    """The figures that an earlier report says it has: others in the folder are somebody's."""
    try:
        names = to_object((out / _SUMMARY).read_bytes()).get("figures")
    except (OSError, ValueError):
        return []
    known = names if isinstance(names, list) else []
    return [name for name in known if isinstance(name, str) and Path(name).name == name]
