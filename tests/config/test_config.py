"""Configs as Hydra composes them, without a run: conf/, the checks, the names of arms."""

from __future__ import annotations

import ast
import dataclasses
import functools
import graphlib
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

import nnexp.config
from nnexp.config import compose as compose_module
from nnexp.config.compose import CONF, arm_name, register, to_config
from nnexp.config.schema import SCHEMAS, SGD, AdamW, Config
from nnexp.errors import ConfigError


@pytest.fixture(scope="module", autouse=True)
def hydra() -> object:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    GlobalHydra.instance().clear()


def composed(*overrides: str) -> DictConfig:
    return compose("config", list(overrides))


@functools.cache
def composed_with(override: str) -> DictConfig:
    """Of one override, which several tests look at."""
    return composed(override)


def composed_with_hydra(*overrides: str) -> DictConfig:
    return compose("config", list(overrides), return_hydra_config=True)


def notes(*overrides: str) -> list[str]:
    return compose_module.notes(composed_with_hydra(*overrides).hydra)


def config_of(*overrides: str) -> Config:
    return to_config(composed(*overrides))


NEED_A_PATH = (
    "csv", "table", "arrays", "idx", "image_folder", "openml", "text", "tatoeba", "wet",
    "wikipedia",
)  # fmt: skip


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize(
    "override",
    [
        f"{group}={name}"
        for group in ("model", "optimizer", "scheduler", "dataset", "trainer", "experiment",
                      "debug", "baseline")
        for name in choices(group)
        if group != "dataset" or name not in NEED_A_PATH
    ],
)  # fmt: skip
def test_every_choice_composes_to_a_checked_config(override: str) -> None:
    of_task = ["dataset=diabetes"] if override in ("baseline=constant", "baseline=ridge") else []
    config = config_of(override, *of_task)
    group, _, name = override.partition("=")
    if group in ("model", "optimizer", "scheduler", "dataset"):
        assert getattr(config, group).name == name


@pytest.mark.parametrize("depth", ["shallow", "deep"])
@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_experiments_pair_depths_with_optimizers(depth: str, optimizer: str) -> None:
    config = config_of(f"experiment={depth}_{optimizer}")
    assert (config.model.name, config.optimizer.name) == (depth, optimizer)
    assert len(config.model.hidden) == {"shallow": 1, "deep": 4}[depth]
    assert config.dataset.name == "digits"


# ── experiments beside other choices ──────────────────────────────────────────────────────────

TUNED = {
    "shallow_sgd": (0.2, 0.2), "shallow_adagrad": (0.2, 0.1), "shallow_adam": (0.2, 3e-3),
    "deep_sgd": (0.2, 0.05), "deep_adagrad": (0.2, 0.03), "deep_adam": (0.3, 2e-3),
    "mnist": (0.5, 1e-3), "fashion_mnist": (0.3, 1e-3),
}  # fmt: skip


@pytest.mark.parametrize("experiment", TUNED)
def test_an_experiment_sets_values_for_its_own_choices(experiment: str) -> None:
    config = config_of(f"experiment={experiment}")
    assert (config.model.dropout, config.optimizer.lr) == TUNED[experiment]
    on_images = experiment.endswith("mnist")
    assert (config.trainer.epochs, config.trainer.batch_size) == (
        (20, 128) if on_images else (50, 32)
    )
    assert config.scheduler.name == "cosine"
    if on_images:
        model = config.model
        assert (model.name, model.hidden, model.norm) == ("mlp", [512, 256], "batch")


@pytest.mark.parametrize("group", ["model", "optimizer", "scheduler", "dataset", "trainer"])
@pytest.mark.parametrize("experiment", ["shallow_sgd", "deep_adam", "mnist", "fashion_mnist"])
def test_no_value_of_it_survives_another_choice(experiment: str, group: str) -> None:
    """Not even of the scheduler, where there is none today."""
    own = composed_with_hydra(f"experiment={experiment}").hydra.runtime.choices[group]
    others = [name for name in choices(group) if name not in (own, *NEED_A_PATH)]
    for name in others:
        beside = composed(f"experiment={experiment}", f"{group}={name}")
        assert beside[group] == composed_with(f"{group}={name}")[group]


@pytest.mark.parametrize("experiment", ["mnist", "fashion_mnist"])
def test_what_suits_images_does_not_come_with_a_table(experiment: str) -> None:
    beside = composed(f"experiment={experiment}", "dataset=iris")
    plain = composed("dataset=iris", "model=shallow", "scheduler=cosine")
    assert {key: beside[key] for key in beside} == {key: plain[key] for key in plain}


def test_what_the_command_line_says_counts_beside_an_experiment() -> None:
    config = config_of("experiment=deep_adam", "optimizer=sgd", "optimizer.lr=0.1")
    assert (type(config.optimizer), config.optimizer.lr) == (SGD, 0.1)
    assert config_of("experiment=deep_adam", "optimizer.lr=0.1").optimizer.lr == 0.1


def test_experiments_keep_values_for_their_choices_apart() -> None:
    """What stands in an experiment's own file holds whatever is chosen."""
    for name in choices("experiment"):
        assert compose_module._own_values(name, (CONF,)) == {}
    for path in (CONF / "experiment").glob("*/*.yaml"):  # and none of those is misspelt
        experiment, *chosen = path.stem.split("-")
        assert experiment in choices("experiment")
        for group, name in zip(path.parent.name.split("_"), chosen, strict=True):
            assert name in choices(group)


def test_what_becomes_of_an_experiments_values_is_told(tmp_path: Path) -> None:
    assert notes("experiment=deep_adam", "optimizer.lr=0.1") == []
    assert notes("optimizer=sgd") == []
    assert notes("experiment=deep_adam", "optimizer=sgd", "model=linear") == [
        "experiment/model/deep_adam-deep.yaml does not apply to model=linear",
        "experiment/optimizer/deep_adam-adam.yaml does not apply to optimizer=sgd",
    ]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /optimizer: adam\n  - override /trainer: default\n"
        "optimizer:\n  lr: 0.3\n  weight_decay: 0.1\nmodel:\n  dropout: 0.5\n",
        encoding="utf-8",
    )
    mine = [f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine"]
    assert notes(*mine) == []
    assert notes(*mine, "optimizer=sgd") == [
        "experiment=mine sets optimizer.lr, optimizer.weight_decay beside optimizer=adam; "
        "these values also apply to optimizer=sgd"
    ]
    assert notes(*mine, "optimizer=sgd", "optimizer.lr=0.1") == [
        "experiment=mine sets optimizer.weight_decay beside optimizer=adam; these values also "
        "apply to optimizer=sgd"
    ]


def test_choices_become_their_own_types() -> None:
    assert type(config_of("optimizer=sgd").optimizer) is SGD
    adamw = config_of("optimizer=adamw", "optimizer.betas=[0.8,0.9]").optimizer
    assert type(adamw) is AdamW
    assert adamw.betas == [0.8, 0.9]
    assert adamw.weight_decay == 0.01


def test_defaults_are_those_of_torch_optim() -> None:
    """lr and SGD's momentum apart, which conf/ sets."""
    import torch

    parameter = [torch.nn.Parameter(torch.zeros(1))]
    for name, kind in {
        "sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop,
    }.items():  # fmt: skip
        defaults = kind(parameter).defaults
        for field in dataclasses.fields(config_of(f"optimizer={name}").optimizer):
            if field.name in ("name", "lr") or (name, field.name) == ("sgd", "momentum"):
                continue
            value = getattr(config_of(f"optimizer={name}").optimizer, field.name)
            expected = defaults[field.name]
            assert value == (list(expected) if isinstance(expected, tuple) else expected)


def test_the_split_follows_the_seed_unless_it_is_held() -> None:
    assert config_of("seed=7").dataset.split_seed == 7
    assert config_of("seed=7", "dataset.split_seed=1").dataset.split_seed == 1


def test_one_k_is_a_list_of_one() -> None:
    knn = config_of("baseline.knn.k=3").baseline.knn
    assert knn is not None
    assert knn.k == [3]


@pytest.mark.parametrize("override", ["baseline=none", "baseline=[]", "~baseline"])
def test_no_baseline(override: str) -> None:
    assert config_of(override).baseline.knn is None


SELECT_ONE_OF = (
    "trainer.select={}: must be one of metric, loss, last, accuracy, balanced_accuracy, macro_f1, "
    "roc_auc, weighted_f1, macro_precision, precision, recall, f1, average_precision, mcc, "
    "calibration_error"
)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.dropout=1"], "model.dropout=1.0: must be less than 1"),
        (["model.init_std=0"], "model.init_std=0.0: must be greater than 0"),
        (["optimizer.betas=[0.9]"], "optimizer.betas=[0.9]: must be two numbers, not 1"),
        (["optimizer.betas=[0.9,nan]"], "optimizer.betas=[0.9,nan]: must be a finite number"),
        (["optimizer=sgd", "optimizer.dampening=0.5", "optimizer.momentum=0"],
         "optimizer.dampening=0.5: has no effect without optimizer.momentum above 0"),
        (["optimizer=rmsprop", "optimizer.alpha=1.5"], "optimizer.alpha=1.5: must be at most 1"),
        (["scheduler=step", "scheduler.step_size=0"], "scheduler.step_size=0: must be at least 1"),
        (["trainer.grad_clip=0"], "trainer.grad_clip=0.0: must be greater than 0"),
        (["trainer.early_stopping.patience=0"],
         "trainer.early_stopping.patience=0: must be at least 1"),
        (["trainer.early_stopping.metric=val_acc"],
         "trainer.early_stopping.metric=val_acc: must be one of val/loss, val/acc, val/rmse, "
         "train/loss "
         "(did you mean 'val/acc'?)"),
        (["trainer.precision=float16"],
         "trainer.precision=float16: must be one of float32, tf32, bfloat16 "
         "(did you mean 'bfloat16'?)"),
        (["baseline.knn.k=[]"], "baseline.knn.k=[]: must be a whole number or a list of them"),
        (["baseline.knn.k=[2.5]"],
         "baseline.knn.k=[2.5]: must be a whole number or a list of them"),
        (["baseline.knn.k=many"], "baseline.knn.k=[many]: many is not a number"),
        (["baseline.knn.metric=l2"],
         "baseline.knn.metric=[l2]: must be one of euclidean, manhattan, minkowski_1.5, "
         "cosine"),
        (["dataset.val_fraction=0.5", "dataset.test_fraction=0.5"],
         "dataset.val_fraction=0.5: leaves no training samples beside dataset.test_fraction=0.5"),
        (["seed=-1"], "seed=-1: must be at least 0"),
        (["scheduler.warmup_epochs=5", "trainer.epochs=5"],
         "scheduler.warmup_epochs=5.0: must be less than trainer.epochs=5"),
        (["+trainer.patience=3"],
         "trainer.patience: no such option (did you mean 'baseline.boosting.patience' or "
         "'baseline.catboost.patience' or 'baseline.lightgbm.patience' or "
         "'trainer.early_stopping.patience'?); "
         "trainer has epochs, batch_size, drop_last, label_smoothing, balance_classes, "
         "class_weights, grad_clip, select, "
         "early_stopping, eval_every, device, precision, cuda_graphs, threads, "
         "require_train_loss, checkpoint_seconds, histograms, pictures"),
        (["trainer.select=accurcy"],
         f"{SELECT_ONE_OF.format('accurcy')} (did you mean 'accuracy'?)"),
        (["trainer.select=latest"], f"{SELECT_ONE_OF.format('latest')} (did you mean 'last'?)"),
        (["trainer.select=rmse"], SELECT_ONE_OF.format("rmse")),
        (["dataset=diabetes", "trainer.select=accuracy"],
         "trainer.select=accuracy: must be one of metric, loss, last, rmse, mae, r2, "
         "median_absolute_error, pinball_5, pinball_10, pinball_50, pinball_90, pinball_95"),
        (["dataset=diabetes", "loss=cross_entropy"],
         "loss.name=cross_entropy: is a loss of classification, the task is regression; of "
         "regression are squared_error, absolute_error, huber, quantile"),
        (["loss=huber"],
         "loss.name=huber: is a loss of regression, the task is classification; of classification "
         "are cross_entropy"),
        (["dataset=diabetes", "task=classification"],
         "task=classification: dataset=diabetes is one of regression"),
        (["task=regression"], "task=regression: dataset=digits is one of classification"),
        (["dataset=diabetes", "metrics=[macro_f1]"],
         "metrics=[macro_f1,mae,r2]: macro_f1 is a metric of classification, the task is "
         "regression"),
        (["dataset=diabetes", "trainer.early_stopping.metric=val/acc"],
         "trainer.early_stopping.metric=val/acc: of regression there is val/rmse"),
        (["objective=val/rmse"], "objective=val/rmse: of classification there is val/acc"),
        (["dataset=diabetes", "trainer.label_smoothing=0.1"],
         "trainer.label_smoothing=0.1: goes with loss=cross_entropy, not squared_error"),
        (["++model.width=3"],
         "model.width: no such option; model has name, hidden, activation, dropout, norm, "
         "residual, bias, init, init_distribution, init_std"),
    ],
)  # fmt: skip
def test_what_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        config_of(*overrides)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "trainer.select=accuracy: needs validation samples, and dataset.val_fraction=0 sets "
         "none apart; trainer.select=last keeps the last epoch"),
        (["trainer.select=last", "trainer.early_stopping.patience=3"],
         "trainer.early_stopping.metric=val/loss: needs validation samples, and "
         "dataset.val_fraction=0 sets none apart; train/loss does not"),
        (["trainer.select=last", "baseline.knn.k=[1,3]"],
         "baseline.knn.k=[1,3]: needs validation samples, and dataset.val_fraction=0 sets none "
         "apart to choose by; give one value"),
        (["trainer.select=last", "baseline=svm", "baseline.svm.gamma=1"],
         "baseline.svm.C=[0.1,1,10,100]: needs validation samples, and dataset.val_fraction=0 "
         "sets none apart to choose by; give one value"),
    ],
)  # fmt: skip
def test_what_needs_validation_rows(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        config_of("dataset.val_fraction=0", *overrides)
    assert str(error.value) == message


def test_what_needs_no_validation_rows() -> None:
    early = ("trainer.early_stopping.metric=train/loss", "trainer.early_stopping.patience=3")
    knn = ("baseline.knn.k=5", "baseline.knn.weights=uniform", "baseline.knn.metric=euclidean",
           "baseline.knn.scaler=dataset")  # fmt: skip
    config_of("dataset.val_fraction=0", "trainer.select=last", *early, *knn)
    config_of("dataset.val_fraction=0", "trainer.select=last", "baseline=none")


@pytest.mark.parametrize(
    ("overrides", "arm"),
    [
        ([], "deep · adam"),
        (["model=shallow", "optimizer=sgd", "seed=3"], "shallow · sgd"),
        (["experiment=deep_adam", "seed=3"], "deep · adam"),
        (["optimizer.lr=0.01", "model.hidden=[64,64]"], "deep · adam · hidden=[64,64] · lr=0.01"),
        (["model.hidden=[64, 64]", "optimizer.lr=1e-2"], "deep · adam · hidden=[64,64] · lr=0.01"),
        (["dataset.val_fraction=0.3", "dataset.split_seed=4"],
         "deep · adam · split_seed=4 · val_fraction=0.3"),
        (["dataset.folds=5", "dataset.fold=2", "dataset.split_seed=4"], "deep · adam · folds=5"),
        (["scheduler=cosine"], "deep · adam · scheduler=cosine"),
        (["+experiment=mnist"], "mlp · adam · mnist"),
        (["dataset=moons", "dataset.noise=0.3", "dataset.num_train=50"],
         "deep · adam · noise=0.3 · num_train=50"),
        (["dataset=csv", "dataset.path=a/t.csv", "dataset.target=y", "baseline.knn.k=[1,3]"],
         "deep · adam · k=[1,3] · target=y"),
        (["trainer.device=cpu", "hydra.verbose=true", "debug=fast", "baseline=none"],
         "deep · adam · baseline=none · debug=fast"),
        (["dataset.train_fraction=0.25"], "deep · adam · train_fraction=0.25"),
        (["dataset.fraction=0.25"], "deep · adam · fraction=0.25"),
        (["dataset=mnist", "dataset.train_images.file=a"], "deep · adam"),
    ],
)  # fmt: skip
def test_arm_names(overrides: list[str], arm: str) -> None:
    tree = composed(*(o.lstrip("+") for o in overrides if not o.startswith("hydra")))
    assert arm_name(tree, overrides) == arm


def test_every_schema_is_reachable_from_conf() -> None:
    """A schema that no file of conf/ names would be dead."""
    for group, schemas in SCHEMAS.items():
        used = {
            line.split(":")[1].strip()
            for path in (CONF / group).glob("*.yaml")
            for line in path.read_text().splitlines()
            if line.strip().startswith(f"- /schema/{group}@_here_")
        }
        own = {name for name, cls in schemas.items() if cls.__module__.startswith("nnexp.")}
        assert used == own


def test_conf_is_that_of_the_checkout() -> None:
    assert Path(__file__).resolve().parents[2] / "conf" == CONF


def test_imports_point_one_way() -> None:
    """Those inside of functions count too: a circle is not to be hidden there."""
    room = Path(nnexp.config.__file__).parent
    imports = {}
    for path in room.rglob("*.py"):
        parts = path.relative_to(room.parent.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        imports[name] = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    order = list(graphlib.TopologicalSorter(imports).static_order())
    assert order.index("nnexp.config.fields") < order.index("nnexp.config.schema")
    assert order.index("nnexp.config.schema") < order.index("nnexp.config.wording")
