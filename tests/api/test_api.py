"""nnexp from Python: the same numbers as the command line, and nothing left behind."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import programs
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

import nnexp
from nnexp.api.overrides import overrides_of
from nnexp.config.compose import CONF
from nnexp.config.schema import ArraysConfig
from nnexp.data.sources.arrays import load_arrays
from nnexp.runs.checkpoints import load_network
from nnexp.runs.folder_lock import lock, unlock
from nnexp.runs.output_folder import LOCK_FILE
from nnexp.runs.record import EPOCH_KEYS

ROOT = Path(__file__).resolve().parents[2]
FAST = {"dataset": "iris", "trainer__epochs": 2, "model": "shallow", "trainer__device": "cpu"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return programs.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False
    )


def epochs(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl but for seconds."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: line[key] for key in EPOCH_KEYS if key != "seconds"} for line in lines]


def files(folder: Path) -> set[str]:
    names = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return {re.sub(r"tfevents\..*", "tfevents", name) for name in names}


def points(rows: int = 60) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    x = np.random.default_rng(0).normal(size=(rows, 3))
    return x, np.where(x[:, 0] > 0, "up", "down")


# ── the same as the command line ──────────────────────────────────────────────────────────────


def test_a_run_is_that_of_the_command_line() -> None:
    given = ["+experiment=deep_adam", "dataset=iris", "trainer.epochs=3", "seed=3"]
    by_cli = program("nnexp", *given, "hydra.run.dir=cli")
    assert by_cli.returncode == 0, by_cli.stderr
    run = nnexp.run(given[0], dataset="iris", trainer={"epochs": 3}, seed=3, folder="api")
    cli = nnexp.load("cli")
    assert isinstance(cli, nnexp.Run)
    assert epochs(run.folder) == epochs(cli.folder)
    assert files(run.folder) == files(cli.folder)
    assert (run.metrics, run.config, run.arm) == (cli.metrics, cli.config, cli.arm)
    hydra = [(f / ".hydra" / "hydra.yaml").read_text() for f in (run.folder, cli.folder)]
    assert hydra[0].replace("api", "cli") == hydra[1].replace("api", "cli")
    config = [(f / ".hydra" / "config.yaml").read_text() for f in (run.folder, cli.folder)]
    assert config[0] == config[1]
    logs = [(f / "nnexp.log").read_text() for f in (run.folder, cli.folder)]
    said = [re.sub(r"^\[.*?,\d+\]", "", log, flags=re.M) for log in logs]
    assert said[0] == said[1]
    assert "Tuning KNN on 22 validation samples" in said[0]


def test_a_sweep_is_that_of_the_command_line_and_its_runs_those_of_run() -> None:
    x, y = points()
    swept = nnexp.sweep(
        data=(x, y), seed=range(2), optimizer=["adam", "sgd"], trainer__epochs=2,
        model__hidden=[[8], [8, 4]], folder="swept",
    )  # fmt: skip
    assert len(swept) == 8
    assert not swept.failures
    assert [run.folder.name for run in swept] == list("01234567")
    assert (swept.folder / "multirun.yaml").exists()
    assert (swept.folder / "report").is_dir()
    frame = swept.to_pandas()
    assert frame["optimizer"].value_counts().to_dict() == {"adam": 4, "sgd": 4}
    assert {"seed", "model.hidden", "val/loss", "knn/val/acc"} <= set(frame.columns)
    assert not any("test" in column for column in frame.columns)
    everything = swept.to_pandas(test_metrics=True)
    assert {*everything.columns} - {*frame.columns} >= {"test/acc", "test/loss", "knn/test/acc"}
    row = frame[(frame["seed"] == 1) & (frame["optimizer"] == "sgd")].iloc[-1]
    solo = nnexp.run(
        data=(x, y), seed=1, optimizer="sgd", trainer__epochs=2, model__hidden=row["model.hidden"]
    )
    assert epochs(solo.folder) == epochs(Path(row["folder"]))
    accs = [run.metrics["val/acc"] or 0.0 for run in swept]
    best = swept.best()
    assert best.metrics["val/acc"] == max(accs)
    equals = [run for run, acc in zip(swept, accs, strict=True) if acc == max(accs)]
    assert best.metrics["val/loss"] == min(run.metrics["val/loss"] or 9 for run in equals)
    best = swept.best("val/loss")
    assert best.metrics["val/loss"] == min(run.metrics["val/loss"] or 9 for run in swept)
    with pytest.raises(nnexp.ConfigError, match="the test set must not select"):
        swept.best("test/acc")
    loaded = nnexp.load("swept")
    assert isinstance(loaded, nnexp.Sweep)
    assert repr(loaded) == repr(swept)
    assert "8 completed" in repr(swept)
    assert "<pre>" in swept._repr_html_()
    assert loaded.report().summary == swept.report().summary
    verified = program("nnexp.verify", "swept", "--runs", "1")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_sweep_with_failures_returns() -> None:
    swept = nnexp.sweep(
        "optimizer=sgd", dataset="iris", model="shallow", trainer__epochs=2,
        optimizer__lr=[0.01, 1e30, -1], report__enabled=False,
    )  # fmt: skip
    assert [run.status for run in swept.runs] == ["completed", "diverged", "failed"]
    assert swept.failures == swept.runs[1:]
    assert swept.failures[1].error == "optimizer.lr=-1.0: must be at least 0"
    assert swept.best() is swept[0]


def test_a_sweep_of_which_nothing_can_be_trained() -> None:
    with pytest.raises(nnexp.NnexpError, match=r"^optimizer=sdg: no such choice \(did you mean"):
        nnexp.sweep(optimizer="sdg", seed=[0, 1])
    assert list(Path().iterdir()) == []
    with pytest.raises(nnexp.ConfigError, match=r"^seed: holds no value to try"):
        nnexp.sweep(seed=[])


# ── nothing left behind ───────────────────────────────────────────────────────────────────────


def test_a_run_leaves_the_program_as_it_was(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def state() -> list[Any]:
        logger = logging.getLogger("nnexp")
        return [
            Path.cwd(), random.getstate(), np.random.get_state()[1].tolist(),  # noqa: NPY002
            torch.get_rng_state().tolist(), torch.get_num_threads(), signal.getsignal(2),
            signal.getsignal(15), list(logging.root.handlers), logging.root.level,
            logger.level, logger.propagate, list(logger.handlers), list(sys.argv),
        ]  # fmt: skip

    before = state()
    run = nnexp.run(**FAST)
    assert state() == before
    assert capfd.readouterr() == ("", "")
    assert run.folder.parent.parent == Path("outputs")
    assert not (run.folder / LOCK_FILE).exists()


def test_within_a_program_that_uses_hydra(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.yaml").write_text("x: 1\n")
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.2"):
        hydra = GlobalHydra.instance().hydra
        nnexp.run(**FAST)
        assert GlobalHydra.instance().hydra is hydra
        assert compose("mine").x == 1


def test_log_records_reach_the_program_as_it_wants_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        nnexp.run(**FAST)
    assert caplog.records == []
    with caplog.at_level(logging.INFO):
        nnexp.run(**FAST)
    assert any(" test samples, " in record.message for record in caplog.records)


def test_runs_of_threads_take_turns() -> None:
    found: list[nnexp.Run] = []
    threads = [
        threading.Thread(target=lambda seed=seed: found.append(nnexp.run(**FAST, seed=seed)))
        for seed in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.seed for run in found} == {0, 1, 2}
    assert len({run.folder for run in found}) == 3


def test_public_names_are_loaded_when_they_are_used() -> None:
    code = (
        "import nnexp, sys; assert 'torch' not in sys.modules and 'hydra' not in sys.modules\n"
        "import nnexp.sweeps.tasks\n"
        "try: nnexp.run(seed=-1)\n"
        "except nnexp.ConfigError as error: print(error)\n"
        "print(all(callable(getattr(nnexp, name)) for name in nnexp.__all__))\n"
        "print(set(nnexp.__all__) <= set(dir(nnexp)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "seed=-1: must be at least 0\nTrue\nTrue\n", done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = nnexp.nothing  # type: ignore[attr-defined]


def test_a_folder_in_use_is_refused() -> None:
    Path("mine").mkdir()
    held = lock(Path("mine", LOCK_FILE))
    try:
        with pytest.raises(nnexp.ConfigError, match=r"mine is in use by another process"):
            nnexp.run(**FAST, folder="mine")
    finally:
        assert held is not None
        unlock(Path("mine", LOCK_FILE), held)
    first = nnexp.run(**FAST, folder="mine")
    second = nnexp.run(**FAST, folder="mine")
    assert epochs(second.folder) == epochs(first.folder / "previous" / "1")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_a_sweep_and_keeps_what_has_finished() -> None:
    timer = threading.Thread(target=_interrupt_when_one_has_finished)
    timer.start()
    with pytest.raises(KeyboardInterrupt) as stop:
        nnexp.sweep(dataset="iris", model="shallow", trainer__epochs=[1, 100_000], folder="long")
    timer.join()
    assert "nnexp.load('long')" in str(stop.value.__notes__)
    loaded = nnexp.load("long")
    assert [run.status for run in loaded.runs] == ["completed", "interrupted"]  # type: ignore[union-attr]


def _interrupt_when_one_has_finished() -> None:
    for _ in range(600):
        time.sleep(0.1)
        if Path("long/0/result.json").exists():
            os.kill(os.getpid(), signal.SIGINT)
            return


# ── what a run says ───────────────────────────────────────────────────────────────────────────


def test_a_run_as_objects() -> None:
    run = nnexp.run(**FAST, seed=5)
    assert (run.seed, run.status, run.error) == (5, "completed", None)
    assert run.config["optimizer"]["name"] == "adam"
    assert len(run.history) == 2
    assert list(run.history.to_pandas().columns) == list(EPOCH_KEYS)
    assert run.history[0]["val/loss"] == run.history.to_pandas()["val/loss"][0]
    assert [record["epoch"] for record in run.history[1:]] == [2]
    assert run.classes.tolist() == ["setosa", "versicolor", "virginica"]
    rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]])
    network = load_network(run.folder / "checkpoints" / "best.pt")
    assert run.predict(rows).tolist() == network.predict(rows)
    np.testing.assert_array_equal(run.predict_proba(rows), network.probabilities(rows).numpy())
    assert sum(p.numel() for p in run.network.parameters()) == (4 + 1) * 128 + (128 + 1) * 3
    frame = run.to_pandas()
    assert frame["test/acc"].tolist() == [run.metrics["test/acc"]]
    lines = repr(run).splitlines()
    assert lines[0] == "Run: shallow · adam · epochs=2 on iris, seed 5: completed"
    assert len(lines) == 4
    assert "<table>" in run._repr_html_()
    report = run.report()
    assert report.path.is_file()
    assert report.summary["schema"]
    assert run.report() == report


def test_a_run_that_diverges_is_returned() -> None:
    run = nnexp.run(**FAST, optimizer="sgd", optimizer__lr=1e30)
    assert run.status == "diverged"
    assert "training diverged in epoch 1" in (run.error or "")
    assert "diverged" in repr(run)


def test_pandas_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    run = nnexp.run(**FAST)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(nnexp.NnexpError, match=r"needs pandas: pip install 'nnexp\[pandas\]'"):
        run.to_pandas()


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("nowhere", "nowhere: no such folder"),
        ("file", "file: is a file, not a folder"),
        ("empty", "empty: holds no run and no sweep"),
        ("above", "above: is no run and no sweep, but holds some, such as above/one"),
        ("torn", "torn: holds no result.json: the run was killed or is still training"),
    ],
)
def test_what_cannot_be_loaded(place: str, line: str) -> None:
    Path("file").touch()
    for folder in ("empty", "above/one", "torn"):
        Path(folder).mkdir(parents=True)
    Path("above/one/result.json").write_text("{", encoding="utf-8")
    Path("torn/metrics.jsonl").touch()
    with pytest.raises(nnexp.DataError) as error:
        nnexp.load(place)
    assert str(error.value) == line


# ── settings ──────────────────────────────────────────────────────────────────────────────────

VALUES: list[Any] = [
    None, True, False, 3, -1, 0.001, 1e30, "sgd", "a b", "x,y", "it's", 'say "x"', "\\", "a\\'b\\",
    "", "null", "True", "5", "1e3", "größe", "a=b", "{x}", "[1", "$HOME", "a:b", "#", "~", " lead",
    [64, 64], [], ["a, b", None, [1]], Path("/tmp/a b"), np.float64(0.5), np.int64(7), (1, 2),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_pass_hydras_grammar(value: Any) -> None:
    (text,) = overrides_of([], {"dataset__name": value}, sweep=False)
    override = OverridesParser.create().parse_override(text)
    assert override.key_or_group == "dataset.name"
    found = override.value()
    meant = str(value) if isinstance(value, Path) else value
    assert found == (list(meant) if isinstance(meant, tuple) else meant)
    assert type(found) is type(meant) or isinstance(value, np.generic | tuple)


def test_settings_of_run_and_sweep() -> None:
    given = {
        "model": {"hidden": [64, 64]},
        "seed": range(3),
        "trainer__early_stopping": {"patience": 2},
    }
    assert overrides_of(["a=1"], given, sweep=False) == [
        "a=1", "model.hidden=[64,64]", "seed=[0,1,2]", "trainer.early_stopping.patience=2",
    ]  # fmt: skip
    given["model"] = {"hidden": [[64], [64, 64]]}
    assert overrides_of([], given, sweep=True) == [
        "model.hidden=[64],[64,64]", "seed=range(0,3,1)", "trainer.early_stopping.patience=2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "settings", "line"),
    [
        (["-m"], {}, "-m: options of the command line are not taken here"),
        (["seed"], {}, "seed: must be key=value"),
        (["+experiment=compare_all"], {}, "hydra.mode=MULTIRUN: this is a sweep, for nnexp.sweep"),
        (["optimizer=sgd,adam"], {}, "optimizer=sgd,adam: several values make a nnexp.sweep"),
        ([], {"optimizer": {"name": "sgd"}}, "optimizer: a dict holds options"),
        ([], {"seed": object()}, "seed: takes a number, text, None, a list or a dict, not object"),
        ([], {"trainer__epoch": 3}, "trainer.epoch: no such option (did you mean 'epochs'?)"),
        ([], {"optimizer__lr": "abc"}, "optimizer.lr=abc: must be a number"),
        ([], {"trainer__epochs": 0}, "trainer.epochs=0: must be at least 1"),
        ([], {"target": "x"}, "target: is for data, which is not given"),
    ],
)
def test_settings_that_do_not_fit(texts: list[str], settings: dict[str, Any], line: str) -> None:
    with pytest.raises(nnexp.ConfigError) as error:
        nnexp.run(*texts, **settings)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert list(Path().iterdir()) == []


# ── data of one's own ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [str, int, bool])
def test_arrays_keep_the_type_of_their_labels(kind: type[Any]) -> None:
    x, y = points()
    labels = {str: y, int: np.where(y == "up", 7, 3), bool: y == "up"}[kind]
    run = nnexp.run(data=(x, labels), trainer__epochs=40, model__hidden=[16], seed=2)
    assert run.classes.dtype == labels.dtype
    predicted = run.predict(x)
    assert predicted.dtype == labels.dtype
    assert np.mean(predicted == labels) > 0.9
    assert run.predict_proba(x).shape == (60, 2)
    (path,) = run.folder.glob("data-*.npz")
    assert run.config["dataset"]["path"] == str(path.absolute())
    source = load_arrays(ArraysConfig(path=str(path)))
    np.testing.assert_array_equal(source.x, x)
    assert source.class_names == tuple(map(str, np.unique(labels)))


def test_a_folder_that_has_moved_still_predicts() -> None:
    x, y = points()
    run = nnexp.run(data=(x, y), trainer__epochs=1, model__hidden=[4], folder="here")
    before = run.predict(x)
    run.folder.rename("there")
    assert nnexp.Run("there").predict(x).tolist() == before.tolist()
    for path in Path("there").glob("data-*.npz"):
        path.unlink()
    with pytest.raises(nnexp.DataError, match="the run's data are not there any more"):
        nnexp.Run("there").predict(x)


def test_a_data_frame_with_text_and_test_rows() -> None:
    x, y = points(90)
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    frame["city"] = np.tile(["Rome", "Oslo", "Bonn"], 30)
    frame["label"] = y
    run = nnexp.run(
        data=frame[:70], target="label", test=frame[70:], trainer__epochs=2, dataset__name="mine"
    )
    assert run.feature_names == ("a", "b", "c", "city=Bonn", "city=Oslo", "city=Rome")
    result = json.loads((run.folder / "result.json").read_text())
    assert result["dataset"]["num_test"] == 20
    assert result["dataset"]["official_test"]
    assert result["dataset"]["name"] == "mine"
    with np.load(run.folder / "predictions.npz") as predictions:
        p = predictions["probabilities"]
    np.testing.assert_allclose(run.predict_proba(frame[70:]), p, atol=1e-6)
    shuffled = frame[["city", "c", "b", "a"]]
    assert run.predict(shuffled).tolist() == run.predict(frame).tolist()
    with pytest.raises(nnexp.DataError, match=r"X: lacks column 'city'"):
        run.predict(frame.drop(columns="city"))


def _wrong() -> Iterator[tuple[str, dict[str, Any]]]:
    x, y = points(20)
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(city="x", label=y)
    gap, infinite, mixed = x.copy(), x.copy(), y.astype(object)
    gap[3, 1], infinite[7, 1], mixed[4] = np.nan, np.inf, None
    yield "data: X: row 3, column 'x1': nan is not a finite number", {"data": (gap, y)}
    yield "data: X: row 7, column 'x1': inf is not a finite number", {"data": (infinite, y)}
    yield "data: y: row 4: the label is missing (None)", {"data": (x, mixed)}
    yield "data: y: row 0: 0.12573 is a quantity", {"data": (x, x[:, 0])}
    yield "data: y: has one class only, 'a'", {"data": (x, ["a"] * 20)}
    yield "data: X has 20 rows, but y has 19", {"data": (x, y[:19])}
    yield "data: X: must be [rows, features], got [20]", {"data": (x[:, 0], y)}
    yield "data: X: its rows are not all of one length", {"data": ([[1.0], [1, 2]], [0, 1])}
    yield "data: a DataFrame needs target='column'", {"data": frame}
    yield "data: has no column 'z'; it has ", {"data": frame, "target": "z"}
    yield "data: must be (X, y), or a DataFrame", {"data": x}
    yield "data: y: test row 1: no training row has the class 'z'", {
        "data": (x, y), "test": (x[:2], ["up", "z"]),
    }  # fmt: skip
    yield "dataset=iris: data replaces the data set", {"data": (x, y), "dataset": "iris"}


@pytest.mark.parametrize(("line", "given"), list(_wrong()), ids=lambda value: str(value)[:40])
def test_data_that_cannot_be_used(line: str, given: dict[str, Any]) -> None:
    with pytest.raises((nnexp.DataError, nnexp.ConfigError)) as error:
        nnexp.run(**given)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert list(Path().iterdir()) == []


def test_an_npz_file_of_ones_own_on_the_command_line() -> None:
    x, y = points()
    np.savez("mine.npz", x=x, y=y, test_x=x[:9], test_y=y[:9], feature_names=["a", "b", "c"])
    run = nnexp.run(dataset="arrays", dataset__path="mine.npz", trainer__epochs=1)
    assert run.feature_names == ("a", "b", "c")
    assert json.loads((run.folder / "result.json").read_text())["dataset"]["num_test"] == 9
    np.savez("torn.npz", x=x)
    for name, line in [
        ("torn.npz", "torn.npz: lacks the array y; it holds x"),
        ("none.npz", "dataset.path=none.npz: no such file"),
    ]:
        with pytest.raises(nnexp.DataError) as error:
            nnexp.run(dataset="arrays", dataset__path=name)
        assert str(error.value) == line


# ── a stranger ────────────────────────────────────────────────────────────────────────────────


# What the types of nnexp do not depend on, and what takes mypy its time.
MYPY = """
[mypy]
strict = true
[mypy-torch.*,scipy.*,matplotlib.*,rich.*,PIL.*,jinja2.*,hydra.*,omegaconf.*,pandas.*,sklearn.*]
follow_imports = skip
ignore_missing_imports = true
"""


def test_a_stranger_uses_it() -> None:
    script = (ROOT / "tests" / "helpers" / "api_stranger.py").read_text(encoding="utf-8")
    Path("stranger.py").write_text(script, encoding="utf-8")
    Path("mypy.ini").write_text(MYPY, encoding="utf-8")
    with programs.Popen(
        [sys.executable, "-W", "error", "stranger.py"], stdout=-1, stderr=-1, text=True
    ) as done:
        checked = program("mypy", "stranger.py")
        assert done.communicate()[1] == ""
    assert done.returncode == 0
    assert checked.returncode == 0, checked.stdout


def test_the_readme_is_true() -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme[readme.index("## From Python") :]
    (code,) = re.findall(r"```python\n(.*?)```", section[: section.index("\n## ")], re.DOTALL)
    pd.DataFrame({"a": range(40), "b": ["x", "y"] * 20, "label": ["no", "yes"] * 20}).to_csv(
        "my.csv", index=False
    )
    exec(compile(code, "README.md", "exec"), {})


def test_conf_is_found() -> None:
    assert (CONF / "dataset" / "arrays.yaml").exists()
    assert (ROOT / "nnexp" / "py.typed").exists()


def test_a_sweep_that_trains_nothing_is_an_error(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(nnexp.NnexpError, match="the sweep has trained nothing"):
        nnexp.sweep("dataset=iris", "hydra.launcher.dry_run=true", "seed=0,1")
