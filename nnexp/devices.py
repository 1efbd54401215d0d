"""Where a run computes: its device, the type of its products, its threads."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from nnexp.blas import ignores_threads, openblas_threads
from nnexp.config.schema import TrainerConfig
from nnexp.environment import available_cores
from nnexp.errors import ConfigError

log = logging.getLogger(__name__)

# Below this many floating-point operations a step, a second thread costs more than it saves; see
# benchmarks/README.md.
_FLOPS_FOR_THREADS = 30e6


def resolve_device(name: str) -> torch.device:
    """The device that ``trainer.device`` names; ``auto`` is CUDA where there is one.

    Raises:
        ConfigError: no such device here, or not a device's name.
    """
    if name == "auto":
        problem = cuda_problem()
        if torch.cuda.is_available():
            return torch.device("cuda")
        if problem:
            _tell_once(problem)
        return torch.device("cpu")
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if not match:
        raise ConfigError(f"trainer.device={name}: must be auto, cpu, cuda or cuda:N")
    if name == "cpu":
        return torch.device("cpu")
    problem = cuda_problem()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise ConfigError(
            f"trainer.device={name}: torch {torch.__version__} finds no CUDA device here"
            + (f" ({problem})" if problem else "")
            + "; use trainer.device=cpu"
        )
    if match[1] and int(match[1]) >= count:
        raise ConfigError(
            f"trainer.device={name}: this machine has {count} CUDA device(s), the last one is "
            f"cuda:{count - 1}"
        )
    return torch.device(name)


@functools.cache
def cuda_problem() -> str | None:
    """What torch complains of when it looks for GPUs, such as a driver that is too old; None where
    there are some, or just none. It warns once in a process, at length and from C++."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.is_available()
    for warning in caught:
        text = str(warning.message).removeprefix("CUDA initialization: ")
        return " ".join(re.split(r"\(Triggered internally|\.\s|\n", text)[0].split()).rstrip(".")
    return None


@functools.cache
def _tell_once(problem: str) -> None:
    log.warning("trainer.device=auto: CUDA is unavailable (%s); using the CPU", problem)


@dataclass(frozen=True)
class Precision:
    """In what a run multiplies matrices. Parameters, gradients and sums are float32 always."""

    dtype: torch.dtype  # of the factors: float32 or bfloat16
    tf32: bool = False  # float32 factors may be rounded to TF32, 10 bits behind the point


def resolve_precision(name: str, device: torch.device) -> Precision:
    """What ``trainer.precision`` names.

    Raises:
        ConfigError: the device cannot compute in it.
    """
    if name == "float32":
        return Precision(torch.float32)
    if name == "tf32" and device.type != "cuda":
        raise ConfigError(
            "trainer.precision=tf32: is for CUDA devices; use trainer.precision=float32"
        )
    if device.type == "cuda":
        # TF32 and bfloat16 came with compute capability 8.0, Ampere.
        able = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        able = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if not able:
        raise ConfigError(
            f"trainer.precision={name}: this {device.type} has no {name} instructions; "
            "use trainer.precision=float32"
        )
    return Precision(torch.float32, tf32=True) if name == "tf32" else Precision(torch.bfloat16)


@contextlib.contextmanager
def products(precision: Precision) -> Iterator[None]:
    """Have CUDA multiply float32 matrices in float32, or in TF32 where the run says so.

    Whatever the program or its environment has set is set again afterwards. Inside, nothing may ask
    for ``allow_tf32`` or ``get_float32_matmul_precision``: torch refuses to mix these older names
    with the one that is used here.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32" if precision.tf32 else "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def resolve_threads(
    trainer: TrainerConfig, flops_per_row: int, *, batched: bool = False, by_torch: bool = False
) -> int:
    """CPU threads of a run: ``trainer.threads``, else one, or all cores where that is faster and
    leaves the bits as they are.

    It is faster for large steps that do not share the cores with other groups. The bits stay if
    matrix products ignore the number of threads. Else a run that used several would have other
    bits than the same run in a sweep, where one a run lets runs train together. bfloat16 is never
    batched on the CPU.

    Args:
        batched: in a sweep, whose workers share the cores.
        by_torch: the last bits depend on the number of threads in any case.
    """
    if trainer.threads is not None:
        return trainer.threads
    if flops_per_row * trainer.batch_size < _FLOPS_FOR_THREADS:
        return 1
    if trainer.precision == "bfloat16":
        return available_cores()
    return available_cores() if ignores_threads() and not (batched or by_torch) else 1


def device_name(device: torch.device) -> str:
    """For a record: ``cpu``, or the GPU's number and name. ``cuda`` is the current one."""
    if device.type == "cpu":
        return "cpu"
    number = torch.cuda.current_device() if device.index is None else device.index
    return f"cuda:{number} ({torch.cuda.get_device_name(number)})"


@contextlib.contextmanager
def current(device: torch.device) -> Iterator[None]:
    """Let a GPU be the one that is meant where none is named, in this thread and inside.

    Kernels that are not torch's own are launched there, wherever their tensors lie.
    """
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch, and OpenBLAS where it multiplies, use ``count`` CPU threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with openblas_threads(count):
            yield
    finally:
        torch.set_num_threads(before)
