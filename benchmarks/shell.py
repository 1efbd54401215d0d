"""A sweep as a person starts it: from the shell, every run with all its files."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from checkout import environment
from learners.work import LEARNING_RATE, Work
from nnexp.runs.folder import RESULT_FILE
from nnexp.runs.record import read_metrics


@dataclass(frozen=True)
class ShellSweep:
    """What one command took and left behind."""

    seconds: float  # from the command to its end
    startup_seconds: float  # of the same command with one run of one epoch
    losses: list[float]  # mean training loss of the last epoch, a run each
    group_sizes: list[int]
    training_seconds: float  # sum over the groups, as their result.json say


def sweep_from_shell(work: Work, overrides: Sequence[str], runs: int) -> ShellSweep:
    """Evaluation every epoch, metrics, checkpoints, TensorBoard and the baseline included.

    Raises:
        RuntimeError: the command failed.
    """
    with tempfile.TemporaryDirectory(prefix="nnexp-sweep-") as folder:
        startup = _command(replace(work, epochs=1), overrides, 1, Path(folder, "first"))
        seconds = _command(work, overrides, runs, Path(folder, "all"))
        folders = sorted(path.parent for path in Path(folder, "all").glob(f"*/{RESULT_FILE}"))
        results = [json.loads((path / RESULT_FILE).read_text("utf-8")) for path in folders]
        if len(results) != runs or any(r["status"] != "completed" for r in results):
            raise RuntimeError(f"{len(results)} of {runs} runs left a result, or some failed")
        losses = [float(read_metrics(path)[-1]["train/loss"] or 0.0) for path in folders]
    sizes = [int(r["group_size"]) for r in results]
    training = sum(r["seconds"]["train"] / r["group_size"] for r in results)
    return ShellSweep(seconds, startup, losses, sizes, training)


def _command(work: Work, overrides: Sequence[str], runs: int, folder: Path) -> float:
    """Seconds of a sweep over ``runs`` seeds."""
    command = [
        sys.executable, "-m", "nnexp", "-m",
        f"model.hidden={list(work.widths[1:-1])}",
        "optimizer=adam",
        f"optimizer.lr={LEARNING_RATE}",
        f"trainer.batch_size={work.batch_size}",
        f"trainer.epochs={work.epochs}",
        "trainer.device=cpu",
        f"seed=range({runs})",
        f"hydra.sweep.dir={folder}",
        *overrides,
    ]  # fmt: skip
    folder.mkdir()
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, encoding="utf-8",
        errors="replace",
    )  # fmt: skip
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}\nended with {done.returncode}: {done.stderr}")
    return seconds
