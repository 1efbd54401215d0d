"""Where a run computes, and what is said where it cannot."""

from __future__ import annotations

import warnings

import pytest
import torch

from nnexp.config.schema import TrainerConfig
from nnexp.device import (
    Precision,
    cuda_problem,
    device_name,
    matmul_precision,
    resolve_device,
    resolve_precision,
    resolve_threads,
    threads,
)
from nnexp.environment import available_cores
from nnexp.errors import ConfigError
from nnexp.models.layout import Structure

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


_TOO_OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 12080). "
    "Please update your GPU driver by downloading and installing a new version from the URL: "
    "http://www.nvidia.com/Download/index.aspx (Triggered internally at CUDAFunctions.cpp:119.)"
)


def test_why_cuda_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """torch warns once, when it is first asked, and has no device then."""
    left = [_TOO_OLD]

    def is_available() -> bool:
        if left:
            warnings.warn(left.pop(), stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    cuda_problem.cache_clear()
    try:
        why = "The NVIDIA driver on your system is too old (found version 12080)"
        for name in ("cuda", "cuda:1"):
            with pytest.raises(ConfigError) as error:
                resolve_device(name)
            assert str(error.value) == (
                f"trainer.device={name}: torch {torch.__version__} finds no CUDA device here "
                f"({why}); use trainer.device=cpu"
            )
        assert caplog.messages == []
        assert resolve_device("auto") == CPU
        assert caplog.messages == [
            f"trainer.device=auto: CUDA is unavailable ({why}); using the CPU"
        ]
    finally:
        cuda_problem.cache_clear()


@pytest.mark.parametrize(
    ("device", "name"),
    [("cpu", "cpu"), ("cuda", "cuda:1 (GPU 1)"), ("cuda:0", "cuda:0 (GPU 0)")],
)
def test_a_record_says_which_gpu_it_was(
    device: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    assert device_name(torch.device(device)) == name


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("able", [True, False])
def test_precision(kind: str, able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 everywhere, the others where the device has instructions for them."""
    device = torch.device(kind)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: able)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0) if able else (7, 5))
    assert resolve_precision("float32", device) == Precision(torch.float32)
    others = {"bfloat16": Precision(torch.bfloat16), "tf32": Precision(torch.float32, tf32=True)}
    for name, expected in others.items():
        if able and (name, kind) != ("tf32", "cpu"):
            assert resolve_precision(name, device) == expected
            continue
        with pytest.raises(ConfigError) as error:
            resolve_precision(name, device)
        why = f"this {kind} has no {name} instructions"
        if (name, kind) == ("tf32", "cpu"):
            why = "is for CUDA devices"
        assert str(error.value) == (
            f"trainer.precision={name}: {why}; use trainer.precision=float32"
        )


@pytest.mark.parametrize("before", ["none", "ieee", "tf32"])
def test_products_of_float32_on_cuda(before: str) -> None:
    """In TF32 where that is wanted and nowhere else; what was set before is set again."""
    matmul = torch.backends.cuda.matmul
    matmul.fp32_precision = before
    try:
        with matmul_precision(Precision(torch.float32, tf32=True)):
            assert matmul.fp32_precision == "tf32"
            with matmul_precision(Precision(torch.float32)):
                assert matmul.fp32_precision == "ieee"
            assert matmul.fp32_precision == "tf32"
        assert matmul.fp32_precision == before
        with matmul_precision(Precision(torch.bfloat16)):
            assert matmul.fp32_precision == "ieee"
        with pytest.raises(KeyError), matmul_precision(Precision(torch.bfloat16)):
            raise KeyError
        assert matmul.fp32_precision == before
    finally:
        matmul.fp32_precision = "none"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tf32_rounds_factors_and_float32_does_not() -> None:
    """1 + 2^-12 has more digits than TF32 keeps, and its products with 1 as many as it had."""
    device = torch.device("cuda")
    fine = torch.full((256, 256), 1 + 2**-12, device=device)
    one = torch.eye(256, device=device)
    with matmul_precision(resolve_precision("float32", device)):
        assert torch.equal(fine @ one, fine)
        assert torch.equal(torch.bmm(fine[None], one[None])[0], fine)
    with matmul_precision(resolve_precision("tf32", device)):
        assert torch.equal(fine @ one, torch.ones_like(fine))
        assert torch.equal(torch.bmm(fine[None], one[None])[0], torch.ones_like(fine))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("hidden", "batch_size", "told", "small"),
    [((32,), 32, None, True), ((128,) * 4, 64, None, True), ((512, 256), 128, None, False),
     ((512, 256), 128, 3, None), ((32,), 32, 2, None)],
)  # fmt: skip
def test_threads_follow_the_runs_own_config(
    hidden: tuple[int, ...],
    batch_size: int,
    told: int | None,
    small: bool | None,
    strict: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One for small steps, all cores for large ones if their bits allow it, or as configured."""
    monkeypatch.setattr("nnexp.device.ignores_threads", lambda: strict)
    trainer = TrainerConfig(batch_size=batch_size, threads=told)
    features = 784 if hidden[0] > 500 else 64
    flops = Structure(features, hidden, 10).flops_per_row()
    expected = told if told is not None else available_cores() if strict and not small else 1
    assert resolve_threads(trainer, flops) == expected
    assert resolve_threads(trainer, flops, batched=True) == (1 if told is None else told)
    # Runs in bfloat16 are never batched on the CPU: in a sweep they train as they do solo.
    trainer.precision = "bfloat16"
    expected = told if told is not None else 1 if small else available_cores()
    assert resolve_threads(trainer, flops) == expected
    assert resolve_threads(trainer, flops, batched=True) == expected


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(KeyError), threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before
