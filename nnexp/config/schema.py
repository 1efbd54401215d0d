"""The schema of a config: a dataclass a component, a typed and documented field an option.

Hydra composes the YAML files of ``conf/`` onto these classes, so that a wrong type or an option of
another component is refused at once. The values that a run starts from stand in ``conf/``; the
defaults here serve configs that leave an option out.

The classes are not frozen because OmegaConf cannot compose nested frozen dataclasses.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

import nnexp.config.dataset_schema  # noqa: F401  # registers those that come with nnexp
from nnexp import registry
from nnexp.baselines.base import FittedConfig
from nnexp.baselines.boosting import BoostingConfig
from nnexp.baselines.forest import ForestConfig
from nnexp.baselines.knn import KNNConfig
from nnexp.baselines.logistic_regression import LogisticRegressionConfig
from nnexp.baselines.majority import MajorityConfig
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
from nnexp.errors import did_you_mean
from nnexp.metrics import ACCURACY, METRICS, is_known, recorded_metrics
from nnexp.models.activations import ACTIVATIONS
from nnexp.models.base import Model
from nnexp.models.losses import CrossEntropy, Loss
from nnexp.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from nnexp.optim.schedules import Constant, Cosine, Exponential, Scheduler, StepDecay
from nnexp.scalers import SCALERS

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
    "SELECTIONS",
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
    "Selection",
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
STOPPING_METRICS = ("val/loss", "val/acc", "train/loss")


@dataclass(frozen=True)
class Selection:
    """A rule that chooses the epoch whose weights a run keeps; of equally good ones the last.

    Attributes:
        key: the number of an epoch's record that decides.
        direction: ``minimize`` or ``maximize``.
        epoch: what the chosen one is called.
    """

    key: str
    direction: str
    epoch: str

    def score(self, value: float) -> float:
        """Return what epochs are compared by, smaller being better."""
        return -value if self.direction == "maximize" else value


SELECTIONS = {
    "accuracy": Selection("val/acc", "maximize", "the epoch of highest validation accuracy"),
    "loss": Selection("val/loss", "minimize", "the epoch of lowest validation loss"),
    "last": Selection("epoch", "maximize", "the last epoch"),
}
"""The values of ``trainer.select``. Accuracy is the default because reports judge by it."""


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
    grad_clip: float | None = ranged(None, gt=0)  # largest L2 norm of a run's gradient
    select: str = choice("accuracy", SELECTIONS)  # which evaluated epoch is kept and tested
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


# --------------------------------------------------------------------------------------------------
# The baselines that a run is compared with.
# --------------------------------------------------------------------------------------------------


@dataclass
class BaselinesConfig:
    """The baselines that a run is compared with, by name."""

    knn: KNNConfig | None = None
    majority: MajorityConfig | None = None
    logistic_regression: LogisticRegressionConfig | None = None
    svm: SVMConfig | None = None
    forest: ForestConfig | None = None
    boosting: BoostingConfig | None = None

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
    """What a sweep ends in, and what its tables show. Nothing of it touches training; the metric is
    computed when it has ended."""

    enabled: bool = True  # write report/ after a sweep
    metric: str | None = None  # that selects and judges; null: accuracy
    tuned: list[str] = field(default_factory=lambda: ["optimizer.lr"])  # chosen on validation rows
    reference: str = "knn"  # the learner that the others are compared with
    equivalence: float = ranged(0.5, ge=0, le=100)  # points of per cent that do not matter
    relative_equivalence: float | None = ranged(None, ge=0, le=1)  # share of the reference's error
    tensorboard: bool = False  # mean curves of every arm, as TensorBoard runs of their own
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

OBJECTIVES = {"val/loss": "minimize", "val/acc": "maximize"}
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
    def recorded_metrics(self) -> list[str]:
        """The names of the metrics that the run records beside loss and accuracy."""
        return recorded_metrics(self.metrics, self.report.metric)

    def check_rules(self) -> Problems:
        """Rules across the groups."""
        for name in self.metrics:
            if name not in METRICS:
                yield "metrics", _unregistered(name)
        if (primary := self.report.metric) is not None and not is_known(primary):
            yield "report.metric", _unregistered(primary, ACCURACY)
        if (task := getattr(self.dataset, "task", self.task)) != self.task:
            yield "dataset.task", f"follows the task of the run: say task={task} instead"
        if self.scheduler.warmup_epochs >= self.trainer.epochs:
            reason = f"must be less than trainer.epochs={self.trainer.epochs}"
            yield "scheduler.warmup_epochs", reason
        if self.trainer.label_smoothing and type(self.loss) is not CrossEntropy:
            yield "trainer.label_smoothing", f"goes with loss=cross_entropy, not {self.loss.name}"


def _unregistered(metric: str, *others: str) -> str:
    known = [*others, *METRICS]
    return (
        f"{metric} is no registered metric{did_you_mean(metric, known)}; registered are "
        f"{', '.join(known)}. If a package of yours has it: imports=[<package>]"
    )
