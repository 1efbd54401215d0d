"""Products by either library, and that a run's bits do not depend on the runs beside it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_cases import make_config, make_run, make_table, same_bits, train
from torch import Tensor

from nnexp import device
from nnexp.data.on_device import Floats
from nnexp.device import (
    by_openblas,
    description,
    ignores_threads,
    library,
    resolve_threads,
    threads,
)
from nnexp.engine import Group
from nnexp.environment import Processor, available_cores, processor
from nnexp.errors import ConfigError
from nnexp.models.layers import OpenBlasMatmul, TorchMatmul, matmul
from nnexp.models.layout import Structure

FOLDER = Path(__file__).parents[1] / "helpers"
CPU = torch.device("cpu")
has_openblas = pytest.mark.skipif(
    device._openblas() is None, reason="this NumPy has no OpenBLAS of its own"
)
has_mkl = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch without MKL")
shows_mode = pytest.mark.skipif(device._mkl_mode() is None, reason="this MKL hides its mode")
BOTH = ("mkl", pytest.param("openblas", marks=has_openblas))


def select(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``name`` multiply; None: what the processor says."""
    monkeypatch.delenv(device.VARIABLE, raising=False)
    if name is not None:
        monkeypatch.setenv(device.VARIABLE, name)
    library.cache_clear()


@pytest.fixture(autouse=True)
def the_own_library_again() -> Iterator[None]:
    yield
    library.cache_clear()


@pytest.fixture
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    select(request.param, monkeypatch)
    return request.param


# ── values ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [TorchMatmul, pytest.param(OpenBlasMatmul, marks=has_openblas)])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("bias", [None, "rows", "columns"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values(
    kind: type[TorchMatmul | OpenBlasMatmul],
    transpose_a: bool,
    transpose_b: bool,
    bias: str | None,
    dtype: torch.dtype,
) -> None:
    """Small whole numbers: the right product is exact, in any order of additions."""
    product = kind(transpose_a=transpose_a, transpose_b=transpose_b)
    stream = torch.Generator().manual_seed(0)
    for runs, rows, inner, columns in itertools.product([1, 3], [1, 4, 33], [1, 5, 40], [1, 7]):

        def draw(*shape: int) -> Tensor:
            return torch.randint(-9, 10, shape, generator=stream).to(dtype)

        a, b = draw(runs, rows, inner), draw(runs, inner, columns)
        added = {"rows": draw(runs, rows, 1), "columns": draw(runs, 1, columns)}
        extra = None if bias is None else added[bias]
        out = torch.full((runs, rows, columns), torch.nan, dtype=dtype)
        product(
            a.transpose(1, 2).contiguous() if transpose_a else a,
            b.transpose(1, 2).contiguous() if transpose_b else b,
            out,
            extra,
        )
        right = (a.unsqueeze(3) * b.unsqueeze(1)).sum(2)
        assert torch.equal(out, right if extra is None else right + extra)


@has_openblas
def test_a_product_follows_its_tensors() -> None:
    """Views are kept for the same tensor, and are of its present values; others get their own."""
    product = OpenBlasMatmul()
    eye, out = torch.eye(3).expand(2, 3, 3).contiguous(), torch.empty(2, 3, 3)
    for step in range(3):
        for a in (torch.full((2, 3, 3), float(step)), torch.full((2, 3, 3), step + 0.5)):
            product(a, eye, out)
            assert torch.equal(out, a)
            a.mul_(2)
            product(a, eye, out)
            assert torch.equal(out, a)
    other = torch.empty(2, 3, 3)
    product(a, eye, other)
    assert torch.equal(other, a)


# ── bits ──────────────────────────────────────────────────────────────────────────────────────

Place = Callable[[Tensor, int], Tensor]


def shifted(tensor: Tensor, offset: int) -> Tensor:
    """The same numbers, their first ``offset`` numbers behind a multiple of 64 bytes."""
    flat = torch.empty(tensor.numel() + 32)
    start = -(flat.data_ptr() // 4) % 16 + offset
    return flat[start : start + tensor.numel()].view(tensor.shape).copy_(tensor)


@pytest.mark.parametrize("chosen", BOTH, indirect=True)
@pytest.mark.parametrize("way", ["forward", "weights", "inputs"])
def test_bits_do_not_depend_on_addresses(chosen: str, way: str) -> None:
    """Of either factor or of the result: in a group they differ from run to run."""
    stream = torch.Generator().manual_seed(1)
    with threads(1):
        for width in range(1, 34):
            for rows, inner in ((32, 10), (7, width), (20, 33)):
                shapes = {
                    "forward": ((rows, inner), (width, inner)),
                    "weights": ((rows, width), (rows, inner)),
                    "inputs": ((rows, width), (width, inner)),
                }[way]
                a, b = (torch.randn(2, *shape, generator=stream) for shape in shapes)
                product = matmul(a, transpose_a=way == "weights", transpose_b=way == "forward")
                columns = width if way == "forward" else inner
                out = torch.empty(2, width if way == "weights" else rows, columns)
                found = set()
                for offsets in itertools.product((0, 1, 3), (0, 2), (0, 1, 2, 3)):
                    first, second, result = map(shifted, (a, b, out), offsets)
                    product(first, second, result)
                    found.add(result.numpy().tobytes())
                assert len(found) == 1, (width, rows, inner)


@pytest.mark.parametrize("chosen", BOTH, indirect=True)
def test_equal_runs_have_equal_products(chosen: str) -> None:
    """The case in which MKL without its mode differed on an AMD processor: 70 numbers a run."""
    stream = torch.Generator().manual_seed(2)
    for rows, inner, columns in itertools.product((3, 7, 9), (16, 32, 33), (1, 5, 10)):
        a = torch.randn(1, rows, inner, generator=stream).repeat(5, 1, 1)
        b = torch.randn(1, inner, columns, generator=stream).repeat(5, 1, 1)
        gap = torch.zeros(5, rows * columns + 16)  # as rows of the gradients lie apart
        for out in (torch.empty(5, rows, columns), gap[:, : rows * columns].view(5, rows, columns)):
            with threads(1):
                matmul(a)(a, b, out)
            assert all(same_bits(out[0], other) for other in out[1:]), (rows, inner, columns)


ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"MKL_CBWR": ""},
    {"MKL_CBWR": "AUTO"},
    {"MKL_CBWR": "COMPATIBLE"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    {"NNEXP_MATMUL": "mkl"},
    {"NNEXP_MATMUL": "openblas"},
    {"NNEXP_MATMUL": "openblas", "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
    {"NNEXP_MATMUL": "openblas", "ATEN_CPU_CAPABILITY": "avx2"},
]


@pytest.mark.parametrize(
    ("number", "variables"),
    list(enumerate(ENVIRONMENTS)),
    ids=[" ".join(f"{k}={v}" for k, v in e.items()) or "as it is" for e in ENVIRONMENTS],
)
def test_random_runs_solo_and_batched(number: int, variables: dict[str, str]) -> None:
    """Random networks for each setting of the libraries, others for each, in a process of its own:
    what differs in one setting at times differs in several."""
    if variables.get("NNEXP_MATMUL") == "openblas" and device._openblas() is None:
        pytest.skip("this NumPy has no OpenBLAS of its own")
    done = python(
        str(FOLDER / "company_cases.py"),
        "--first",
        str(100 * number),
        "--cases",
        "12" if number else "25",
        **variables,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


# ── the mode of MKL ───────────────────────────────────────────────────────────────────────────

TRAIN = """
import sys
sys.path.insert(0, {folder!r})
import torch
{before}
from company_cases import differing_runs
differing_runs(3)
"""


def python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a fresh environment: nothing of what the tests' own process has prepared."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MKL_CBWR", "OMP_WAIT_POLICY")}
    return subprocess.run(
        [sys.executable, *arguments], env={**kept, **variables},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@has_mkl
@pytest.mark.parametrize("value", ["", "COMPATIBLE"])
def test_whoever_trains_gets_a_reproducible_mode_of_mkl(value: str) -> None:
    """A program that imports the engine, and prepares nothing."""
    code = TRAIN.format(folder=str(FOLDER), before="")
    done = python("-c", code, MKL_VERBOSE="1", MKL_CBWR=value, NNEXP_MATMUL="mkl")
    assert done.returncode == 0, done.stderr
    products = [line for line in done.stdout.splitlines() if "GEMM" in line]
    assert len(products) > 10
    assert [line for line in products if "CNR:" not in line or "CNR:OFF" in line] == []


@has_mkl
@shows_mode
@pytest.mark.skipif(not processor().is_intel, reason="strict modes are for Intel's processors")
def test_whoever_asks_for_threads_gets_the_strict_mode() -> None:
    """The first thing that a run asks of MKL, before there is a group; nothing was prepared."""
    code = (
        "import torch; from nnexp.config.schema import TrainerConfig; "
        "from nnexp.device import resolve_threads; "
        "from nnexp.device import check_mode, description; "
        "print(resolve_threads(TrainerConfig(batch_size=128), 3210240)); check_mode(); "
        "print(description(torch.device('cpu'), torch.float32))"
    )
    done = python("-c", code, NNEXP_MATMUL="mkl")
    threads, mode = done.stdout.split("\n")[:2]
    assert (int(threads), done.stderr) == (available_cores(), "")
    assert mode in ("MKL AVX512,STRICT", "MKL AVX2,STRICT")


@has_mkl
@shows_mode
def test_asking_too_late_is_loud() -> None:
    code = TRAIN.format(
        folder=str(FOLDER), before="torch.bmm(torch.ones(2, 64, 64), torch.ones(2, 64, 64))"
    )
    done = python("-c", code, NNEXP_MATMUL="mkl")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning: MKL is not in a reproducible mode") == 1
    assert python("-c", code, NNEXP_MATMUL="mkl", MKL_CBWR="AUTO").stderr == ""


@has_mkl
@has_openblas
def test_too_late_is_no_matter_where_mkl_does_not_multiply() -> None:
    code = TRAIN.format(
        folder=str(FOLDER), before="torch.bmm(torch.ones(2, 64, 64), torch.ones(2, 64, 64))"
    )
    assert python("-c", code, NNEXP_MATMUL="openblas").stderr == ""


@has_mkl
@shows_mode
@pytest.mark.parametrize("value", ["AUTO", "COMPATIBLE"])
def test_the_mode_that_mkl_is_in(value: str) -> None:
    """By a function that MKL does not document under this name: torch 2.11 to 2.13 have it."""
    code = (
        "import torch; from nnexp.device import *; "
        "print(description(torch.device('cpu'), torch.float32), ignores_threads(), sep=', ')"
    )
    done = python("-c", code, NNEXP_MATMUL="mkl", MKL_CBWR=value)
    assert done.stdout.strip() == f"MKL {value}, False"


# ── which library, how many threads ───────────────────────────────────────────────────────────

AVX512 = frozenset({"avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"})


@pytest.mark.parametrize(
    ("cpu", "fast"),
    [
        (Processor("AuthenticAMD", AVX512), "openblas"),
        (Processor("AuthenticAMD", frozenset({"avx2"})), "mkl"),
        (Processor("GenuineIntel", AVX512), "mkl"),
        (Processor(), "mkl"),
    ],
)
@pytest.mark.parametrize("wanted", [None, "mkl", pytest.param("openblas", marks=has_openblas)])
@pytest.mark.parametrize("present", [True, False])
def test_the_library_follows_from_the_processor_and_what_is_installed(
    cpu: Processor,
    fast: str,
    wanted: str | None,
    present: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    select(wanted, monkeypatch)
    monkeypatch.setattr(device, "processor", lambda: cpu)
    if not present:
        monkeypatch.setattr(device, "_openblas", lambda: None)
        if wanted == "openblas":
            with pytest.raises(
                ConfigError, match=r"NNEXP_MATMUL=openblas: NumPy .* use NNEXP_MATMUL=mkl"
            ):
                library()
            return
    elif fast == "openblas" and device._openblas() is None:
        pytest.skip("this NumPy has no OpenBLAS of its own")
    assert library() == (wanted or (fast if present else "mkl"))


@has_openblas
def test_openblas_is_found_behind_a_link(tmp_path: Path) -> None:
    """As of a virtual environment that is reached by another name."""
    packages = Path(np.__file__).resolve().parents[1]
    link = tmp_path / "packages"
    link.symlink_to(packages)
    code = "import numpy; from nnexp.device import _openblas; print(numpy.__file__, _openblas())"
    done = python("-c", code, PYTHONPATH=os.pathsep.join([str(link), str(FOLDER.parents[1])]))
    assert done.stdout.startswith(f"{link}{os.sep}"), done.stderr
    assert "None" not in done.stdout


def test_a_library_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    select("blis", monkeypatch)
    with pytest.raises(ConfigError, match="NNEXP_MATMUL=blis: must be mkl or openblas"):
        library()


@has_openblas
@pytest.mark.parametrize("chosen", ["openblas"], indirect=True)
def test_what_openblas_multiplies(chosen: str) -> None:
    assert by_openblas(torch.empty(1))
    assert by_openblas(torch.empty(1, dtype=torch.float64))
    assert not by_openblas(torch.empty(1, dtype=torch.bfloat16))
    assert not by_openblas(torch.empty(1, device="meta"))
    assert description(CPU, torch.float32).startswith("OpenBLAS 0.")
    assert description(CPU, torch.bfloat16) == "torch cpu"
    assert not ignores_threads()


@has_openblas
@pytest.mark.parametrize("chosen", ["openblas"], indirect=True)
@pytest.mark.parametrize("count", [1, 2])
def test_a_run_holds_the_threads_of_openblas(
    chosen: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was set before, in training and in prediction; then it is set again."""
    openblas = device._openblas()
    seen = set()
    multiply = OpenBlasMatmul.__call__

    def watch(self: OpenBlasMatmul, *operands: Tensor | None) -> None:
        seen.add(openblas.get_num_threads())
        multiply(self, *operands)

    monkeypatch.setattr(OpenBlasMatmul, "__call__", watch)
    structure, table = Structure(5, (9,), 3), make_table(60, 5, 3)
    run = make_run(make_config(structure, epochs=1), table, 40, 20)
    before = openblas.get_num_threads()
    try:
        for ambient in (1, 3):
            openblas.set_num_threads(ambient)
            group = Group([run], Floats(table.x), table.y, structure, num_threads=count)
            train(group)
            group.predict([0], run.val[None])
            assert openblas.get_num_threads() == ambient
    finally:
        openblas.set_num_threads(before)
    assert seen == {count}


@pytest.mark.parametrize(
    ("chosen", "mode", "vendor", "variable", "strict"),
    [
        ("mkl", 0x1000C, "GenuineIntel", "", True),
        ("mkl", 0x1000A, "GenuineIntel", "", True),
        ("mkl", 2, "GenuineIntel", "AVX512,STRICT", False),  # which came too late
        ("mkl", 2, "AuthenticAMD", "", False),
        ("mkl", 1, "GenuineIntel", "", False),
        ("mkl", None, "GenuineIntel", "AVX512,STRICT", True),  # an MKL that hides its mode
        ("mkl", None, "GenuineIntel", "AVX2", False),
        ("mkl", None, "AuthenticAMD", "AVX2,STRICT", False),
        pytest.param("openblas", 0x1000C, "GenuineIntel", "", False, marks=has_openblas),
    ],
    indirect=["chosen"],
)
def test_a_large_run_uses_threads_where_its_bits_stay(
    chosen: str,
    mode: int | None,
    vendor: str,
    variable: str,
    strict: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Solo and in a sweep, whose runs must come out the same."""
    monkeypatch.setattr(device, "_mkl_mode", lambda: mode)
    monkeypatch.setattr(device, "processor", lambda: Processor(vendor))
    monkeypatch.setattr("nnexp.device.available_cores", lambda: 6)
    monkeypatch.setenv("MKL_CBWR", variable)
    config = make_config(Structure(784, (512, 256), 10), batch_size=128).trainer
    flops = Structure(784, (512, 256), 10).flops_per_row()
    assert ignores_threads() == strict
    assert resolve_threads(config, flops) == (6 if strict else 1)
    assert resolve_threads(config, flops, batched=True) == 1
