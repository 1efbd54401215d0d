"""Shows that two checkouts of nnexp give the same numbers: for whoever rewrites it.

    python tests/golden.py OLD_CHECKOUT NEW_CHECKOUT [--only NAME ...] [--keep DIR]

Runs the commands of ``golden_cases`` in both, each in a fresh folder, and compares what they leave,
bit for bit where it is a number; ``golden_files`` says what is read and what is left out. Bits
differ between processors, so nothing is stored: both run here, one after the other.

A checkout runs with its own ``.venv/bin/python`` if it has one, else with the interpreter that runs
this script. Exit code: 0 if all is equal but what is allowed, 1 if not, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent / "helpers"))  # of a script only its own is

from golden_cases import CASES, Case, Step
from golden_files import Difference, Names, Values, compare_folders, read_folder

_SECONDS = 300  # that one command may take; all of them take a few
_NAMED = 10  # differences of a command that are printed
_LONGEST = 100  # characters of a printed value
_PROBE = """
import importlib.metadata, importlib.util, json
versions = {}
for package in ("torch", "numpy", "scikit-learn", "scipy"):
    versions[package] = importlib.metadata.version(package)
spec = importlib.util.find_spec("nnexp")
print(json.dumps([spec.origin if spec else "", versions]))
"""
_STAMP = re.compile(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+\]", re.MULTILINE)
_PLAN = re.compile(
    r"^(?:\[[^]]*\])+(?: -)? (\d[\d,]* jobs?| *.* in [\d,]+ groups?\b.*|runs cannot all be .*|"
    r"what keeps .*)$"
)


@dataclass(frozen=True)
class Checkout:
    """A version of nnexp, and what runs it."""

    folder: Path
    python: str
    environment: Mapping[str, str]
    versions: Mapping[str, str]

    @classmethod
    def at(cls, folder: Path) -> Checkout:
        """Raises ValueError if its interpreter would import nnexp from elsewhere."""
        folder = folder.resolve()
        own = folder / ".venv" / "bin" / "python"
        environment = {**os.environ, "COLUMNS": "100"}
        for name in ("PYTHONPATH", "HYDRA_FULL_ERROR"):
            environment.pop(name, None)
        if not own.exists():
            environment["PYTHONPATH"] = str(folder)
        python = str(own) if own.exists() else sys.executable
        with tempfile.TemporaryDirectory() as elsewhere:
            told = subprocess.run(
                [python, "-c", _PROBE],
                cwd=elsewhere,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        if told.returncode:
            raise ValueError(f"{folder}: {python} fails: {told.stderr.strip()[-500:]}")
        origin, versions = json.loads(told.stdout)
        if not origin or not Path(origin).resolve().is_relative_to(folder):
            raise ValueError(f"{folder}: {python} imports nnexp from {origin or 'nowhere'}")
        return cls(folder, python, environment, versions)


@dataclass(frozen=True)
class Outcome:
    """What the commands of a case came to in one checkout."""

    exit_codes: list[str]
    files: dict[str, Values]
    text: str
    """Of the terminal, without times of the day and paths of the checkout."""


def run_case(case: Case, checkout: Checkout, folder: Path) -> Outcome:
    """All steps, also after one that fails."""
    folder.mkdir(parents=True)
    if case.prepare:
        case.prepare(folder)
    exit_codes, texts = [], []
    for step in case.steps:
        code, text = run_step(step, checkout, folder)
        exit_codes.append(code)
        texts.append(text)
    names = Names.of(folder, checkout.folder)
    files = read_folder(folder, names)
    files["plan"] = {
        f"{number}.{n}": line
        for number, text in enumerate(texts, 1)
        for n, line in enumerate(plan_lines(text), 1)
    }
    shown = [
        f"$ {step.module} {step.arguments}\n{text}"
        for step, text in zip(case.steps, texts, strict=True)
    ]
    return Outcome(exit_codes, files, names.plain(_STAMP.sub("[time]", "\n".join(shown))))


def run_step(step: Step, checkout: Checkout, folder: Path) -> tuple[str, str]:
    """The exit code and the terminal's text of one command."""
    arguments = [
        argument.format(run=newest(folder, "outputs"), sweep=newest(folder, "multirun"))
        for argument in shlex.split(step.arguments)
    ]
    try:
        done = subprocess.run(
            [checkout.python, "-m", step.module, *arguments],
            cwd=folder,
            env=checkout.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"none within {_SECONDS} s", ""
    return str(done.returncode), done.stdout


def newest(folder: Path, kind: str) -> str:
    """The last folder that a command left, named by date and time."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"{kind}/*/*"))
    return found[-1] if found else f"no-{kind}"


def plan_lines(text: str) -> Iterator[str]:
    """What a sweep logs about how runs are grouped."""
    for line in text.splitlines():
        if match := _PLAN.match(line):
            yield match[1].strip()


def compare_outcomes(case: Case, old: Outcome, new: Outcome) -> list[Difference]:
    """Exit codes first; an old one that is not as the case means it is a difference, too."""
    found = []
    for number, step in enumerate(case.steps, 1):
        ours, theirs = old.exit_codes[number - 1], new.exit_codes[number - 1]
        if ours != theirs:
            found.append(Difference("exit code", str(number), ours, theirs))
        elif ours != str(step.exit_code):
            meant = f"{theirs}, but {step.exit_code} is meant"
            found.append(Difference("exit code", str(number), ours, meant))
    return found + compare_folders(old.files, new.files)


def reason_to_allow(place: str, allowed: Mapping[str, str]) -> str | None:
    """Of the first pattern that ``place`` matches."""
    for glob, reason in allowed.items():
        if fnmatchcase(place, glob):
            return reason
    return None


def report(
    name: str, old: Outcome, new: Outcome, found: list[Difference], allowed: Mapping[str, str]
) -> int:
    """Print a line for the command and lines for its differences; return how many count."""
    reasons = [reason_to_allow(f"{name}:{difference.place}", allowed) for difference in found]
    counted = [d for d, reason in zip(found, reasons, strict=True) if reason is None]
    excused = [(d, reason) for d, reason in zip(found, reasons, strict=True) if reason is not None]
    numbers = f"{len(old.files)} files, {sum(map(len, old.files.values()))} values"
    verdict = f"{len(counted)} difference{'s' * (len(counted) > 1)}" if counted else "equal"
    also = f", {len(excused)} allowed" if excused else ""
    print(f"{name:<16}{verdict + also:<32}{numbers}")
    for difference in of_every_kind_first(counted)[:_NAMED]:
        print(f"    {line_of(difference)}")
    if len(counted) > _NAMED:
        print(f"    ... and {len(counted) - _NAMED} more")
    for difference, reason in excused[:_NAMED]:
        print(f"    allowed ({reason}): {line_of(difference)}")
    if len(excused) > _NAMED:
        print(f"    ... and {len(excused) - _NAMED} more allowed")
    sys.stdout.flush()
    return len(counted)


def of_every_kind_first(found: Sequence[Difference]) -> list[Difference]:
    """The first one in files of each name, then the second ones: a checkpoint alone has many."""
    seen: Counter[str] = Counter()
    turns = []
    for difference in found:
        name = Path(difference.file).name
        turns.append(seen[name])
        seen[name] += 1
    return [found[i] for i in sorted(range(len(found)), key=turns.__getitem__)]


def line_of(difference: Difference) -> str:
    """With both values."""
    old, new = shortened(difference.old), shortened(difference.new)
    return f"{difference.place}  {old} -> {new}"


def shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def diff_of_texts(old: str, new: str) -> str:
    """Of what was printed; times that a run took differ always."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "old", "new", "", "", 1, "")
    return "\n".join(lines)


def keep_texts(folder: Path, old: Outcome, new: Outcome, found: Sequence[Difference]) -> None:
    """Beside the folders of a case: both texts, and all its differences."""
    (folder / "old.txt").write_text(old.text, encoding="utf-8")
    (folder / "new.txt").write_text(new.text, encoding="utf-8")
    lines = [f"{d.place}  {d.old} -> {d.new}\n" for d in found]
    (folder / "differences.txt").write_text("".join(lines), encoding="utf-8")


def run_all(
    old: Checkout, new: Checkout, folder: Path, options: argparse.Namespace, names: Sequence[str]
) -> int:
    """Command by command, in one checkout after the other; return how many differ."""
    differing = 0
    for name in names:
        case = CASES[name]
        before = run_case(case, old, folder / name / "old")
        after = run_case(case, new, folder / name / "new")
        found = compare_outcomes(case, before, after)
        keep_texts(folder / name, before, after, found)
        differing += bool(report(name, before, after, found, options.allowed))
        if options.text:
            print(diff_of_texts(before.text, after.text), flush=True)
    return differing


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """``allowed`` has the reasons by pattern, from the command line and from files."""
    parser = argparse.ArgumentParser(prog="python tests/golden.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("new", type=Path, metavar="NEW_CHECKOUT")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=CASES, help=f"of {', '.join(CASES)}"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="a new folder for all that is run")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="GLOB",
        help="a difference that is meant, as '<command>:<file>:<key>'; may be repeated",
    )
    parser.add_argument(
        "--allow-from",
        type=Path,
        metavar="FILE",
        help='a TOML file of such patterns, a line each: "<pattern>" = "why it is meant"',
    )
    parser.add_argument("--text", action="store_true", help="print how the terminal's text differs")
    options = parser.parse_args(arguments)
    options.allowed = dict.fromkeys(options.allow, "--allow")
    if options.allow_from:
        try:
            listed = tomllib.loads(options.allow_from.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            parser.error(f"{options.allow_from}: {error}")
        options.allowed |= {glob: str(reason) for glob, reason in listed.items()}
    if options.keep and options.keep.exists() and any(options.keep.iterdir()):
        parser.error(f"{options.keep} is not empty")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and return the exit code."""
    options = parse(arguments)
    try:
        old, new = Checkout.at(options.old), Checkout.at(options.new)
    except ValueError as error:
        print(f"golden: {error}", file=sys.stderr)
        return 2
    for package, version in old.versions.items():
        if new.versions[package] != version:
            print(f"{package} {version} and {new.versions[package]}: numbers may differ for that")
    names = options.only or list(CASES)
    with tempfile.TemporaryDirectory(prefix="golden-") as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        differing = run_all(old, new, folder, options, names)
    print(f"{differing} of {len(names)} commands differ" if differing else "all equal")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
