"""The TensorBoard event file of a run. Whatever goes wrong with it, the run goes on."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor

from nnexp.results import summaries
from nnexp.results.files import Journal

log = logging.getLogger(__name__)

_serial = itertools.count()


class EventWriter:
    """Writes the one event file of a run into ``folder``.

    Events are collected for a moment before they are written, and then survive a kill; a full disk
    delays them (see :class:`~nnexp.results.files.Journal`). What cannot be drawn, traced or encoded
    is left out and told once. No call raises.

    Steps are optimizer steps, as in ``metrics.jsonl``.
    """

    def __init__(self, folder: Path) -> None:
        now = time.time()
        name = f"{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{next(_serial)}"
        self._file = Journal(folder / f"events.out.tfevents.{name}", summaries.records)
        self._told: set[str] = set()
        self._file.append(summaries.file_version(now))

    def epochs(self, epochs: Iterable[Mapping[str, float | None]], started: float) -> None:
        """Write the curves of epochs as ``metrics.jsonl`` has them, one or all of them at once.

        ``started`` is the time at which training began, in seconds since 1970.
        """
        with self._spared("curves"):
            for epoch in epochs:
                step, seconds = epoch["step"], epoch["seconds"]
                assert step is not None
                assert seconds is not None
                curves = {k: v for k, v in epoch.items() if k not in ("epoch", "step", "seconds")}
                self._file.append(summaries.scalars(curves, int(step), started + seconds))

    def scalars(self, values: Mapping[str, float | None], step: int) -> None:
        """Write one point a tag; None and what is not finite are left out."""
        with self._spared("scalars"):
            self._file.append(summaries.scalars(values, step, time.time()))

    def text(self, tag: str, markdown: str) -> None:
        """Write a text, which TensorBoard renders as Markdown."""
        self._write(tag, lambda: summaries.text(tag, markdown))

    def image(self, tag: str, draw: Callable[[], NDArray[np.uint8] | bytes], step: int) -> None:
        """Write the picture [height, width, 3] that ``draw`` returns, or its PNG file."""
        self._write(tag, lambda: summaries.image(tag, draw()), step)

    def histogram(self, tag: str, values: Tensor, step: int) -> None:
        """Write the distribution of ``values``, of any shape."""
        self._write(
            tag, lambda: summaries.histogram(tag, values.detach().float().cpu().numpy()), step
        )

    def graph(self, graph: Callable[[], bytes]) -> None:
        """Write the serialised GraphDef that ``graph`` returns."""
        with self._spared("graph"):
            self._file.append(summaries.graph_event(graph(), time.time()))

    def start(self, hparams: Mapping[str, summaries.Hparam | None], trial: str = "") -> None:
        """Enter the run into TensorBoard's HParams table, by the name ``trial`` or its folder's."""
        self._write("hparams", lambda: summaries.session_start(hparams, time.time(), trial))

    def end(self, metrics: Mapping[str, float | None], step: int, *, success: bool) -> None:
        """Write the final metrics as scalars, the last of their tags, and how the run ended.

        TensorBoard's HParams table shows the last point of each tag.
        """
        self.scalars(metrics, step)
        self._write("hparams", lambda: summaries.session_end(success, time.time()))

    def flush(self) -> None:
        """Write the events that are still being collected."""
        self._file.flush()

    def close(self) -> None:
        """Write what is not written yet, or tell that it is lost."""
        self._file.close()

    def _write(self, what: str, build: Callable[[], Summary], step: int = 0) -> None:
        with self._spared(what):
            self._file.append(summaries.event(build(), step, time.time()))

    @contextlib.contextmanager
    def _spared(self, what: str) -> Iterator[None]:
        """Tell an error inside once, and let the run go on."""
        try:
            yield
        except Exception as error:
            if what not in self._told:
                self._told.add(what)
                reason = (str(error) or type(error).__name__).splitlines()[0]
                log.warning("TensorBoard goes without %s: %s", what, reason)
