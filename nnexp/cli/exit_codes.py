"""How the commands begin and end: encodings, exit codes, and errors in one line on stderr."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from nnexp.errors import ConfigError

# --------------------------------------------------------------------------------------------------
# How the command ends: exit codes, and errors in one line on standard error.
# --------------------------------------------------------------------------------------------------

FAILED = 1
USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

MEANINGS = {
    0: "success",
    FAILED: "an error, a failed job, or every run diverged",
    USAGE: "wrong usage: an unknown verb or option",
    INTERRUPTED: "interrupted by Ctrl-C",
    BROKEN_PIPE: "the reader of the output, such as head, has closed it",
    TERMINATED: "terminated by SIGTERM",
}
"""What each exit code means, as ``nnexp help`` shows it."""


def report_lines(*lines: str) -> None:
    """Print each line on standard error, with the name of the program before it."""
    for line in lines:
        print(f"nnexp: {line}", file=sys.stderr)


def usage_error(line: str) -> NoReturn:
    """Report wrong usage in one line and exit."""
    report_lines(line)
    sys.exit(USAGE)


# --------------------------------------------------------------------------------------------------
# How the programs begin, in an encoding that has all letters, and how those that do not train
# end: one line about an error, and an exit code.
# --------------------------------------------------------------------------------------------------


def restart_in_utf8() -> None:
    """Begin again in Python's UTF-8 mode where names of files cannot have all letters.

    Under a locale such as C or de_DE.ISO-8859-1 Python can neither make a folder ``deep · adam``
    nor open ``größen.csv``, and files are text of that locale to every library. Nothing that a
    program does later could mend this for all of them. What it prints stays as the locale has it.

    For programs that have just begun, by their own command.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    if not sys.executable or not hasattr(sys.stdout, "encoding"):
        return
    os.environ["PYTHONUTF8"] = "1"  # for processes that are started from here
    printed = f"{sys.stdout.encoding}:{sys.stdout.errors}"
    os.environ.setdefault("PYTHONIOENCODING", printed)
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


class Parser(argparse.ArgumentParser):
    """A parser that reports wrong usage in one line, ``nnexp: list: ...``, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Report ``message``, and where the options are shown."""
        verb = self.prog.rpartition(" ")[2]
        print(f"nnexp: {verb}: {message} ('{self.prog} --help' shows the usage)", file=sys.stderr)
        sys.exit(USAGE)


def at_least_one(text: str) -> int:
    """Return the whole number that an option is given, of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return int(text)


def refuse_undecodable(arguments: Sequence[str]) -> None:
    """Raise a ConfigError where an argument or the current folder is no UTF-8, as records are."""
    for text in (*arguments, str(Path.cwd())):
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(text).decode("utf-8", "backslashreplace")
            raise ConfigError(f"{shown}: is not UTF-8, which files of nnexp are") from None


def hang_up() -> NoReturn:
    """Exit quietly: the reader of our output, such as head, has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(BROKEN_PIPE)  # as a process that SIGPIPE ends


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Exit with 1 on an error inside, 130 on Ctrl-C, 141 where nobody reads the output any more.

    ``HYDRA_FULL_ERROR=1`` lets errors through, with their traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        hang_up()
    except KeyboardInterrupt:
        print("nnexp: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        from nnexp.config.errors import error_line

        print(f"nnexp: {error_line(error)}", file=sys.stderr)
        sys.exit(FAILED)
