"""What tests/golden.py compares, finds and leaves out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import Outcome, compare_outcomes, main, plan_lines, reason_to_allow
from golden_cases import Case, Step
from golden_files import ABSENT, Difference, Names, compare_folders, read_folder

from nnexp.runs.tensorboard import EventWriter

RESULT = {
    "status": "completed",
    "metrics": {"val/loss": 0.5, "val/acc": None},
    "baselines": {"knn": {"test/acc": 0.9, "seconds": 0.1, "seconds/predict": 0.01, "tried": []}},
    "seconds": {"total": 1.2},
    "versions": {"torch": "2.13"},
    "config": {"trainer": {"checkpoint_seconds": 30.0}},
}
EPOCH = {"epoch": 1, "train/loss": 1.5, "seconds": 0.1}
CHECKPOINT = {
    "model": {"weight": torch.tensor([[1.0, 2.0], [3.0, math.nan]])},
    "optimizer": {"exp_avg": {"weight": torch.zeros(2, dtype=torch.bfloat16)}, "step": 3},
}
SUMMARY = {
    "results": [
        {"cost": {"train_seconds": 0.1, "num_parameters": 9}, "curves": {"by_second": {"x": 1}}}
    ],
    "protocol": {"lines": [["runs", "2"], ["versions", "torch 2.13"]]},
}


def write_run(
    folder: Path,
    *,
    time: str = "10-00-00",
    result: Any = RESULT,
    epoch: Any = EPOCH,
    checkpoint: Any = CHECKPOINT,
    summary: Any = SUMMARY,
    loss: float = 0.25,
) -> Path:
    """A run's folder under ``folder``, with the files that are compared."""
    run = folder / "outputs" / "2026-01-01" / time
    for name in (".hydra", "checkpoints", "report"):
        (run / name).mkdir(parents=True)
    (run / "result.json").write_text(json.dumps(result))
    (run / "metrics.jsonl").write_text(json.dumps(epoch) + "\n")
    (run / ".hydra" / "config.yaml").write_text("seed: 0\nhidden: [8, 8]\n")
    (run / "report" / "summary.json").write_text(json.dumps(summary))
    (run / "report" / "runs.csv").write_text("folder,seconds.total,seed\n0,0.5,3\n")
    (run / "nnexp.log").write_text(f"at {time}")
    torch.save(checkpoint, run / "checkpoints" / "last.pt")
    np.savez(run / "predictions.npz", labels=np.arange(3, dtype=np.int32))
    writer = EventWriter(run)
    writer.start({"lr": 0.1})
    writer.scalars({"val/loss": loss}, 7)
    writer.image("picture", lambda: np.zeros((2, 3, 3), np.uint8), 7)
    writer.close()
    return run


def found(old: Path, new: Path) -> list[Difference]:
    """What differs between two folders, each with what one command left."""
    sides = [read_folder(folder, Names.of(folder, folder / "none")) for folder in (old, new)]
    return compare_folders(*sides)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    write_run(tmp_path / "old")
    return tmp_path / "old"


def test_times_and_versions_are_left_out(old: Path, tmp_path: Path) -> None:
    result = json.loads(json.dumps(RESULT))
    result["seconds"]["total"] = 3.4
    result["versions"]["torch"] = "2.14"
    result["baselines"]["knn"] |= {"seconds": 9.0, "seconds/predict": 9.0}
    summary = json.loads(json.dumps(SUMMARY))
    summary["results"][0]["cost"]["train_seconds"] = 5.0
    summary["results"][0]["curves"]["by_second"]["x"] = 2
    summary["protocol"]["lines"][1][1] = "torch 2.14"
    new = tmp_path / "new"
    run = write_run(
        new, time="11-22-33-2", result=result, summary=summary, epoch=EPOCH | {"seconds": 7.0}
    )
    (run / "report" / "runs.csv").write_text("folder,seconds.total,seed\n0,0.7,3\n")
    assert found(old, new) == []


@pytest.mark.parametrize(
    ("changed", "place", "values"),
    [
        (
            {"result": RESULT | {"metrics": {"val/loss": 0.5000000000000001, "val/acc": None}}},
            "result.json:metrics.val/loss",
            ("0.5", "0.5000000000000001"),
        ),
        (
            {"result": RESULT | {"metrics": {"val/loss": 0.5}}},
            "result.json:metrics.val/acc",
            ("None", ABSENT),
        ),
        (
            {"result": RESULT | {"config": {"trainer": {"checkpoint_seconds": 31.0}}}},
            "result.json:config.trainer.checkpoint_seconds",
            ("30.0", "31.0"),
        ),
        ({"epoch": EPOCH | {"epoch": 1.0}}, "metrics.jsonl:0.epoch", ("1", "1.0")),
        ({"loss": 0.5}, "events.out.tfevents.1:val/loss@7", ("0.25", "0.5")),
        (
            {"summary": SUMMARY | {"protocol": {"lines": [["runs", "3"]]}}},
            "report/summary.json:protocol.runs",
            ("'2'", "'3'"),
        ),
    ],
)
def test_a_changed_value_is_found(
    old: Path, tmp_path: Path, changed: dict[str, Any], place: str, values: tuple[str, str]
) -> None:
    write_run(tmp_path / "new", **changed)
    (difference,) = found(old, tmp_path / "new")
    assert difference.place == f"outputs/<time 1>/{place}"
    assert (difference.old, difference.new) == values


def test_a_changed_bit_of_a_tensor_is_found(old: Path, tmp_path: Path) -> None:
    weight = CHECKPOINT["model"]["weight"].clone()
    weight[1, 0] = torch.nextafter(weight[1, 0], torch.tensor(9.0))
    moments = {"exp_avg": {"weight": -torch.zeros(2, dtype=torch.bfloat16)}, "step": 3}
    checkpoint = {"model": {"weight": weight}, "optimizer": moments}
    write_run(tmp_path / "new", checkpoint=checkpoint)
    of_weight, of_moment = found(old, tmp_path / "new")
    assert of_weight.place.endswith("checkpoints/last.pt:model.weight")
    assert of_weight.old == "3.0"
    assert of_weight.new == "3.000000238418579 at [1, 0], 1 of 4 elements differ"
    assert of_moment.place.endswith("last.pt:optimizer.exp_avg.weight")
    assert (of_moment.old, of_moment.new) == ("0.0", "-0.0 at [0], 2 of 2 elements differ")


def test_another_type_or_shape_of_a_tensor_is_found(old: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "new")
    np.savez(run / "predictions.npz", labels=np.arange(3, dtype=np.int64))
    (difference,) = found(old, tmp_path / "new")
    assert (difference.old, difference.new) == (
        "tensor [3] of torch.int32",
        "tensor [3] of torch.int64",
    )


def test_a_missing_moved_or_damaged_file_is_found(old: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "new")
    (run / "nnexp.log").rename(run / "run.log")
    (run / "metrics.jsonl").unlink()
    (run / "result.json").write_text("{")
    by_file = {d.file.removeprefix("outputs/<time 1>/"): d for d in found(old, tmp_path / "new")}
    assert (by_file["nnexp.log"].old, by_file["nnexp.log"].new) == ("present", ABSENT)
    assert (by_file["run.log"].old, by_file["run.log"].new) == (ABSENT, "present")
    assert by_file["metrics.jsonl"].new == ABSENT
    last = [d for d in found(old, tmp_path / "new") if d.key == "content"]
    assert "cannot be read" in last[0].new


def test_exit_codes_are_compared_and_must_be_as_meant() -> None:
    case = Case((Step("a"), Step("b", exit_code=1), Step("c")))
    old = Outcome(["0", "1", "1"], {}, "")
    new = Outcome(["0", "0", "1"], {}, "")
    assert compare_outcomes(case, old, new) == [
        Difference("exit code", "2", "1", "0"),
        Difference("exit code", "3", "1", "1, but 0 is meant"),
    ]


def test_the_plan_of_a_sweep_is_found_in_its_log() -> None:
    text = (
        "[2026-01-01 10:00:00,123][HYDRA] 18 jobs\n"
        "[2026-01-01 10:00:01,123][HYDRA] 18 runs in 3 groups on 2 workers\n"
        "[2026-01-01 10:00:01,123][HYDRA] runs cannot all be batched together: the network "
        "differs\n"
        "[2026-01-01 10:00:01,123][HYDRA] what keeps groups apart: as earlier versions say it\n"
        "[2026-01-01 10:00:01,123][HYDRA]   deep 64-8-10: 9 runs in 2 groups of 4 to 5\n"
        "[2026-01-01 10:00:09,123][HYDRA] 5 of 18 runs, 3 s left\n"
    )
    assert list(plan_lines(text)) == [
        "18 jobs",
        "18 runs in 3 groups on 2 workers",
        "runs cannot all be batched together: the network differs",
        "what keeps groups apart: as earlier versions say it",
        "deep 64-8-10: 9 runs in 2 groups of 4 to 5",
    ]


def test_what_is_allowed_is_said_by_pattern() -> None:
    allowed = {"sweep:*/result.json:config.*": "a new option"}
    assert reason_to_allow("sweep:a/0/result.json:config.seed", allowed) == "a new option"
    assert reason_to_allow("sweep:a/0/result.json:metrics.loss", allowed) is None


def test_a_folder_without_nnexp_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), str(tmp_path)]) == 2
    assert "imports nnexp from" in capsys.readouterr().err
