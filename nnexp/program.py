"""How the programs beside ``nnexp`` itself end: one line about an error, and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Exit with 1 on an error inside, 130 on Ctrl-C, 141 where nobody reads the output any more.

    ``HYDRA_FULL_ERROR=1`` lets errors through, with their traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt:
        print("nnexp: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        from nnexp.config.messages import told

        print(f"nnexp: {told(error)}", file=sys.stderr)
        sys.exit(1)
