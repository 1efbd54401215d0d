"""What a process asks of its libraries, for processors that other machines have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnexp import environment
from nnexp.environment import Processor, available_cores, prepare, reproducible_mode

AVX512 = "avx avx2 avx512f avx512dq avx512cd avx512bw avx512vl"
INTEL = (
    f"processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\nflags\t\t: fpu {AVX512} vnmi"
)
OLD_INTEL = "vendor_id\t: GenuineIntel\nflags\t\t: fpu sse2 avx avx2 bmi2"
OLDEST_INTEL = "vendor_id\t: GenuineIntel\nflags\t\t: fpu sse2"
PHI = "vendor_id\t: GenuineIntel\nflags\t\t: avx avx2 avx512f avx512cd avx512er avx512pf"
ZEN5 = f"vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 9755\nflags\t\t: fpu {AVX512} avx_vnni"
ZEN3 = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx avx2"
HYGON = f"vendor_id\t: HygonGenuine\nflags\t\t: fpu {AVX512}"
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41"
MIXED = f"{ZEN3}\n\nprocessor\t: 1\nvendor_id\t: GenuineIntel\nflags\t\t: {AVX512}\n"


@pytest.fixture
def cpu(request: pytest.FixtureRequest, tmp_path: Path) -> Processor:
    """The processor of a machine with this /proc/cpuinfo."""
    path = tmp_path / "cpuinfo"
    path.write_text(request.param + "\n", encoding="utf-8")
    return Processor.read(path)


@pytest.mark.parametrize(
    ("cpu", "mode", "amd_with_avx512"),
    [
        (INTEL, "AVX512,STRICT", False),
        (OLD_INTEL, "AVX2,STRICT", False),
        (PHI, "AVX2,STRICT", False),
        (OLDEST_INTEL, "AUTO", False),
        (ZEN5, "AUTO", True),
        (ZEN3, "AUTO", False),
        (HYGON, "AUTO", True),
        (ARM, "AUTO", False),
        (MIXED, "AUTO", False),
        ("", "AUTO", False),
    ],
    ids=["intel", "avx2", "phi", "sse", "zen5", "zen3", "hygon", "arm", "first", "nothing"],
    indirect=["cpu"],
)
def test_the_mode_follows_from_the_processor(
    cpu: Processor, mode: str, amd_with_avx512: bool
) -> None:
    assert reproducible_mode(cpu) == mode
    assert (cpu.is_amd and cpu.has_avx512) == amd_with_avx512


def test_a_system_that_lists_no_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "AMD64 Family 26 Model 2 Stepping 1, AuthenticAMD"
    monkeypatch.setattr("platform.processor", lambda: name)
    cpu = Processor.read(tmp_path / "absent")
    assert cpu == Processor("AuthenticAMD", frozenset())
    assert reproducible_mode(cpu) == "AUTO"


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, "AUTO"), ("", "AUTO"), ("COMPATIBLE", "COMPATIBLE"), ("AVX2", "AVX2")],
)
@pytest.mark.parametrize("cpu", [ZEN5], indirect=True)
def test_what_is_set_stays_and_an_empty_value_counts_as_none(
    cpu: Processor, before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "processor", lambda: cpu)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("MKL_CBWR", raising=False)
    if before is not None:
        monkeypatch.setenv("MKL_CBWR", before)
    prepare()
    assert os.environ["MKL_CBWR"] == after
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_preparing_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from nnexp.environment import prepare; prepare(); "
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no process masks here")
def test_available_cores_respect_the_process_mask() -> None:
    assert available_cores() == len(os.sched_getaffinity(0))
