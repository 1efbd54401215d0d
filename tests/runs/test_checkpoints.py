"""Checkpoints: what goes in comes out, and no flipped bit goes unnoticed."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnexp.errors import DataError
from nnexp.runs.checkpoints import load_checkpoint, save_checkpoint


def a_state() -> dict[str, Any]:
    return {
        "format": 1,
        "epoch": 7,
        "best_loss": 0.1 + 0.2,
        "best_epoch": None,
        "nesterov": True,
        "class_names": ["ja", "größe"],
        "betas": (0.9, 0.999),
        "model": {"output.weight": torch.arange(6.0).view(2, 3), "output.bias": torch.zeros(2)},
        "optimizer": {"step": torch.tensor(45), "half": torch.ones(3, dtype=torch.bfloat16)},
    }


def assert_same(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            assert_same(left[key], right[key])
    else:
        assert left == right


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "checkpoints" / "last.pt", a_state())
    assert_same(load_checkpoint(tmp_path / "checkpoints" / "last.pt"), a_state())


def test_torch_alone_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, a_state())
    assert_same(torch.load(path, weights_only=True), a_state())
    assert_same(torch.load(path, weights_only=True, mmap=True), a_state())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"nnexp sha256 ")


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        save_checkpoint(tmp_path / name, a_state())
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_a_view_takes_its_own_elements_along_and_no_more(tmp_path: Path) -> None:
    flat = torch.randn(1000, 100, requires_grad=True)  # 400 kB
    state = {"row": flat[3], "column": flat[:, 3], "parameter": nn.Parameter(torch.ones(2))}
    save_checkpoint(tmp_path / "last.pt", state)
    assert (tmp_path / "last.pt").stat().st_size < 10_000
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert torch.equal(loaded["row"], flat[3])
    assert torch.equal(loaded["column"], flat[:, 3])
    assert not any(tensor.requires_grad for tensor in loaded.values())


def test_tensors_that_make_up_a_buffer_are_stored_together(tmp_path: Path) -> None:
    weight, bias = torch.arange(8.0).split([6, 2])
    save_checkpoint(tmp_path / "best.pt", {"weight": weight.view(2, 3), "bias": bias})
    with zipfile.ZipFile(tmp_path / "best.pt") as archive:
        sizes = [i.file_size for i in archive.infolist() if "/data/" in i.filename]
    assert sizes == [8 * 4]
    loaded = torch.load(tmp_path / "best.pt", weights_only=True)
    assert torch.equal(loaded["weight"], torch.arange(6.0).view(2, 3))
    assert torch.equal(loaded["bias"], torch.tensor([6.0, 7.0]))


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(path, {"epoch": 7, "weight": torch.tensor([1.0, -2.5])})
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(path.read_bytes()):
            for flipped in (*(byte ^ 1 << bit for bit in range(8)), byte):
                file.seek(position)
                file.write(bytes([flipped]))
                if flipped == byte:
                    assert load_checkpoint(path)["epoch"] == 7
                else:
                    with pytest.raises(DataError, match=r"best\.pt is damaged"):
                        load_checkpoint(path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    save_checkpoint(path, {"epoch": 7, "weight": torch.tensor([1.0, -2.5])})
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        with pytest.raises(DataError, match=r"best\.pt is damaged"):
            load_checkpoint(path)


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    torch.save(a_state(), tmp_path / "other.pt")
    with pytest.raises(DataError, match=r"other\.pt is damaged, or not a checkpoint of nnexp"):
        load_checkpoint(tmp_path / "other.pt")


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.pt: No such file or directory$"):
        load_checkpoint(tmp_path / "gone.pt")


class Bomb:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


def test_a_forged_seal_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    torch.save({"bomb": Bomb()}, buffer)
    sealed = buffer.getvalue()[:-2] + (77).to_bytes(2, "little")
    seal = b"nnexp sha256 " + hashlib.sha256(sealed).hexdigest().encode()
    Path("forged.pt").write_bytes(sealed + seal)
    with pytest.raises(DataError, match=r"forged\.pt cannot be read by torch \d") as caught:
        load_checkpoint(Path("forged.pt"))
    assert "\n" not in str(caught.value)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.float64(0.5), "float64"),
        (np.zeros(2), "ndarray"),
        (Path(), "PosixPath"),
        ({1, 2}, "set"),
        ([{"deep": np.int64(1)}], "int64"),
    ],
)
def test_what_could_not_be_loaded_is_not_written(tmp_path: Path, value: object, name: str) -> None:
    save_checkpoint(tmp_path / "last.pt", a_state())
    with pytest.raises(TypeError, match=rf"^last\.pt: lr.* is a {name}, neither a tensor nor"):
        save_checkpoint(tmp_path / "last.pt", {"lr": value})
    assert_same(load_checkpoint(tmp_path / "last.pt"), a_state())


def test_a_failing_write_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    save_checkpoint(tmp_path / "last.pt", a_state())
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path / "last.pt", {"epoch": 8})
    assert_same(load_checkpoint(tmp_path / "last.pt"), a_state())
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
