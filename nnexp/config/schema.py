"""The schema of a config: a dataclass a component, a typed and documented field an option.

Hydra composes the YAML files of ``conf/`` onto these classes, so that a wrong type or an option of
another component is refused at once. The values that a run starts from stand in ``conf/``; the
defaults here serve configs that leave an option out.

The classes are not frozen because OmegaConf cannot compose nested frozen dataclasses.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

import nnexp.models.regression_losses  # noqa: F401  # likewise
from nnexp import registry
from nnexp.baselines.base import FittedConfig
from nnexp.baselines.boosting import BoostingConfig
from nnexp.baselines.catboost import CatBoostConfig
from nnexp.baselines.constant import ConstantConfig
from nnexp.baselines.forest import ForestConfig
from nnexp.baselines.knn import KNNConfig
from nnexp.baselines.lightgbm import LightGBMConfig
from nnexp.baselines.logistic_regression import LogisticRegressionConfig
from nnexp.baselines.majority import MajorityConfig
from nnexp.baselines.ridge import RidgeConfig
from nnexp.baselines.svm import SVMConfig
from nnexp.config.dataset_schema import (
    BUNDLED,
    GENERATORS,
    TASKS,
    ArraysConfig,
    BundledConfig,
    CSVConfig,
    DatasetConfig,
    DrawnDatasetConfig,
    GeneratedConfig,
    IDXConfig,
    IDXFile,
    TableConfig,
)
from nnexp.config.fields import Problems, choice, options_of, ranged
from nnexp.config.selections import PRIMARY, selection, selections
from nnexp.errors import ConfigError, did_you_mean
from nnexp.metrics import ACCURACY, METRICS, is_known, recorded_metrics, task_of_metric
from nnexp.models.activations import ACTIVATIONS
from nnexp.models.base import Model
from nnexp.models.losses import CrossEntropy, Loss, LossOfTask
from nnexp.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from nnexp.optim.schedules import Constant, Cosine, Exponential, Scheduler, StepDecay
from nnexp.scalers import SCALERS
from nnexp.tasks import CLASSIFICATION, Task
from nnexp.tasks import TASKS as TASK_BY_NAME

__all__ = [
    "ACTIVATIONS",
    "BUNDLED",
    "GENERATORS",
    "GLOBAL_GROUPS",
    "GROUPS",
    "INITS",
    "NORMS",
    "OBJECTIVES",
    "PRECISIONS",
    "SCALERS",
    "SCHEMAS",
    "SGD",
    "STOPPING_METRICS",
    "Adagrad",
    "Adam",
    "AdamW",
    "ArraysConfig",
    "BaselinesConfig",
    "BoostingConfig",
    "BundledConfig",
    "CSVConfig",
    "Config",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "DatasetConfig",
    "DrawnDatasetConfig",
    "EarlyStoppingConfig",
    "Exponential",
    "FittedConfig",
    "ForestConfig",
    "GeneratedConfig",
    "IDXConfig",
    "IDXFile",
    "KNNConfig",
    "LogisticRegressionConfig",
    "Loss",
    "MajorityConfig",
    "ModelConfig",
    "Optimizer",
    "RMSprop",
    "ReportConfig",
    "SVMConfig",
    "Scheduler",
    "StepDecay",
    "TableConfig",
    "TrainerConfig",
    "baselines_config",
    "tunable_keys",
]

# --------------------------------------------------------------------------------------------------
# What a network may be.
# --------------------------------------------------------------------------------------------------

NORMS = ("none", "batch", "layer")
INITS = ("default", "kaiming", "xavier", "orthogonal", "normal")


@dataclass
class ModelConfig(Model):
    """A multilayer perceptron: hidden layers of Linear, norm, activation, dropout; then Linear."""

    hidden: list[int] = ranged([], ge=1)  # widths of the hidden layers; [] is a linear model
    activation: str = choice("relu", ACTIVATIONS)
    dropout: float = ranged(0.0, ge=0, lt=1)  # after every hidden layer
    norm: str = choice("none", NORMS)
    residual: bool = False  # add a hidden layer's input to its output where widths are equal
    bias: bool = True
    init: str = choice("default", INITS)
    init_distribution: str = choice("uniform", ("uniform", "normal"))  # of kaiming and xavier
    init_std: float = ranged(0.02, gt=0)  # of init=normal

    def check_rules(self) -> Problems:
        """Options that would do nothing with these hidden layers are refused."""
        pairs = zip(self.hidden, self.hidden[1:], strict=False)
        if self.residual and not any(a == b for a, b in pairs):
            reason = "needs two neighbouring hidden layers of equal width"
            yield "residual", f"{reason}; model.hidden={self.hidden}"
        if not self.hidden and self.norm != "none":
            yield "norm", "needs a hidden layer, model.hidden=[]"
        if not self.hidden and self.dropout:
            yield "dropout", "needs a hidden layer, model.hidden=[]"


# --------------------------------------------------------------------------------------------------
# How a run is trained and watched.
# --------------------------------------------------------------------------------------------------

PRECISIONS = ("float32", "tf32", "bfloat16")
STOPPING_METRICS = ("val/loss", "val/acc", "val/rmse", "train/loss")


@dataclass
class EarlyStoppingConfig:
    """Stop when a metric has not improved by min_delta for patience evaluations.

    It decides when a run ends; which of the epochs until then is kept, ``trainer.select`` decides.
    """

    metric: str = choice("val/loss", STOPPING_METRICS)
    patience: int | None = ranged(None, ge=1)  # null: train all epochs
    min_delta: float = ranged(0.0, ge=0)


@dataclass
class TrainerConfig:
    """How a run is trained and watched."""

    epochs: int = ranged(30, ge=1)
    batch_size: int = ranged(32, ge=1)
    drop_last: bool = False
    label_smoothing: float = ranged(0.0, ge=0, lt=1)
    balance_classes: bool = False  # in the loss each class weighs as much as another
    class_weights: dict[Any, float] = field(default_factory=dict)  # there, by name; others 1
    grad_clip: float | None = ranged(None, gt=0)  # largest L2 norm of a run's gradient
    select: str = PRIMARY  # which evaluated epoch is kept: metric, loss, last, or a metric's name
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    eval_every: int = ranged(1, ge=1)  # epochs between evaluations on the validation rows
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    precision: str = choice("float32", PRECISIONS)  # of matrix products; tf32 on CUDA alone
    cuda_graphs: bool = True  # replay captured steps on CUDA: the same numbers, sooner
    threads: int | None = ranged(None, ge=1)  # of the CPU; null: one for small steps, else all
    require_train_loss: float | None = ranged(None, gt=0)  # ends the run; fails it if not reached
    checkpoint_seconds: float = ranged(30.0, gt=0)  # least time between two checkpoints
    histograms: bool = False  # of weights and gradients, to TensorBoard, at every evaluation
    pictures: bool = True  # confusion matrix and decision boundary, to TensorBoard

    def check_rules(self) -> Problems:
        """Weights of classes are positive numbers, and said once."""
        if self.balance_classes and self.class_weights:
            yield "class_weights", "trainer.balance_classes=true weighs the classes"
        for name, weight in self.class_weights.items():
            if not 0 < weight < math.inf:
                yield "class_weights", f"{name}: {weight:g} is no number above 0"


# --------------------------------------------------------------------------------------------------
# The baselines that a run is compared with.
# --------------------------------------------------------------------------------------------------


@dataclass
class BaselinesConfig:
    """The baselines that a run is compared with, by name."""

    knn: KNNConfig | None = None
    majority: MajorityConfig | None = None
    constant: ConstantConfig | None = None
    logistic_regression: LogisticRegressionConfig | None = None
    ridge: RidgeConfig | None = None
    svm: SVMConfig | None = None
    forest: ForestConfig | None = None
    boosting: BoostingConfig | None = None
    lightgbm: LightGBMConfig | None = None
    catboost: CatBoostConfig | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """By values: the class may be one that ``baselines_config`` has made."""
        return _remade, (
            {field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
        )


def baselines_config() -> type[BaselinesConfig]:
    """``BaselinesConfig`` with a field for each baseline of another package."""
    return _baselines_config(registry.version())


@functools.lru_cache(maxsize=1)
def _baselines_config(_: int) -> type[BaselinesConfig]:
    own = {field.name for field in dataclasses.fields(BaselinesConfig)}
    added: list[Any] = [
        (name, cls | None, dataclasses.field(default=None))
        for name, cls in registry.components("baseline").items()
        if name not in own
    ]
    if not added:
        return BaselinesConfig
    made: type[BaselinesConfig] = dataclasses.make_dataclass(
        "BaselinesConfig", added, bases=(BaselinesConfig,)
    )
    return made


def _remade(values: dict[str, Any]) -> BaselinesConfig:
    """Unpickling the values has imported their modules, which register their baselines."""
    return baselines_config()(**values)


# --------------------------------------------------------------------------------------------------
# The groups of ``conf/``, their kinds, and what of them a comparison may tune.
# --------------------------------------------------------------------------------------------------

registry.register("model", "mlp", ModelConfig)

SCHEMAS: dict[str, Mapping[str, type[Any]]] = {
    **{
        group: registry.components(group)
        for group in ("model", "optimizer", "scheduler", "loss", "dataset")
    },
    "trainer": {"trainer": TrainerConfig},
}
"""By group the dataclass of each kind; they are views, to which a package of one's own may add."""

GLOBAL_GROUPS = ("experiment", "debug")  # whose files speak of the whole config
GROUPS = (*SCHEMAS, "baseline", *GLOBAL_GROUPS)

_TUNABLE = ("model", "optimizer", "scheduler", "loss", "trainer")


def tunable_keys() -> frozenset[str]:
    """The options of a network and of its training, ``optimizer.lr``, and their groups, which stand
    for all of theirs: ``optimizer``."""
    return _tunable_keys(registry.version())


@functools.lru_cache(maxsize=1)
def _tunable_keys(_: int) -> frozenset[str]:
    schemas = [(group, schema) for group in _TUNABLE for schema in SCHEMAS[group].values()]
    keys = {key for group, schema in schemas for key, _ in options_of(schema, f"{group}.")}
    return frozenset(keys.union(_TUNABLE))


# --------------------------------------------------------------------------------------------------
# What a sweep ends in.
# --------------------------------------------------------------------------------------------------


@dataclass
class ReportConfig:
    """What a sweep ends in, and what its tables show. Nothing of it touches the steps of training;
    the metric selects, and ``budget`` is what baselines take as theirs, unless
    ``baseline.<name>.budget`` says otherwise.
    """

    enabled: bool = True  # write report/ after a sweep
    metric: str | None = None  # that selects and judges; null: accuracy
    tuned: list[str] = field(default_factory=lambda: ["optimizer.lr"])  # chosen on validation rows
    reference: str = "knn"  # the learner that the others are compared with
    equivalence: float = ranged(0.5, ge=0, le=100)  # points of per cent that do not matter
    relative_equivalence: float | None = ranged(None, ge=0, le=1)  # share of the reference's error
    tensorboard: bool = False  # mean curves of every arm, as TensorBoard runs of their own
    budget: int | None = ranged(None, ge=1)  # settings a baseline tries at most; null: its grid
    test_metrics: bool = False  # of every run, in runs.csv and HParams: easily selected by

    def check_rules(self) -> Problems:
        """What is tuned is an option of a network, and the reference a baseline or a network."""
        for key in self.tuned:
            if key not in tunable_keys():
                near = did_you_mean(key, tunable_keys())
                yield "tuned", f"{key} is no option that can be tuned{near}"
        baselines = [baseline.name for baseline in fields(baselines_config())]
        if self.reference not in baselines and "·" not in self.reference:
            near = did_you_mean(self.reference, baselines)
            known = ", ".join(baselines)
            yield "reference", f"must be {known} or a network such as 'deep · adam'{near}"


# --------------------------------------------------------------------------------------------------
# The whole config of a run, and the rules across its components.
# --------------------------------------------------------------------------------------------------

OBJECTIVES = {"val/loss": "minimize", "val/acc": "maximize", "val/rmse": "minimize"}
"""What a search over configs may go by, and the direction in which it is better."""


@dataclass
class Config:
    """One run."""

    seed: int = ranged(0, ge=0)
    imports: list[str] = field(default_factory=list)  # modules that register components
    task: str = choice("auto", TASKS)  # classification: numbers in the target are classes
    objective: str = choice("val/loss", tuple(OBJECTIVES))  # at the best epoch, for a search
    metrics: list[str] = field(default_factory=list)  # computed beside loss and accuracy
    model: Model = MISSING
    optimizer: Optimizer = MISSING
    scheduler: Scheduler = MISSING
    loss: Loss = field(default_factory=lambda: CrossEntropy(name="cross_entropy"))
    dataset: DatasetConfig = MISSING
    trainer: TrainerConfig = MISSING
    baseline: BaselinesConfig = field(default_factory=BaselinesConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    @property
    def kind_of_task(self) -> Task:
        """The task: as it is said, else that of the data set, else classification."""
        own = self.dataset.own_task if isinstance(self.dataset, DatasetConfig) else None
        name = self.task if self.task != "auto" else own or CLASSIFICATION
        return TASK_BY_NAME.get(name, TASK_BY_NAME[CLASSIFICATION])  # the check refuses others

    @property
    def recorded_metrics(self) -> list[str]:
        """The names of the metrics that the run records beside loss and accuracy, or RMSE."""
        return recorded_metrics(self.metrics, self.report.metric)

    def resolve(self) -> None:
        """Put what follows from the task in the place of what was left to it."""
        task = self.kind_of_task
        if type(self.loss) is LossOfTask:
            self.loss = registry.component("loss", task.loss)(name=task.loss)
        if self.report.metric is None and task.name != CLASSIFICATION:
            self.report.metric = task.metric
        if self.trainer.select == PRIMARY:
            self.trainer.select = self.report.metric or task.metric
        self._keep_baselines_of(task)
        chosen_by = [self.trainer.select] if self.trainer.select in METRICS else []
        self.metrics = recorded_metrics([*self.metrics, *chosen_by, *task.further], None)

    def _keep_baselines_of(self, task: Task) -> None:
        """``baseline=all`` means those of the task.

        Raises:
            ConfigError: none that is asked for is of the task.
        """
        asked = {f.name: getattr(self.baseline, f.name) for f in fields(self.baseline)}
        asked = {name: one for name, one in asked.items() if one is not None}
        others = [name for name, one in asked.items() if task.name not in one.tasks]
        if others and len(others) == len(asked):
            known = registry.components("baseline").items()
            allowed = ", ".join(name for name, kind in known if task.name in kind.tasks)
            raise ConfigError(
                f"baseline={others[0]}: is one of {asked[others[0]].tasks[0]}; of {task.name} are "
                f"{allowed}"
            )
        for name in others:
            setattr(self.baseline, name, None)

    def check_rules(self) -> Problems:
        """Rules across the groups."""
        task = self.kind_of_task
        own = self.dataset.own_task
        if own not in (None, task.name):
            yield "task", f"dataset={self.dataset.name} is one of {own}"
        for name in self.metrics:
            if name not in METRICS:
                yield "metrics", _unregistered(name)
            elif METRICS[name].task != task.name:
                yield (
                    "metrics",
                    f"{name} is a metric of {METRICS[name].task}, the task is {task.name}",
                )
        if (primary := self.report.metric) is not None:
            if not is_known(primary):
                yield "report.metric", _unregistered(primary, ACCURACY)
            elif task_of_metric(primary) != task.name:
                yield (
                    "report.metric",
                    f"is a metric of {task_of_metric(primary)}, the task is {task.name}",
                )
        if (asked := getattr(self.dataset, "task", self.task)) != self.task:
            yield "dataset.task", f"follows the task of the run: say task={asked} instead"
        if self.loss.task != task.name:
            names = [
                n for n, kind in SCHEMAS["loss"].items() if kind.task == task.name and n != "auto"
            ]
            yield (
                "loss.name",
                (
                    f"is a loss of {self.loss.task}, the task is {task.name}; of "
                    f"{task.name} are {', '.join(names)}"
                ),
            )
        for option in ("balance_classes", "class_weights"):
            if getattr(self.trainer, option) and task.name != CLASSIFICATION:
                yield f"trainer.{option}", f"goes with classification, the task is {task.name}"
        yield from self._check_selection(task)
        if self.scheduler.warmup_epochs >= self.trainer.epochs:
            reason = f"must be less than trainer.epochs={self.trainer.epochs}"
            yield "scheduler.warmup_epochs", reason
        if not self.dataset.val_fraction:
            yield from self._check_unvalidated()
        if self.trainer.label_smoothing and type(self.loss) is not CrossEntropy:
            yield "trainer.label_smoothing", f"goes with loss=cross_entropy, not {self.loss.name}"

    def _check_selection(self, task: Task) -> Problems:
        """What epochs and configs are chosen by is there for the task."""
        try:
            selection(self.trainer.select, task)
        except KeyError:
            allowed = selections(task)
            near = did_you_mean(self.trainer.select, allowed)
            if self.trainer.select == task.key:  # as records call it
                near = f" (did you mean '{task.metric}'?)"
            yield "trainer.select", f"must be one of {', '.join(allowed)}{near}"
        for key, value in (
            ("trainer.early_stopping.metric", self.trainer.early_stopping.metric),
            ("objective", self.objective),
        ):
            name = value.partition("/")[2]
            if name != "loss" and name != task.key:
                yield key, f"of {task.name} there is val/{task.key}"

    def _check_unvalidated(self) -> Problems:
        """Without validation rows nothing can be chosen."""
        why = "needs validation samples, and dataset.val_fraction=0 sets none apart"
        if self.trainer.select != "last":
            yield "trainer.select", f"{why}; trainer.select=last keeps the last epoch"
        stopping = self.trainer.early_stopping
        if stopping.patience is not None and stopping.metric.startswith("val/"):
            yield "trainer.early_stopping.metric", f"{why}; train/loss does not"
        for baseline in fields(self.baseline):
            options = getattr(self.baseline, baseline.name)
            for option in fields(options) if options is not None else ():
                if "tuned" in option.metadata and len(getattr(options, option.name)) > 1:
                    name = f"baseline.{baseline.name}.{option.name}"
                    yield name, f"{why} to choose by; give one value"


def _unregistered(metric: str, *others: str) -> str:
    known = [*others, *METRICS]
    return (
        f"{metric} is no registered metric{did_you_mean(metric, known)}; registered are "
        f"{', '.join(known)}. If a package of yours has it: imports=[<package>]"
    )
