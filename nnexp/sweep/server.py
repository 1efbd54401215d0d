"""Where worker processes come from: a server that imports torch once and forks."""

from __future__ import annotations

import functools
import multiprocessing
import signal
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext


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
    """
    if isinstance(worker_context(), ForkServerContext):
        resource_tracker.ensure_running()  # unblocks them: else the server would ask for it below
        blocked = {signal.SIGINT, signal.SIGTERM}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_wanted(arguments: Sequence[str]) -> bool:
    """Whether a command line is that of a fused sweep."""
    others = any(text.startswith("hydra/launcher=") for text in arguments)
    looks = {"--cfg", "-c", "--help", "-h", "--hydra-help", "--info", "-i", "-sc"} & set(arguments)
    return bool({"-m", "--multirun"} & set(arguments)) and not others and not looks
