"""Processes that train at the same time, and one clock for all of them.

A process lives through the whole benchmark, so that its start is in nobody's time.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, TypeVar

from learners.work import Task

Answer = TypeVar("Answer")


class Workers:
    """``count`` processes; leave the ``with`` block to end them."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["nnexp.engine"])
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            if kind is not None:
                process.terminate()
            process.join()

    def do(
        self, function: Callable[[Task], Answer], tasks: Sequence[Task]
    ) -> tuple[float, list[Answer]]:
        """Do all tasks at once, a process each.

        Returns the seconds from the start, when every process has its task, to the last answer;
        and the answers.

        Raises:
            RuntimeError: with the traceback of a process whose task failed.
            EOFError: a process died.
        """
        pipes = self._pipes[: len(tasks)]
        for pipe, task in zip(pipes, tasks, strict=True):
            pipe.send((function, task))
        for pipe in pipes:
            pipe.recv()  # it is ready
        began = time.perf_counter()
        for pipe in pipes:
            pipe.send(None)
        answers: list[tuple[Any, str | None]] = [pipe.recv() for pipe in pipes]
        seconds = time.perf_counter() - began
        for _, failure in answers:
            if failure is not None:
                raise RuntimeError(f"{function.__name__} failed in its process\n{failure}")
        return seconds, [answer for answer, _ in answers]


def _serve(pipe: Connection) -> None:
    """Do what comes through the pipe until it is closed."""
    while True:
        try:
            function, task = pipe.recv()
        except EOFError:
            return
        pipe.send(None)
        pipe.recv()
        try:
            answer: tuple[Any, str | None] = function(task), None
        except Exception:
            answer = None, traceback.format_exc()
        pipe.send(answer)
