"""What is said, done and kept where memory runs out; on the CPU, with made-up failures."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from cuda_cases import most_of_the_gpu  # noqa: F401
from engine_cases import adam, make_config
from injection import injected

from nnexp import out_of_memory
from nnexp.config.schema import BundledConfig
from nnexp.data import load
from nnexp.errors import DataError, DoesNotFitError, is_out_of_memory
from nnexp.models.layout import Structure
from nnexp.out_of_memory import does_not_fit, memory_of
from nnexp.runs.record import read_metrics, read_result

CPU = torch.device("cpu")
GIB = 2**30


# ── which errors are meant ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: not "
                     "enough memory: you tried to allocate 4000000000000 bytes."),
    ],
)  # fmt: skip
def test_memory_that_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        ValueError("a column called out of memory"),
        DataError("out of memory.csv: no such file"),
    ],
)
def test_other_errors(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_an_error_on_the_way_out_hides_nothing() -> None:
    """As of a capture that ends because memory ran out."""

    def capture() -> None:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    with pytest.raises(RuntimeError, match="previous error") as error:
        capture()
    assert is_out_of_memory(error.value)


def test_what_torch_really_says_on_the_cpu() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(10**15)
    assert is_out_of_memory(error.value)


# ── what is said ──────────────────────────────────────────────────────────────────────────────


def failure(
    count: int, device: str, monkeypatch: pytest.MonkeyPatch, error: Exception, **options: Any
) -> DoesNotFitError | None:
    """For so many runs on the digits, where the device has 8 GiB, of which 3.5 are free."""
    name = "cpu" if device == "cpu" else f"{device} (NVIDIA X)"
    monkeypatch.setattr(out_of_memory, "device_name", lambda _: name)
    monkeypatch.setattr(out_of_memory, "memory_of", lambda _: (8 * GIB, 7 * GIB // 2))
    structure = Structure(64, (16384, 16384), 10)
    config = make_config(structure, adam(), **options)
    dataset = load(BundledConfig(name="digits", split_seed=0))
    return does_not_fit(error, torch.device(device), [config] * count, dataset, structure)


def test_a_run_says_what_it_needs_and_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five flats of 268,468,227 numbers while training, and one each of best weights and of those
    that predict: 7 GiB."""
    line = str(failure(1, "cuda:1", monkeypatch, torch.OutOfMemoryError("CUDA out of memory.")))
    assert line == (
        "out of memory on cuda:1 (NVIDIA X, 8.0 GiB, 3.5 GiB free): model=mlp with 2.7e8 "
        "parameters needs about 7.2 GiB (parameters, gradients, optimizer state, best "
        "weights 7.0 GiB; a batch of 16 samples 4.0 MiB; evaluation 0.2 GiB; the data and their "
        "order 0.5 MiB); use a smaller model.hidden or trainer.batch_size, or trainer.device=cpu"
    )
    line = str(failure(1, "cpu", monkeypatch, MemoryError(), batch_size=10**7))
    assert line.startswith("out of memory on cpu (8.0 GiB, 3.5 GiB free): model=mlp with 2.7e8 ")
    assert line.endswith("; use a smaller model.hidden or trainer.batch_size")


def test_a_group_says_how_much_its_runs_need(monkeypatch: pytest.MonkeyPatch) -> None:
    line = failure(5, "cuda:0", monkeypatch, RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"))
    assert str(line) == (
        "out of memory on cuda:0 (NVIDIA X, 8.0 GiB, 3.5 GiB free): 5 runs at once need about "
        "36.0 GiB"
    )


@pytest.mark.parametrize(
    ("device", "free", "lies_there"),
    [("cuda:0", 4 * 2**20, True), ("cuda:0", 2**16, False), ("cpu", 2**16, True)],
)
def test_a_table_that_is_streamed_takes_nothing(
    device: str, free: int, lies_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is where it takes more than half of what is free, however much the device has."""
    dataset = load(BundledConfig(name="digits", split_seed=0))
    monkeypatch.setattr(out_of_memory, "memory_of", lambda _: (8 * GIB, free))
    table = 1797 * 64 * (4 if device == "cpu" or dataset.pixels is None else 1)
    expected = table if lies_there else 0
    assert out_of_memory._table_bytes(dataset, torch.device(device)) == expected


def test_other_errors_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failure(2, "cuda:0", monkeypatch, RuntimeError("an illegal memory access")) is None


def test_what_is_free_on_this_machine() -> None:
    found = memory_of(torch.device("cpu"))
    if found is None:
        pytest.skip("no /proc/meminfo here")
    total, free = found
    assert 0 < free < total


# ── what is done ──────────────────────────────────────────────────────────────────────────────


class _Large:
    """As a group: it is part of a cycle, so that only the collector frees it."""

    def __init__(self) -> None:
        self.myself = self


def test_what_had_been_allocated_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though somebody keeps the error, whose traceback holds the frames, which hold the group."""
    held: list[weakref.ref[_Large]] = []

    def training() -> Any:
        large = _Large()
        held.append(weakref.ref(large))
        yield
        raise torch.OutOfMemoryError("CUDA out of memory.")

    kept = None
    try:
        list(training())
    except torch.OutOfMemoryError as error:
        kept = error
    assert kept is not None
    gc.collect()
    assert held[0]() is not None
    assert failure(2, "cpu", monkeypatch, kept) is not None
    assert held[0]() is None


# ── from the command line ─────────────────────────────────────────────────────────────────────

# Groups of more than so many runs find no memory, in their second epoch.
_NO_ROOM = """
import torch
train = module.Group.train
def limited(group):
    for number, records in enumerate(train(group)):
        if number == 1 and len(group.runs) > MOST:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        yield records
module.Group.train = limited
"""


def nnexp(folder: Path, *arguments: str, most: int | None = None) -> tuple[int, str, list[str]]:
    """Exit code, standard output and the lines of standard error of ``python -m nnexp``."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if most is not None:
        environment |= injected(folder, "nnexp.engine.group", _NO_ROOM.replace("MOST", str(most)))
    done = subprocess.run(
        [sys.executable, "-m", "nnexp", "~hydra.callbacks.report", "dataset=iris",
         "baseline=none", "trainer.pictures=false", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_a_sweep_trains_in_smaller_groups(tmp_path: Path) -> None:
    """A run that has ended keeps its result, the others start anew: with the numbers that they have
    where there is room."""
    arguments = (
        "-m", "model=shallow", "seed=range(7)", "hydra.launcher.workers=1",
        "trainer.require_train_loss=1e9,null", "trainer.epochs=3",
    )  # fmt: skip
    roomy, narrow = tmp_path / "roomy", tmp_path / "narrow"
    for folder in (roomy, narrow):
        folder.mkdir()
    code, output, errors = nnexp(roomy, *arguments, "hydra.sweep.dir=out")
    assert (code, errors) == (0, [])
    assert "out of memory" not in output
    code, output, errors = nnexp(narrow, *arguments, "hydra.sweep.dir=out", most=3)
    assert (code, errors) == (0, [])
    lines = [line for line in output.splitlines() if "out of memory" in line]
    assert [re.sub(r".*: (\d+) runs .*; ", r"\1 runs: ", line) for line in lines] == [
        "14 runs: what is left of them starts anew, in groups of 7 at most",
        "4 runs: what is left of them starts anew, in groups of 2 at most",
    ]
    for num in range(14):
        expected, found = (read_result(folder / "out" / str(num)) for folder in (roomy, narrow))
        assert found.status == "completed"
        assert found.metrics == expected.metrics
        epochs = [
            [{k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(path)]
            for path in (roomy / "out" / str(num), narrow / "out" / str(num))
        ]
        assert epochs[0] == epochs[1]
        ended_before = num % 2 == 0  # in the first epoch, with the loss that it was to reach
        assert found.group_size == (14 if ended_before else 3 if num < 7 else 2)
    assert not list(narrow.glob("out/*/previous"))


def test_a_run_that_never_fits_in_a_sweep(tmp_path: Path) -> None:
    """It alone fails, with what it needs; here it is torch's own allocator that finds no memory."""
    code, _, errors = nnexp(
        tmp_path, "-m", "model=shallow", "model.hidden=[8],[400000,400000]", "trainer.epochs=1",
        "hydra.sweep.dir=out", "hydra.launcher.workers=1",
    )  # fmt: skip
    assert code == 1
    (line,) = errors
    assert line.startswith("nnexp: job 1 ")
    assert ": out of memory on cpu (" in line
    assert "model=shallow with 1.6e11 parameters needs about " in line
    assert read_result(tmp_path / "out" / "0").status == "completed"
    failed = read_result(tmp_path / "out" / "1")
    assert failed.status == "failed"
    assert line.endswith(failed.error or "-")


def test_a_single_run_that_does_not_fit(tmp_path: Path) -> None:
    code, _, errors = nnexp(
        tmp_path, "model=shallow", "model.hidden=[400000,400000]", "hydra.run.dir=out"
    )
    assert code == 1
    (line,) = errors
    needed = 4 * 7 * (400_000**2) / 2**30
    shown = re.search(r"needs about ([\d.]+) GiB \(parameters, gradients", line)
    assert shown is not None
    assert needed < float(shown[1]) < 1.01 * needed
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["status"], f"nnexp: {result['error']}") == ("failed", line)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.usefixtures("most_of_the_gpu")
def test_memory_of_a_gpu_is_given_back() -> None:
    """A real lack of memory: what had been allocated before can be had again."""
    device = torch.device("cuda")
    held = torch.cuda.memory_reserved(device)

    def training() -> None:
        _, free = memory_of(device) or (0, 0)
        half = torch.empty(free // 2, dtype=torch.uint8, device=device)
        assert torch.cuda.memory_reserved(device) >= half.nbytes
        torch.empty_like(half, dtype=torch.float64)

    try:
        training()
    except torch.OutOfMemoryError as error:
        structure = Structure(64, (32,), 10)
        dataset = load(BundledConfig(name="digits", split_seed=0))
        unfit = does_not_fit(error, device, [make_config(structure)], dataset, structure)
    assert unfit is not None
    assert "GiB free): model=mlp with " in str(unfit)
    assert torch.cuda.memory_reserved(device) <= held  # not what is free: others come and go
