"""Which networks predict: of a run, of a sweep the best, the mean of an arm, or each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import Once
from prediction_cases import rows, table_of, trained

from nnexp.errors import DataError
from nnexp.prediction.predictors import choose, run_of
from nnexp.runs.trained_network import Treatment


def sweep(folder: Path) -> None:
    """Two arms of two seeds, put together from runs."""
    for number, (seed, lr) in enumerate([(0, 0.001), (1, 0.001), (0, 0.05), (1, 0.05)]):
        trained(folder / str(number), f"seed={seed}", f"optimizer.lr={lr}")
    (folder / "multirun.yaml").write_text("hydra: {}\n")


@pytest.fixture(scope="session")
def people_sweep(once: Once) -> Path:
    return once("people_sweep", sweep)


def ranks(folder: Path) -> list[tuple[float, float]]:
    """The least is the best."""
    results = [json.loads((folder / str(n) / "result.json").read_bytes()) for n in range(4)]
    return [(-result["metrics"]["val/acc"], result["metrics"]["val/loss"]) for result in results]


def test_the_best_run_by_validation_accuracy(people_sweep: Path) -> None:
    found = ranks(people_sweep)
    best = found.index(min(found))
    chosen = choose(people_sweep)
    assert [one.name for one in chosen.predictors] == [str(best)]
    assert chosen.folder == people_sweep / str(best)
    assert chosen.how is not None
    assert f"the best of 4 by validation accuracy ({-min(found)[0]:.4g})" in chosen.how
    assert run_of(people_sweep) == (chosen.folder, chosen.how)
    assert run_of(people_sweep / "1") == (people_sweep / "1", None)


def test_an_ensemble_averages_the_best_arm_over_its_seeds(people_sweep: Path) -> None:
    found = ranks(people_sweep)
    arms = {first: tuple(map(sum, zip(*found[first : first + 2], strict=True))) for first in (0, 2)}
    first = min(arms, key=arms.__getitem__)
    (ensemble,) = choose(people_sweep, ensemble=True).predictors
    table = table_of(rows(40))
    members = [
        choose(people_sweep / str(first + n)).predictors[0].outputs(table, Treatment())[0]
        for n in range(2)
    ]
    treatment = Treatment()
    probabilities, logs = ensemble.outputs(table, treatment)
    assert torch.equal(probabilities, torch.stack(members).double().mean(0).float())
    torch.testing.assert_close(logs.exp(), probabilities.double(), rtol=0, atol=1e-7)
    assert treatment.filled == {  # each cell once
        "age": sum(row[0] == "" for row in rows(40)), "city": sum(row[1] == "" for row in rows(40)),
    }  # fmt: skip


def test_each_run(people_sweep: Path) -> None:
    chosen = choose(people_sweep, each=True)
    assert [one.name for one in chosen.predictors] == ["0", "1", "2", "3"]


def test_what_is_no_choice_is_told(people_sweep: Path, tmp_path: Path) -> None:
    for folder, options, problem in [
        (people_sweep / "0", {"ensemble": True}, "is one run; --ensemble is for the folder of a "
         "sweep"),
        (people_sweep / "0", {"each": True}, "is one run; --all is for the folder of a sweep"),
        (people_sweep.parent / "absent", {}, "no such folder; give the folder of a run or of a "
         "sweep"),
        (people_sweep / "multirun.yaml", {}, "is a file, not a folder; give the folder of a run or "
         "of a sweep"),
        (tmp_path, {}, "holds no run and no sweep"),
    ]:  # fmt: skip
        with pytest.raises(DataError) as caught:
            choose(folder, **options)
        assert str(caught.value) == f"{folder}: {problem}"


def test_runs_on_different_data_are_not_compared(people_sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(people_sweep, folder)
    path = folder / "1" / "result.json"
    result = json.loads(path.read_bytes())
    result["dataset"]["name"] = "others"
    result["dataset"]["fingerprint"] = "0" * 64
    path.write_text(json.dumps(result))
    for options in ({}, {"ensemble": True}, {"each": True}):
        with pytest.raises(DataError, match=r"on 2 different data sets \(others, people\)"):
            choose(folder, **options)
