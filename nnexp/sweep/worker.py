"""A worker process: looks at data, trains groups and computes baselines, as it is told to.

It writes the files of its runs itself. It ends when the main process does: the pipe between them
closes.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import logging
import shutil
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from nnexp.config.messages import told
from nnexp.devices import current
from nnexp.errors import is_lost_gpu
from nnexp.failures import log_traceback
from nnexp.out_of_memory import give_back
from nnexp.registry import import_components
from nnexp.results.run_log import RunLogs
from nnexp.sweep import messages as say
from nnexp.sweep.findings import Finding, Findings
from nnexp.sweep.group import GroupTraining
from nnexp.sweep.line import Line, Orphaned, Telling
from nnexp.sweep.prospects import machine, prospects
from nnexp.sweep.shelf import Shelf
from nnexp.training import compare

_SECONDS_TO_LISTEN = 0.1  # while a baseline is computed: how late a worker may hear of a stop


def work(pipe: Connection, folder: Path, draws: bool) -> None:
    """Serve the main process until it stops, or is gone.

    Args:
        folder: shared with the other workers of the sweep. Where the main process has been killed
            nobody else deletes it.
        draws: whether there will be pictures.
    """
    with contextlib.suppress(ImportError):
        # A bar that torch.fx makes and never shows has a lock, by default one between processes,
        # of which a worker that is killed would leave a semaphore behind.
        importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
    import_components()  # those that the main process was told to
    line = Line(pipe)
    worker = Worker(line, folder)
    for handler in worker.handlers:
        logging.getLogger().addHandler(handler)
    try:
        line.send(say.Ready())
        while True:
            if draws and not line.is_spoken_to:
                # A third of a second for the pictures, while there is nothing else to do.
                importlib.import_module("nnexp.results.confusion")
            worker.do(line.receive())
    except Orphaned:
        shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt:
        return


class Worker:
    """Does what messages say, and answers. Its ``handlers`` are for the root of all loggers."""

    def __init__(self, line: Line, folder: Path) -> None:
        self._line = line
        self._shelf = Shelf(folder)
        self._findings = Findings(folder)
        self._logs = RunLogs(folder)
        self._telling = Telling(line)
        self.handlers: tuple[logging.Handler, ...] = (self._telling, self._logs)

    def do(self, task: object) -> None:
        """One task, to its end.

        Raises:
            KeyboardInterrupt: it has been stopped.
            Exception: the GPU is lost to this process, which has to end. Another gets the task.
        """
        match task:
            case say.Survey(entries, fetch):
                found = tuple(prospects(entries, self._shelf, fetch=fetch))
                self._line.send(say.Surveyed(found, machine(found)))
            case say.Train(entries):
                self._logs.follow({entry.folder: entry.log for entry in entries})
                self._telling.follow({entry.folder: entry.num for entry in entries})
                GroupTraining(
                    task, self._line, self._shelf, self._logs, self._findings, self._compute
                ).do()
                if task.device != "cpu":  # the next group, of another size, may need all of it
                    give_back()
            case say.Compute(wanted):
                self._shelf.keep([wanted.config.dataset])
                self._compute(task)
            case _:
                raise RuntimeError(f"a worker was sent {task!r}")

    def _compute(self, task: say.Compute) -> None:
        """One baseline; what goes wrong with it is for the runs that want it.

        It may take hours, so it has a thread of its own: this one listens. Raises KeyboardInterrupt
        where it has been stopped; the thread then ends with the process. A GPU that is lost is
        raised as well.
        """
        began = time.perf_counter()
        outcome: list[str | Exception | None] = []
        num_threads = torch.get_num_threads()  # which a new thread does not inherit

        def compute() -> None:
            torch.set_num_threads(num_threads)
            try:
                outcome.append(self._found(task))
            except Exception as error:
                outcome.append(error)

        context = contextvars.copy_context()  # says which run the log is about
        thread = threading.Thread(target=context.run, args=(compute,), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_SECONDS_TO_LISTEN)
            self._line.heed()
        problem = outcome[0] if outcome else "it ended without a word"
        if isinstance(problem, Exception):
            raise problem
        seconds = time.perf_counter() - began
        self._line.send(say.Computed(task.wanted.key, seconds, problem))

    def _found(self, task: say.Compute) -> str | None:
        """Compute, and let the others have it; returns why they cannot. Raises where the GPU is
        lost."""
        wanted = task.wanted
        finding: Finding
        try:
            with self._logs.kept(wanted.key):
                dataset = self._shelf.dataset(wanted.config.dataset)
                device = torch.device(task.device)
                with current(device):
                    finding = compare(wanted.config, dataset, device)
        except Exception as error:
            log_traceback(error, wanted.name)
            if is_lost_gpu(error):
                raise
            finding = told(error)
        try:
            self._findings.put(wanted.key, finding)
        except Exception as error:  # such as a full disk; without an answer runs would wait on
            log_traceback(error, wanted.name)
            return told(error)
        return None
