"""What a person reads after a mistake: one line that names the key, the file or the override."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import programs
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from nnexp.cli.train import arranged
from nnexp.config.compose import CONF, register, to_config
from nnexp.config.errors import error_line
from nnexp.errors import DataError
from nnexp.runs.record import read_result


@pytest.fixture(scope="module", autouse=True)
def hydra() -> object:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def message(*overrides: str, mine: Path | None = None) -> str:
    """What is told of overrides, with configs of one's own from a folder."""
    own = [f"hydra.searchpath=['file://{mine}']"] if mine else []
    with pytest.raises(Exception) as raised:  # noqa: PT011 - told takes any
        to_config(compose("config", [*overrides, *own]))
    return error_line(raised.value, overrides)


# ── overrides ─────────────────────────────────────────────────────────────────────────────────

EARLY_STOPPING = (
    "has options of its own: trainer.early_stopping.metric, trainer.early_stopping.patience, "
    "trainer.early_stopping.min_delta"
)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("seed=null", "seed=null: must be a whole number"),
        ("trainer.grad_clip=big", "trainer.grad_clip=big: must be a number or null"),
        ("model.hidden=[null]", "model.hidden=[null]: must be a list of whole numbers: [...]"),
        ("model.hidden={a:1}", "model.hidden={a:1}: must be a list of whole numbers: [...]"),
        ("trainer.precision=[1]", "trainer.precision=[1]: must be text"),
        ("trainer.early_stopping=3", f"trainer.early_stopping=3: {EARLY_STOPPING}"),
        ("optimizer={lr:[1]}", "optimizer.lr=[1]: must be a number"),
        ("model.hidden=3,4", "model.hidden=3,4: several values make a sweep, with -m; a list is "
         "written model.hidden=[3,4], text with commas 'model.hidden=\"3,4\"'"),
        ("seed.x=3", "seed.x: no such option; seed must be a whole number"),
        ("hydra.launcher.group_size=two", "hydra.launcher.group_size=two: must be a whole number "
         "of at least 1, or null for what suits the work"),
        ("hydra.launcher.dry_run=maybe", "hydra.launcher.dry_run=maybe: must be true or false"),
        ("hydra.sweeper.max_batch_size=x", "hydra.sweeper.max_batch_size=x: must be a whole number "
         "of at least 1, or null for all jobs at once"),
        ("hydra.launcher.wokers=2", "hydra.launcher.wokers: no such option (did you mean "
         "'workers'?); hydra.launcher has workers, group_size, dry_run"),
        ("optimizer.momentum=0.9", "optimizer.momentum: no such option (optimizer=rmsprop and "
         "optimizer=sgd have it); optimizer has name, lr, weight_decay, betas, eps, amsgrad"),
        ("++scheduler.gamma=0.9", "scheduler.gamma: no such option (scheduler=exponential and "
         "scheduler=step have it); scheduler has name, warmup_epochs, warmup_start_factor"),
        ("+seed=3", "+seed: is there already; change it with seed=<value>"),
        ("~seed", "seed is required, e.g. seed=0"),
        ("~sead", "~sead: there is nothing of that name"),
        ("~optimizer.lr", "~optimizer.lr: an option can be set to another value, not taken away"),
        ("hydra.run.dir=null", "hydra.run.dir=null: must not be null"),
        ("seed=${oc.env:NNEXP_NOPE}", "seed: Environment variable 'NNEXP_NOPE' not found"),
        ("dataset.split_seed=${sed}",
         "dataset.split_seed: Interpolation key 'sed' not found (did you mean 'seed'?)"),
        ("dataset.split_seed=${model}", "dataset.split_seed=${model}: must be a whole number"),
        ("seed=${seed}", "seed: refers to itself"),
        ("dataset=csv dataset.separator=é",
         "dataset.separator=é: cannot be read; put the value in quotes if it is text: "
         "'dataset.separator=\"é\"'"),
        ("optimizer.lr", "optimizer.lr: must be key=value"),
        ("=3", "=3: must be key=value"),
        ("model=null", "model=null: model takes the name of a choice, --help lists them"),
        ("model=3", "model=3: model takes the name of a choice, --help lists them"),
        ("trainer=null", "trainer=null: trainer takes the name of a choice, --help lists them"),
        ("baseline=null", "baseline=null: baseline takes the name of a choice, --help lists them; "
         "for none: baseline=none"),
        ("optimizer=[1]", "optimizer=[1]: optimizer takes the name of a choice, --help lists "
         "them; -m optimizer=a,b trains with each"),
        ("optimizer=[sgd,adam]", "optimizer=[sgd,adam]: optimizer takes the name of a choice, "
         "--help lists them; -m optimizer=a,b trains with each"),
    ],
)  # fmt: skip
def test_overrides(overrides: str, expected: str) -> None:
    assert message(*overrides.split()) == expected


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("lr=0.1", "lr: no such option (did you mean 'optimizer.lr'?)"),
        ("optimzer=adam", "optimzer: no such option (did you mean 'optimizer'?)"),
        ("+trainer.speed=9", "trainer.speed: no such option"),
        ("++optimizer.momentum=0.9", "optimizer.momentum: no such option"),
        ("optimizer=sgd optimizer.betas=[0.9,0.9]", "optimizer.betas: no such option"),
        ("model.activation=rleu", "model.activation=rleu: must be one of step, sigmoid, tanh, "
         "relu"),
        ("seed=1.5", "seed=1.5: must be a whole number"),
        ("model.bias=maybe", "model.bias=maybe: must be true or false"),
        ("model.hidden=3", "model.hidden=3: must be a list"),
        ("optimizer.lr=inf", "optimizer.lr=inf: must be a finite number"),
        ("optimizer.betas=[0.9,1.0]", "optimizer.betas=[0.9,1.0]: must be less than 1"),
        ("trainer.epochs=0", "trainer.epochs=0: must be at least 1"),
        ("model.hidden=[64,0]", "model.hidden=[64,0]: must be at least 1"),
        ("model=shallow model.residual=true", "model.residual=true: needs two neighbouring"),
        ("optimizer=sgd optimizer.momentum=0 optimizer.nesterov=true", "optimizer.nesterov=true"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(overrides: str, expected: str) -> None:
    line = message(*overrides.split())
    assert expected in line
    assert "\n" not in line
    assert "unexpected" not in line


def test_the_override_that_is_no_choice_is_found_in_a_sweep() -> None:
    with pytest.raises(ValueError, match="must be a string") as error:
        compose("config", ["model=null"])  # as a job of the sweep
    line = error_line(error.value, ["-m", "seed=1,2", "experiment=deep_adam", "model=deep,null"])
    assert line == "model=deep,null: model takes the name of a choice, --help lists them"


def test_quoted_text_is_read_as_advised() -> None:
    config = compose("config", ["dataset=csv", 'dataset.separator="é"', 'dataset.path="a,b.csv"'])
    assert (config.dataset.separator, config.dataset.path) == ("é", "a,b.csv")


# ── files of one's own ────────────────────────────────────────────────────────────────────────

HEAD = "# @package _global_\n"
NO_HEAD = "its first line must be '# @package _global_', and it must set something"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimizer:\n  lr: [1, 2]", "experiment/x.yaml: optimizer.lr=[1,2]: must be a number"),
        ("seed: abc", "experiment/x.yaml: seed=abc: must be a whole number"),
        ("model:\n  hiden: [3]",
         "experiment/x.yaml: model.hiden: no such option (did you mean 'hidden'?); model has name"),
        ("sead: 3", "experiment/x.yaml: sead: no such option (did you mean 'seed'?); the config"),
        ("model:\n  hidden: 64",
         "experiment/x.yaml: model.hidden=64: must be a list of whole numbers: [...]"),
        ("model:\n  hidden: [null]",
         "experiment/x.yaml: model.hidden[0]=null: must be a whole number"),
        ("trainer:\n  early_stopping: 3",
         f"experiment/x.yaml: trainer.early_stopping=3: {EARLY_STOPPING}"),
        ("optimizer: sgd", "experiment/x.yaml: optimizer=sgd: is chosen by its name: "
         "optimizer=<name> on the command line, 'override /optimizer: <name>' in the defaults "
         "list of an experiment"),
        ("optimizer: null", "experiment/x.yaml: optimizer=null: is chosen by its name"),
        ("- a", "experiment/x.yaml: has a list where 'option: value' lines belong"),
        ("defaults:\n  - override /optimzer: sgd",
         "experiment/x.yaml: override optimzer: no such group (did you mean 'optimizer'?)"),
        ("defaults:\n  - override optimizer: sgd",
         "experiment/x.yaml: its defaults list must name the group from the root: "
         "'override /optimizer: <name>'"),
        ("defaults:\n  - /optimizer: sgd", "optimizer: chosen twice; where it is chosen already, "
         "a defaults list says 'override /optimizer: <name>'"),
        ("defaults:\n  - override /optimizer: sgdd",
         "optimizer=sgdd: no such choice (did you mean 'sgd'?); optimizer is one of"),
    ],
)  # fmt: skip
def test_an_experiment_of_ones_own(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "x.yaml").write_text(HEAD + text + "\n")
    assert message("experiment=x", mine=tmp_path).startswith(expected)


@pytest.mark.parametrize("text", ["optimizer:\n  lr: 0.1\n", "", "# later\n"])
def test_an_experiment_without_its_first_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "x.yaml").write_text(text)
    assert message("experiment=x", mine=tmp_path) == f"experiment/x.yaml: {NO_HEAD}"


@pytest.mark.parametrize(
    ("group", "text", "expected"),
    [
        ("dataset", "path: a.csv\ntarget: y", "dataset/x.yaml: dataset.path: the file does not "
         "say of which kind this dataset is; begin it with 'defaults: [arrays]' or "
         "'defaults: [table]' or 'defaults: [csv]'"),
        ("optimizer", "momentum: 0.9", "optimizer/x.yaml: optimizer.momentum: the file does not "
         "say of which kind this optimizer is; begin it with 'defaults: [rmsprop]' or "
         "'defaults: [sgd]'"),
        ("scheduler", "step_size: 3", "scheduler/x.yaml: scheduler.step_size: the file does not "
         "say of which kind this scheduler is; begin it with 'defaults: [step]'"),
        ("optimizer", "name: x\nlr: 0.1", "optimizer: the file does not say of which kind this "
         "optimizer is; begin it with 'defaults: [adagrad]' or"),
        ("dataset", "name: x", "dataset: the file does not say of which kind this dataset is; "
         "begin it with 'defaults: [digits]' or 'defaults: [moons]' or 'defaults: [mnist]' or "
         "'defaults: [image_folder]' or 'defaults: [arrays]' or 'defaults: [table]' or "),
        ("optimizer", "defaults: [sgd]\nlr: fast",
         "optimizer/x.yaml: optimizer.lr=fast: must be a number"),
        ("model", "hidden: [512]", "model/x.yaml: model.hidden: the file does not say of which "
         "kind this model is; begin it with 'defaults: [deep]'"),
        ("model", "defaults: [/schema/model@_here_: mlp]\nhidden: [512]",
         "model.name is required: give your own config one, e.g. 'name: mine'"),
        ("model", "defaults:\n  - /schema/model: mlp",
         "schema/model/mlp: a defaults list includes it as '- /schema/model@_here_: mlp'"),
    ],
)  # fmt: skip
def test_a_choice_of_ones_own(tmp_path: Path, group: str, text: str, expected: str) -> None:
    (tmp_path / group).mkdir()
    (tmp_path / group / "x.yaml").write_text(text + "\n")
    assert message(f"{group}=x", mine=tmp_path).startswith(expected)


@pytest.mark.parametrize(
    ("group", "kind"),
    [("dataset", "csv"), ("dataset", "digits"), ("dataset", "moons"), ("dataset", "mnist"),
     ("dataset", "text"), ("dataset", "puzzle"),
     ("optimizer", "rmsprop"), ("scheduler", "step"), ("model", "deep"), ("trainer", "default")],
)  # fmt: skip
def test_the_advised_head_helps(tmp_path: Path, group: str, kind: str) -> None:
    (tmp_path / group).mkdir()
    needed = {"csv": "path: a.csv\ntarget: y\n", "text": "paths: [a.txt]\n"}
    values = needed.get(kind, "")
    (tmp_path / group / "x.yaml").write_text(f"defaults: [{kind}]\n{values}")
    search = f"hydra.searchpath=['file://{tmp_path}']"
    to_config(compose("config", [f"{group}=x", search]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"seed: 1\nmodel:\n  hidden: [1,2\nx: 3\n", "4: expected ',' or ']', but got ':'"),
        (b"model:\n\thidden: [1]\n", "2: a tab; YAML is indented with spaces"),
        (b"# one\nseed: 1 # \xe9t\xe9\n", "2: must be UTF-8 text"),
        (b"seed: 1\nseed: 2\n", "2: found duplicate key seed"),
    ],
)
def test_a_file_that_is_no_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, expected: str
) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "x.yaml").write_bytes(text)
    monkeypatch.chdir(tmp_path)
    line = message("experiment=x", mine=tmp_path / "mine")
    assert line == f"mine/experiment/x.yaml:{expected}"


# ── the machine ───────────────────────────────────────────────────────────────────────────────


def test_memory_that_does_not_suffice() -> None:
    advice = "; try smaller model.hidden, trainer.batch_size or dataset.num_train"
    with pytest.raises(RuntimeError) as error:
        torch.empty(10**15)
    assert error_line(error.value) == (
        "out of memory: the network or the data do not fit "
        f"(tried to allocate {4 * 10**15} bytes){advice}"
    )
    cuda = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 8 GiB"
    assert "(tried to allocate 20.00 GiB)" in error_line(torch.OutOfMemoryError(cuda))
    assert error_line(MemoryError()) == f"out of memory: the network or the data do not fit{advice}"


def test_numbers_that_are_too_large() -> None:
    with pytest.raises(TypeError) as size:
        torch.zeros(1, 10**25)
    with pytest.raises(ValueError, match="Overflow") as threads:
        torch.set_num_threads(10**11)
    with pytest.raises(OverflowError) as fill:
        torch.tensor([10**25], dtype=torch.float32).fill_(10**400)
    for error in (size, threads, fill):
        assert error_line(error.value).startswith("a number is too large to compute with; look at")


def test_what_nobody_foresaw_is_one_line_that_says_how_to_see_more() -> None:
    line = error_line(KeyError("a\nb"))
    assert line == r"unexpected KeyError: 'a\nb' (HYDRA_FULL_ERROR=1 shows the traceback)"
    assert error_line(ValueError("one\n two")).startswith("unexpected ValueError: one two (")
    assert error_line(DataError("a.csv: no rows")) == "a.csv: no rows"
    assert error_line(FileNotFoundError(2, "No such file or directory", "a")) == (
        "a: No such file or directory"
    )


# ── the command line ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("experiment=null debug=null seed=1", "seed=1"),
        ("+experiment=deep_adam ++seed=1", "experiment=deep_adam ++seed=1"),
        ("seed=1 -m lr=1,2 --config-dir mine ~x", "-m --config-dir mine seed=1 lr=1,2 ~x"),
        ("--config-dir=mine a=1 --cfg job", "--config-dir=mine --cfg job a=1"),
        ("a=1 -cd lr=2", "-cd lr=2 a=1"),
    ],
)
def test_arguments_are_arranged_for_hydra(given: str, expected: str) -> None:
    assert arranged(given.split()) == expected.split()


def nnexp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return programs.run(
        [sys.executable, "-m", "nnexp", *arguments], cwd=folder,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_sweep_ends_with_a_line_for_each_failed_job(tmp_path: Path) -> None:
    done = nnexp(
        tmp_path, "dataset=iris", "-m", "hydra/launcher=basic", "hydra/sweeper=basic",
        "debug=fast", "baseline=none", "optimizer.lr=-1,0.1,-2", "hydra.sweep.dir=sweep",
        "hydra.sweeper.max_batch_size=1",
    )  # fmt: skip
    assert done.returncode == 1
    common = "dataset=iris debug=fast baseline=none"
    assert done.stderr.splitlines() == [
        f"nnexp: job 0 {common} optimizer.lr=-1: optimizer.lr=-1.0: must be at least 0",
        f"nnexp: job 2 {common} optimizer.lr=-2: optimizer.lr=-2.0: must be at least 0",
    ]
    status = [read_result(tmp_path / "sweep" / str(job)).status for job in range(3)]
    assert status == ["failed", "completed", "failed"]
    assert read_result(tmp_path / "sweep" / "0").error == "optimizer.lr=-1.0: must be at least 0"


def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path: Path) -> None:
    process = programs.Popen(
        [sys.executable, "-m", "nnexp", "trainer.epochs=100000", "hydra.run.dir=run"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    record = tmp_path / "run" / "metrics.jsonl"
    for _ in range(600):
        if record.exists() and record.read_text().count("\n") > 1:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # timeout(1) signals the child, then its group
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors == "nnexp: terminated\n"
    assert read_result(tmp_path / "run").status == "interrupted"


def test_errors_reach_the_terminal_as_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "x.yaml").write_text(f"{HEAD}seed: [\n")
    done = nnexp(tmp_path, "experiment=x", "--config-dir", "mine", "seed=1")
    assert done.returncode == 1
    assert re.fullmatch(r"nnexp: mine/experiment/x\.yaml:3: .+\n", done.stderr)


def test_no_experiment_is_the_default(tmp_path: Path) -> None:
    done = nnexp(tmp_path, "--cfg", "job", "experiment=null", "debug=null")
    assert (done.returncode, done.stderr) == (0, "")
    assert "seed: 0" in done.stdout


def test_an_interval_is_no_grid() -> None:
    """Hydra's own sweeper says 'does not support sweep type : INTERVAL_SWEEP', and not of what."""
    given = ["seed=0,1", "optimizer.lr=interval(0.1, 1)"]
    parsed = OverridesParser.create().parse_overrides(given)
    with pytest.raises(HydraException, match="INTERVAL_SWEEP") as raised:
        BasicSweeper.split_arguments(parsed, None)
    assert error_line(raised.value, given) == (
        "optimizer.lr=interval(0.1, 1): an interval is for sweepers that choose the values "
        "themselves, such as Optuna's; a grid takes a list, a,b,c, or range(start,stop,step)"
    )
