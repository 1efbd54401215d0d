"""A GPU that fails for good in a process; on the CPU, with made-up failures.

That process must not be given anything else to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from injection import injected

from nnexp.config.schema import BaselinesConfig, BundledConfig
from nnexp.errors import is_lost_gpu
from nnexp.runs.record import read_result
from nnexp.sweeps import connection
from nnexp.sweeps.connection import WorkerConnection
from nnexp.sweeps.tasks import Wanted
from nnexp.sweeps.worker import Worker

ILLEGAL = "CUDA error: an illegal memory access was encountered"


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError(ILLEGAL), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"), True),
        (type("AcceleratorError", (RuntimeError,), {})("unspecified launch failure"), True),
        (RuntimeError("CUDA error: out of memory"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), False),
        (torch.OutOfMemoryError("CUDA out of memory."), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError(ILLEGAL), False),
    ],
)
def test_which_errors_are_meant(error: Exception, lost: bool) -> None:
    assert is_lost_gpu(error) is lost


# Groups of batch size 16 lose their GPU in the second epoch, so many times in all; and whatever
# their process trains from then on fails.
_LOST = """
import pathlib, torch
train = module.Group.train
state = {"lost": False}
def limited(group):
    for number, records in enumerate(train(group)):
        if group.runs[0].config.trainer.batch_size == 16 and number == 1:
            for place in range(TIMES):
                try:
                    pathlib.Path(f"lost-{place}").touch(exist_ok=False)
                except FileExistsError:
                    continue
                state["lost"] = True
                break
        if state["lost"]:
            raise RuntimeError("MESSAGE")
        yield records
module.Group.train = limited
"""


@pytest.mark.parametrize("times", [1, 2])
def test_another_process_goes_on_with_a_sweep(tmp_path: Path, times: int) -> None:
    """Its runs are tried once more; nothing else fails. One that had ended keeps its result."""
    code = _LOST.replace("TIMES", str(times)).replace("MESSAGE", ILLEGAL)
    done = subprocess.run(
        [sys.executable, "-m", "nnexp", "-m", "~hydra.callbacks.report", "dataset=iris",
         "baseline=none", "model=shallow", "trainer.batch_size=16,32", "trainer.epochs=3",
         "trainer.pictures=false",
         "trainer.require_train_loss=1e9,null", "seed=0,1", "hydra.launcher.workers=1",
         "hydra.sweep.dir=out"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1",
             **injected(tmp_path, "nnexp.engine.group", code)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    how = (
        f"could not work: unexpected RuntimeError: {ILLEGAL} "
        "(HYDRA_FULL_ERROR=1 shows the traceback)"
    )
    assert done.stdout.count(f"a worker process {how}; its 2 runs start anew") == 1
    assert len(list(tmp_path.glob("lost-*"))) == times
    found = [read_result(tmp_path / "out" / str(num)) for num in range(8)]
    lost = [num for num in range(8) if found[num].status != "completed"]
    if times == 1:
        assert (done.returncode, done.stderr, lost) == (0, "", [])
        return
    assert done.returncode == 1
    assert lost == [2, 3]  # with batches of 16, and no loss to reach in the first epoch
    (line,) = done.stderr.splitlines()
    assert line.startswith("nnexp: job 2 ")
    why = f"its worker process {how}, twice"
    assert line.endswith(f" (and 1 other job): {why}")
    assert {found[num].error for num in lost} == {why}


def test_a_baseline_that_loses_the_gpu_is_another_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker says nothing of it, and ends."""

    def broken(*_: object) -> Any:
        raise RuntimeError(ILLEGAL)

    said: list[object] = []
    pipe = SimpleNamespace(send=said.append, poll=lambda: False)
    config = SimpleNamespace(
        dataset=BundledConfig(name="iris", split_seed=0), baseline=BaselinesConfig(), imports=[]
    )
    monkeypatch.setattr("nnexp.sweeps.worker.compare", broken)
    wanted = Wanted("key", "knn", config)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="illegal memory access"):
        Worker(WorkerConnection(pipe), tmp_path).do(connection.Compute(wanted, "cpu"))  # type: ignore[arg-type]
    assert said == []
