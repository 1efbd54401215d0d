"""predictions.npz: what comes back, and what is said of a damaged one."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnexp.errors import DataError
from nnexp.runs.predictions import Predictions, read_predictions, write_predictions


def some(rows: int = 7) -> Predictions:
    generator = np.random.Generator(np.random.PCG64(0))
    return Predictions(
        probabilities=generator.dirichlet([1, 1, 1], rows).astype(np.float32),
        labels=generator.integers(0, 3, rows, dtype=np.int32),
        rows=np.arange(10, 10 + rows, dtype=np.int32),
        baselines={"knn": generator.integers(0, 3, rows, dtype=np.int32)},
    )


def test_predictions_are_read_back(tmp_path: Path) -> None:
    written = some()
    write_predictions(tmp_path, written)
    found = read_predictions(tmp_path)
    for name in ("probabilities", "labels", "rows"):
        array = getattr(found, name)
        assert array.dtype == getattr(written, name).dtype
        np.testing.assert_array_equal(array, getattr(written, name))
    assert list(found.baselines) == ["knn"]
    np.testing.assert_array_equal(found.baselines["knn"], written.baselines["knn"])
    np.testing.assert_array_equal(found.predicted, written.probabilities.argmax(1))


def test_the_file_is_what_numpy_reads(tmp_path: Path) -> None:
    write_predictions(tmp_path, some())
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as file:
        assert file.files == ["probabilities", "labels", "rows", "baseline:knn"]
        assert file["probabilities"].shape == (7, 3)


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_predictions(tmp_path / name, some())
    first, second = (tmp_path / name / "predictions.npz" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    """Any flipped bit in the numbers, wherever the file is cut, and what is no such file."""
    write_predictions(tmp_path, some(60))
    path = tmp_path / "predictions.npz"
    whole = path.read_bytes()
    numbers = whole.index(some(60).probabilities.tobytes())
    damaged = [whole[:cut] for cut in range(0, len(whole), 97)]
    damaged += [b"", b"{}", b"\x80\x04.", np.int32(3).tobytes()]
    for place in range(numbers, numbers + 60 * 3 * 4, 41):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"predictions\.npz is damaged, or not") as caught:
            read_predictions(tmp_path)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(DataError, match=r"predictions\.npz: No such file or directory"):
        read_predictions(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "lacks labels"),
        ({"probabilities": np.ones(7)}, r"probabilities are \[7\] of float64"),
        ({"rows": np.ones(7)}, r"rows is \[7\] of float64"),
        ({"rows": np.ones(6, np.int32)}, "rows has 6 rows, labels have 7"),
        ({"baseline:knn": np.ones(8, np.int32)}, "knn has 8 rows, labels have 7"),
    ],
)
def test_arrays_that_do_not_fit_are_named(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    own = vars(some())
    arrays = {name: own[name] for name in ("probabilities", "labels", "rows")} | changes
    kept = {name: array for name, array in arrays.items() if array is not None}
    np.savez(tmp_path / "predictions.npz", **kept)
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path)


def test_reading_results_takes_no_torch() -> None:
    script = (
        "import sys, nnexp.runs.predictions, nnexp.runs.record\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'tensorboard', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_probabilities_of_baselines_are_kept_beside_their_classes(tmp_path: Path) -> None:
    told = some()
    assert told.baseline_probabilities == {}
    own = {"knn": told.probabilities[::-1].copy()}
    write_predictions(tmp_path, dataclasses.replace(told, baseline_probabilities=own))
    found = read_predictions(tmp_path)
    np.testing.assert_array_equal(found.baseline_probabilities["knn"], own["knn"])
    assert found.baselines.keys() == told.baselines.keys()
    short = {"knn": own["knn"][:3]}
    write_predictions(tmp_path, dataclasses.replace(told, baseline_probabilities=short))
    with pytest.raises(DataError, match="baseline probabilities:knn has 3 rows, labels have 7"):
        read_predictions(tmp_path)
