"""A worker process: looks at data, trains groups and computes baselines, as it is told to.

It writes the files of its runs itself. It ends when the main process does: the pipe between them
closes.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from nnexp.config.messages import told
from nnexp.results.run_log import RunLogs
from nnexp.sweep import messages as say
from nnexp.sweep.failures import log_traceback
from nnexp.sweep.findings import Finding, Findings
from nnexp.sweep.group import GroupTraining
from nnexp.sweep.line import Line, Orphaned, Telling
from nnexp.sweep.prospects import machine, prospects
from nnexp.sweep.shelf import Shelf
from nnexp.training import compare


def work(pipe: Connection, folder: Path) -> None:
    """Serve the main process until it stops, or is gone.

    Args:
        folder: shared with the other workers of the sweep. Where the main process has been killed
            nobody else deletes it.
    """
    with contextlib.suppress(ImportError):
        # A bar that torch.fx makes and never shows has a lock, by default one between processes,
        # of which a worker that is killed would leave a semaphore behind.
        importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
    line = Line(pipe)
    worker = Worker(line, folder)
    for handler in worker.handlers:
        logging.getLogger().addHandler(handler)
    try:
        line.send(say.Ready())
        while True:
            if not line.is_spoken_to:
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
        """One task, to its end. Raises KeyboardInterrupt where it has been stopped."""
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
            case say.Compute(wanted):
                self._shelf.keep([wanted.config.dataset])
                self._compute(task)
            case _:
                raise RuntimeError(f"a worker was sent {task!r}")

    def _compute(self, task: say.Compute) -> None:
        """One baseline; what goes wrong with it is for the runs that want it."""
        wanted = task.wanted
        began = time.perf_counter()
        finding: Finding
        try:
            with self._logs.kept(wanted.key):
                dataset = self._shelf.dataset(wanted.config.dataset)
                finding = compare(wanted.config, dataset, torch.device(task.device))
        except Exception as error:
            log_traceback(error, wanted.name)
            finding = told(error)
        self._findings.put(wanted.key, finding)
        self._line.send(say.Computed(wanted.key, time.perf_counter() - began))
