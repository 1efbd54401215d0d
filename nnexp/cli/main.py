"""The entry point of ``nnexp`` and ``python -m nnexp``."""

from __future__ import annotations

import sys

from nnexp.cli import verbs
from nnexp.cli.exit_codes import INTERRUPTED, report_lines, restart_in_utf8
from nnexp.cli.verbs import choose
from nnexp.environment import allow_any_text


def start() -> None:
    """Run the command line of this process."""
    restart_in_utf8()
    main()


def main() -> None:
    """Run what ``sys.argv`` asks for; every error is one line and an exit code."""
    allow_any_text()
    if verbs.is_query(sys.argv) and not verbs.answer():
        return
    handler, arguments = choose(sys.argv[1:])
    try:
        handler(arguments)
    except KeyboardInterrupt:  # while libraries are loaded, before the verb itself takes care
        report_lines("interrupted")
        sys.exit(INTERRUPTED)
