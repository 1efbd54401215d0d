"""Where worker processes come from: a server that imports torch once and forks."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import ForkServerContext, SpawnContext

from nnexp.errors import NnexpError

_SHORT_FOLDERS = ("/tmp", "/var/tmp")
# Bytes of the name of a folder in which multiprocessing can have the server's socket: the system
# allows so many to sun_path, its NUL included, and this is what comes behind the folder.
_LONGEST = (108 if sys.platform == "linux" else 104) - 1 - len("/pymp-12345678/listener-12345678")


@functools.cache
def worker_context() -> ForkServerContext | SpawnContext:
    """Of ``multiprocessing``. Forking this very process would copy its threads' locks, and CUDA
    does not survive it; where there is no fork (Windows), every worker starts from nothing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["nnexp.sweep.worker"])
    return context


def start_server() -> None:
    """Let the server import torch, while this process does something else.

    Ctrl-C in a terminal, and timeout(1), send their signal to the server and the workers as well.
    It is for this process alone to stop them, and they inherit that the signals are blocked.

    Raises:
        NnexpError: the folder for temporary files has too long a name, and there is no other.
        OSError: no more processes, or no such folder.
    """
    if isinstance(worker_context(), ForkServerContext):
        _find_place_for_socket()
        resource_tracker.ensure_running()  # unblocks them: else the server would ask for it below
        blocked = {signal.SIGINT, signal.SIGTERM}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _find_place_for_socket() -> None:
    """Have multiprocessing make its folder where a socket can be; all else is in ``TMPDIR``."""
    usual = tempfile.gettempdir()
    length = len(os.fsencode(usual))
    if length <= _LONGEST:
        return
    for short in _SHORT_FOLDERS:
        tempfile.tempdir = short
        try:
            with contextlib.suppress(OSError):
                util.get_temp_dir()  # made once, removed when the program ends
                return
        finally:
            tempfile.tempdir = usual
    raise NnexpError(
        f"TMPDIR={usual}: has {length} bytes, at most {_LONGEST} are allowed where "
        f"{' and '.join(_SHORT_FOLDERS)} cannot be written: the processes of a sweep meet at a "
        "socket there"
    )


def is_wanted(arguments: Sequence[str]) -> bool:
    """Whether a command line is that of a fused sweep."""
    others = any(text.startswith("hydra/launcher=") for text in arguments)
    looks = {"--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i", "-sc"} & set(arguments)
    return bool({"-m", "--multirun"} & set(arguments)) and not others and not looks
