"""Where a run computes, and what is said where it cannot."""

from __future__ import annotations

import os

import pytest
import torch

from nnexp.config.schema import TrainerConfig
from nnexp.devices import (
    resolve_device,
    resolve_precision,
    resolve_threads,
    threads,
)
from nnexp.environment import available_cores
from nnexp.errors import ConfigError
from nnexp.models.structure import Structure

CPU = torch.device("cpu")


@pytest.fixture
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A machine that says it has so many CUDA devices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("gpus", "name", "device"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:0", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
    ],
    indirect=["gpus"],
)
def test_device(gpus: int, name: str, device: str) -> None:
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("gpus", "name", "message"),
    [
        (0, "cuda", f"trainer.device=cuda: torch {torch.__version__} finds no CUDA device here; "
                    "use trainer.device=cpu"),
        (0, "cuda:1", f"trainer.device=cuda:1: torch {torch.__version__} finds no CUDA device "
                      "here; use trainer.device=cpu"),
        (2, "cuda:2", "trainer.device=cuda:2: this machine has 2 CUDA device(s), the last one is "
                      "cuda:1"),
        (2, "gpu", "trainer.device=gpu: must be auto, cpu, cuda or cuda:N"),
        (2, "cuda:", "trainer.device=cuda:: must be auto, cpu, cuda or cuda:N"),
        (2, "cuda:-1", "trainer.device=cuda:-1: must be auto, cpu, cuda or cuda:N"),
        (2, "cpu:0", "trainer.device=cpu:0: must be auto, cpu, cuda or cuda:N"),
        (2, "", "trainer.device=: must be auto, cpu, cuda or cuda:N"),
    ],
    indirect=["gpus"],
)  # fmt: skip
def test_no_such_device(gpus: int, name: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve_device(name)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("kind", "name"), [("cpu", "_is_mkldnn_bf16_supported"), ("cuda", "is_bf16_supported")]
)
def test_precision(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 everywhere, bfloat16 where the device has instructions for it."""
    device = torch.device(kind)
    place = torch.ops.mkldnn if kind == "cpu" else torch.cuda
    assert resolve_precision("float32", device) == torch.float32
    monkeypatch.setattr(place, name, lambda **_: True)
    assert resolve_precision("bfloat16", device) == torch.bfloat16
    monkeypatch.setattr(place, name, lambda **_: False)
    with pytest.raises(ConfigError) as error:
        resolve_precision("bfloat16", device)
    assert str(error.value) == (
        f"trainer.precision=bfloat16: this {kind} has no bfloat16 instructions; "
        "use trainer.precision=float32"
    )


@pytest.mark.parametrize(
    ("hidden", "batch_size", "told", "small"),
    [((32,), 32, None, True), ((128,) * 4, 64, None, True), ((512, 256), 128, None, False),
     ((512, 256), 128, 3, None), ((32,), 32, 2, None)],
)  # fmt: skip
def test_threads_follow_the_runs_own_config(
    hidden: tuple[int, ...], batch_size: int, told: int | None, small: bool | None
) -> None:
    """One for small steps, all cores for large ones, or as told."""
    trainer = TrainerConfig(batch_size=batch_size, threads=told)
    features = 784 if hidden[0] > 500 else 64
    flops = Structure(features, hidden, 10).flops_per_row()
    expected = told if told is not None else 1 if small else available_cores()
    assert resolve_threads(trainer, flops) == expected


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no process masks here")
def test_available_cores_respect_the_process_mask() -> None:
    assert available_cores() == len(os.sched_getaffinity(0))


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before
