"""How the command ends: exit codes, and errors in one line on standard error."""

from __future__ import annotations

import sys
from typing import NoReturn

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
