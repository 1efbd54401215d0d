"""From runs to ``report/``: page, ``runs.csv``, ``summary.json``, and the commands that made it."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import io
import json
import math
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnexp.analysis.records import RunRecord
from nnexp.analysis.types import Comparison, Options, Protocol
from nnexp.config.schema import ReportConfig
from nnexp.errors import ConfigError, DataError
from nnexp.metrics import ACCURACY
from nnexp.report.inputs import Asked, Runs, default_title, nearest, settled
from nnexp.runs.files import to_object, to_readable_json
from nnexp.runs.selection import is_test_metric

# --------------------------------------------------------------------------------------------------
# The command lines that made the runs, from what Hydra left in their folders.
# --------------------------------------------------------------------------------------------------

_LEVELS = 4  # between a run's folder and its sweep's: hydra.sweep.subdir may have slashes
_MOST = 12


def command_lines(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """A line for each sweep and for each run that was none's; at most a dozen.

    Empty where Hydra was told to write no files (``hydra.output_subdir=null``).
    """
    lines: dict[str, None] = {}
    sweeps: dict[Path, str | None] = {}
    for record in records:
        folder = record.folder.absolute()
        if folder.parent not in sweeps:
            sweeps[folder.parent] = _of_sweep(folder.parent)
        line = sweeps[folder.parent] or _of_run(folder)
        if line:
            lines[line] = None
    shown = list(lines)[:_MOST]
    more = len(lines) - len(shown)
    return (*shown, *([f"and {more:,} more"] if more else []))


def _of_sweep(folder: Path) -> str | None:
    """From ``multirun.yaml`` in the folder or one above it."""
    for place in [folder, *folder.parents][:_LEVELS]:
        path = place / "multirun.yaml"
        if path.is_file():
            config = _loaded(path)
            overrides = config.get("hydra", {}).get("overrides", {}) if config else {}
            hydra = [text for text in overrides.get("hydra", []) if _is_typed(text)]
            return _line("-m", *overrides.get("task", []), *hydra)
    return None


def _of_run(folder: Path) -> str | None:
    overrides = _loaded(folder / ".hydra" / "overrides.yaml")
    return None if overrides is None else _line(*overrides)


def _line(*arguments: Any) -> str:
    return " ".join(["python -m nnexp", *(shlex.quote(str(text)) for text in arguments)])


def _is_typed(override: str) -> bool:
    """Hydra adds the mode itself, for ``-m``."""
    return not str(override).startswith("hydra.mode=")


def _loaded(path: Path) -> Any:
    """None for what is not there or cannot be read: a report can do without its commands."""
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.load(path.read_bytes(), Loader=_loader())
    except (OSError, yaml.YAMLError):
        return None


@functools.cache
def _loader() -> Any:
    """The one in C, ten times faster, where PyYAML has it."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# --------------------------------------------------------------------------------------------------
# A report for programs: ``runs.csv``, a row a run; ``summary.json``, all that the page shows.
# --------------------------------------------------------------------------------------------------

SUMMARY_SCHEMA = 1
_OBJECTS = ("config", "baselines", "calibration", "versions")


def runs_csv(records: Sequence[RunRecord], root: Path, *, test_metrics: bool = False) -> bytes:
    """A row a run: what ``result.json`` says in single values, and the options that vary.

    Columns are named as the keys are nested, ``dataset.num_train``, ``baselines.knn.test/acc``;
    options begin with ``config.``. RFC 4180, UTF-8; what a run does not have is left empty, and a
    list is written as JSON.

    Args:
        root: what ``folder`` is told from, for runs below it.
        test_metrics: also those on the test set. They are left out unless asked for: whoever picks
            the best row by them reports a number that is too good.
    """
    varied = _varied([record.result.config for record in records])
    rows = [_row(record, root, varied) for record in records]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if not test_metrics:
        columns = [column for column in columns if not is_test_metric(column)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    # A lone surrogate, from a file name that is no UTF-8, becomes \udcXX.
    return text.getvalue().encode("utf-8", errors="backslashreplace")


def summary_json(comparison: Comparison, **more: Any) -> bytes:
    """The comparison as strict JSON: what is not a finite number is null.

    Args:
        more: further keys, behind ``schema``.
    """
    told = {"schema": SUMMARY_SCHEMA, **more, **dataclasses.asdict(comparison)}
    for of in (*told["results"], *(scores["majority"] for scores in told["by_class"])):
        if not of["test_metrics"]:
            del of["test_metrics"]
    return to_readable_json(told) + b"\n"


def _row(record: RunRecord, root: Path, varied: Sequence[str]) -> dict[str, Any]:
    result = record.result
    folder = record.folder.absolute()
    below = folder.is_relative_to(root.absolute())
    row: dict[str, Any] = {
        "folder": (folder.relative_to(root.absolute()) if below else folder).as_posix()
    }
    for name in (item.name for item in dataclasses.fields(result)):
        value = getattr(result, name)
        if name == "dataset":
            value = dataclasses.asdict(value)
            del value["class_names"]  # may be hundreds, in every row
        if name in ("metrics", "seconds") and isinstance(value, dict):
            row |= {f"{name}.{key}": _cell(item) for key, item in value.items()}
        elif name not in _OBJECTS:
            row |= {key: _cell(item) for key, item in _flat(value, name).items()}
    for baseline, told in result.baselines.items():
        for key, value in told.items():
            if not isinstance(value, dict | list):
                row[f"baselines.{baseline}.{key}"] = _cell(value)
    row |= {f"versions.{name}": version for name, version in result.versions.items()}
    options = _flat(result.config, "")
    return row | {f"config.{key}": _cell(options.get(key)) for key in varied}


def _varied(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options that differ between runs, in the order of the configs."""
    values: dict[str, set[str]] = {}
    flat = [_flat(config, "") for config in configs if config]
    for options in flat:
        for key, value in options.items():
            values.setdefault(key, set()).add(json.dumps(value, default=str))
    return [
        key
        for key, found in values.items()
        if len(found) > 1 or any(key not in options for options in flat)
    ]


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    """Values by their path, ``optimizer.lr``; a list is a value."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return "" if value is None else value


# --------------------------------------------------------------------------------------------------
# From runs to ``report/``: compare, write.
# --------------------------------------------------------------------------------------------------

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
        table = runs_csv(runs.records, out.parent, test_metrics=options.test_metrics)
        (stage / _TABLE).write_bytes(table)
        summary = summary_json(comparison, figures=_figures(stage))
        (stage / _SUMMARY).write_bytes(summary)
        _replace(out, stage)
    if options.tensorboard:
        from nnexp.report.tensorboard import write_arms  # TensorBoard takes its time

        write_arms(runs.records, out)
    return Report(comparison, out / PAGE, runs)


def _compared(
    runs: Runs, asked: Asked, options: ReportConfig, disagreements: Sequence[str]
) -> Comparison:
    """The comparison, with what the reader of files knows beside it."""
    from nnexp.analysis.compare import compare  # scipy takes its time
    from nnexp.analysis.measure import measure_of

    commands = command_lines(runs.records)
    comparison = compare(
        runs.records,
        Options(
            tuned=tuple(options.tuned),
            reference=options.reference,
            measure=measure_of(options.metric or ACCURACY),
            equivalence=options.equivalence / 100,
            relative_equivalence=options.relative_equivalence,
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
    from nnexp.baselines.base import labels

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
