"""What a config may say: one dataclass a component, one field an option.

Hydra composes the YAML files of ``conf/`` onto these classes, so that a wrong type or an option of
another component is refused at once. The values that a run starts from stand in ``conf/``; the
defaults here serve configs that leave an option out.

The classes are not frozen because OmegaConf cannot compose nested frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from nnexp.config.fields import choice, ranged, tuned
from nnexp.errors import did_you_mean

ACTIVATIONS = (
    "step", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu",
)  # fmt: skip
NORMS = ("none", "batch", "layer")
INITS = ("default", "kaiming", "xavier", "orthogonal", "normal")
SCALINGS = ("none", "standard", "minmax")
PRECISIONS = ("float32", "bfloat16")
STOPPING_METRICS = ("val/loss", "val/acc", "train/loss")
BUNDLED = ("digits", "iris", "wine", "breast_cancer")
GENERATORS = ("moons", "circles", "blobs", "xor", "spirals", "checkerboard")

Problems = Iterator[tuple[str, str]]


# ── model ─────────────────────────────────────────────────────────────────────────────────────


@dataclass
class ModelConfig:
    """A multilayer perceptron: hidden layers of Linear, norm, activation, dropout; then Linear."""

    name: str = MISSING
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


# ── optimizer: names and meanings of torch.optim ──────────────────────────────────────────────


@dataclass
class OptimizerConfig:
    """What every optimizer has."""

    name: str = MISSING
    lr: float = ranged(MISSING, ge=0)
    weight_decay: float = ranged(0.0, ge=0)


@dataclass
class SGDConfig(OptimizerConfig):
    """torch.optim.SGD."""

    momentum: float = ranged(0.0, ge=0)
    dampening: float = ranged(0.0)
    nesterov: bool = False

    def check_rules(self) -> Problems:
        """As torch.optim.SGD."""
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            yield "nesterov", "needs optimizer.momentum above 0 and optimizer.dampening=0"
        if self.dampening != 0 and self.momentum == 0:
            yield "dampening", "has no effect without optimizer.momentum above 0"


@dataclass
class AdagradConfig(OptimizerConfig):
    """torch.optim.Adagrad."""

    lr_decay: float = ranged(0.0, ge=0)
    initial_accumulator_value: float = ranged(0.0, ge=0)
    eps: float = ranged(1e-10, ge=0)


@dataclass
class AdamConfig(OptimizerConfig):
    """torch.optim.Adam."""

    betas: list[float] = ranged([0.9, 0.999], ge=0, lt=1)
    eps: float = ranged(1e-8, ge=0)
    amsgrad: bool = False

    def check_rules(self) -> Problems:
        """Two numbers, of the first and of the second moment."""
        if len(self.betas) != 2:
            yield "betas", f"must be two numbers, not {len(self.betas)}"


@dataclass
class AdamWConfig(AdamConfig):
    """torch.optim.AdamW: Adam whose weight decay does not pass through the moments."""

    weight_decay: float = ranged(1e-2, ge=0)


@dataclass
class RMSpropConfig(OptimizerConfig):
    """torch.optim.RMSprop."""

    alpha: float = ranged(0.99, ge=0, le=1)
    eps: float = ranged(1e-8, ge=0)
    momentum: float = ranged(0.0, ge=0)
    centered: bool = False


# ── scheduler: the learning rate over the epochs ──────────────────────────────────────────────


@dataclass
class SchedulerConfig:
    """What every scheduler has: a linear warm-up before it starts. It changes lr at every step."""

    name: str = MISSING
    warmup_epochs: float = ranged(0.0, ge=0)  # fractions count
    warmup_start_factor: float = ranged(0.01, gt=0, le=1)  # of lr, at the first step


@dataclass
class ConstantConfig(SchedulerConfig):
    """lr stays."""


@dataclass
class CosineConfig(SchedulerConfig):
    """Half a cosine from lr to eta_min over the epochs after the warm-up."""

    eta_min: float = ranged(0.0, ge=0)


@dataclass
class StepConfig(SchedulerConfig):
    """lr times gamma every step_size epochs."""

    step_size: int = ranged(10, ge=1)
    gamma: float = ranged(0.1, gt=0)


@dataclass
class ExponentialConfig(SchedulerConfig):
    """lr times gamma every epoch."""

    gamma: float = ranged(0.95, gt=0)


# ── dataset ───────────────────────────────────────────────────────────────────────────────────


@dataclass
class DatasetConfig:
    """What every data set has."""

    name: str = MISSING
    scaling: str = choice("standard", SCALINGS)  # fitted on the training rows alone
    num_train: int | None = ranged(None, ge=1)  # a nested stratified subset; null takes all rows
    train_fraction: float = ranged(1.0, gt=0, le=1)  # the same as a share of the training rows
    val_fraction: float = ranged(0.15, gt=0, lt=1)  # of the rows that are not official test rows
    split_seed: int = ranged(0, ge=0)  # conf/ sets ${seed}

    def check_rules(self) -> Problems:
        """The number of training rows is said once."""
        if self.num_train is not None and self.train_fraction != 1:
            yield "train_fraction", f"must be 1 beside dataset.num_train={self.num_train}"


@dataclass
class DrawnDatasetConfig(DatasetConfig):
    """A data set without official test rows: they are drawn, stratified."""

    test_fraction: float = ranged(0.2, gt=0, lt=1)  # of all rows

    def check_rules(self) -> Problems:
        """Something must be left to train on."""
        yield from super().check_rules()
        if self.val_fraction + self.test_fraction >= 1:
            problem = f"leaves no training rows beside dataset.test_fraction={self.test_fraction}"
            yield "val_fraction", problem


@dataclass
class BundledConfig(DrawnDatasetConfig):
    """Real data that come with scikit-learn."""

    source: str = choice("digits", BUNDLED)


@dataclass
class GeneratedConfig(DrawnDatasetConfig):
    """Points in the plane, drawn from ``seed``; every class has as many, to within one."""

    generator: str = choice("moons", GENERATORS)
    rows: int = ranged(1000, ge=2, le=100_000_000)
    noise: float = ranged(0.1, ge=0, le=1e6)  # standard deviation, of each coordinate
    seed: int = ranged(0, ge=0)  # another seed is another data set, with its own fingerprint


@dataclass
class IDXFile:
    """One file of an IDX data set, as published."""

    file: str = MISSING
    sha256: str | None = None  # of the published file; null: not checked, and not fetched
    sha256_unpacked: str | None = None  # of the same file without its gzip; null: not checked


@dataclass
class IDXConfig(DatasetConfig):
    """Images in the IDX format of MNIST, with official test rows. Pixels are divided by 255."""

    root: str = MISSING  # the folder of the files, or one above it
    download: bool = True  # fetch what is absent
    urls: list[str] = field(default_factory=list)  # folders to fetch from, tried in this order
    train_images: IDXFile = field(default_factory=IDXFile)
    train_labels: IDXFile = field(default_factory=IDXFile)
    test_images: IDXFile = field(default_factory=IDXFile)
    test_labels: IDXFile = field(default_factory=IDXFile)
    class_names: list[str] = field(default_factory=list)  # of labels 0, 1, ...; []: their numbers


@dataclass
class CSVConfig(DrawnDatasetConfig):
    """A table in a text file, plain or gzip, one row a line.

    A column is given by its name or, where no column has that name, by its number: 0 is the first,
    -1 the last. A column that is not declared is numeric if all its values are numbers.
    """

    name: str = ""  # left empty: the file's name without its endings
    path: str = MISSING
    test_path: str | None = None  # official test rows in a file of their own
    split_column: str | None = None  # or a column that says train, val or test
    target: str = MISSING  # the column of the labels
    header: bool | None = None  # null: found out
    separator: str | None = None  # a character or tab; null: found out among tab ; | , and space
    quote: str | None = '"'  # around a cell that holds a separator; null: quotes mean nothing
    comment: str | None = None  # lines that start so are left out
    encoding: str = "utf-8"
    drop: list[str] = field(default_factory=list)  # columns to leave out
    numeric: list[str] = field(default_factory=list)  # columns of numbers
    categorical: list[str] = field(default_factory=list)  # columns to one-hot encode
    missing: list[str] = field(default_factory=lambda: ["", "?"])  # cells that mean no value
    impute_numeric: str = choice("error", ("error", "mean", "median"))  # of the training rows
    impute_categorical: str = choice("error", ("error", "most_frequent", "category"))
    target_strip: str = ""  # characters taken off both ends of a label, as the "." of adult.test

    def check_rules(self) -> Problems:
        """One official split at most, and a separator that can separate."""
        if self.test_path is not None and self.split_column is not None:
            yield "split_column", f"the split is given by dataset.test_path={self.test_path}"
        if self.separator not in (None, "tab", "\\t") and (
            len(self.separator) != 1 or self.separator in '"\r\n'
        ):
            yield "separator", "must be one character, or tab"
        if self.quote is not None and (len(self.quote) != 1 or self.quote == self.separator):
            yield "quote", "must be one character and not the separator, or null"
        if self.comment == "":
            yield "comment", "must be the text that a comment starts with, or null"
        if self.test_path is None and self.split_column is None:
            yield from super().check_rules()
        else:
            yield from DatasetConfig.check_rules(self)


# ── trainer ───────────────────────────────────────────────────────────────────────────────────


@dataclass
class EarlyStoppingConfig:
    """Stop when a metric has not improved by min_delta for patience evaluations."""

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
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    eval_every: int = ranged(1, ge=1)  # epochs between evaluations on the validation rows
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    precision: str = choice("float32", PRECISIONS)
    threads: int | None = ranged(None, ge=1)  # of the CPU; null: one for small steps, else all
    require_train_loss: float | None = ranged(None, gt=0)  # ends the run; fails it if not reached
    checkpoint_seconds: float = ranged(30.0, gt=0)  # least time between two checkpoints
    histograms: bool = False  # of weights and gradients, to TensorBoard, at every evaluation
    pictures: bool = True  # confusion matrix and decision boundary, to TensorBoard


# ── baseline ──────────────────────────────────────────────────────────────────────────────────


@dataclass
class TunedConfig:
    """What every baseline has: lists of values, of which the validation rows choose."""

    def __post_init__(self) -> None:
        """One value is a list of one; what is listed twice is tried once."""
        for option in fields(self):
            if "tuned" in option.metadata:
                value = getattr(self, option.name)
                values = value if isinstance(value, list) else [value]
                setattr(self, option.name, list(dict.fromkeys(values)))


@dataclass
class KNNConfig(TunedConfig):
    """K nearest neighbours, exact."""

    k: Any = tuned([1, 3, 5, 7, 9, 11, 15, 21], int, ge=1)
    metric: Any = tuned(["euclidean"], options=("euclidean", "manhattan", "cosine"))
    weights: Any = tuned(["uniform"], options=("uniform", "distance"))  # of a neighbour's vote
    memory_mb: int = ranged(512, ge=1)  # bound on the distances held at once, MiB


@dataclass
class MajorityConfig:
    """The most frequent class of the training rows, whatever the row."""


@dataclass
class FittedConfig(TunedConfig):
    """What the baselines that scikit-learn fits have: bounds on sizes, never on time.

    Rows are taken as dataset.num_train takes them: nested, stratified, drawn with split_seed.
    """

    max_rows: int | None = ranged(None, ge=1)  # trains on so many rows at most; null: on all
    tune_rows: int | None = ranged(10_000, ge=1)  # compares settings on so many; null: on all
    max_cells: int | None = ranged(50_000_000, ge=1)  # rows x features; what has more is left out


@dataclass
class LogisticRegressionConfig(FittedConfig):
    """sklearn.linear_model.LogisticRegression: multinomial, with an L2 penalty."""

    C: Any = tuned([0.01, 0.1, 1.0, 10.0], float, gt=0)  # less is more penalty
    max_iter: int = ranged(1000, ge=1)


@dataclass
class SVMConfig(FittedConfig):
    """sklearn.svm.SVC with an RBF kernel."""

    C: Any = tuned([0.1, 1.0, 10.0, 100.0], float, gt=0)  # less is more penalty
    gamma: Any = tuned([0.1, 0.3, 1.0, 3.0], float, gt=0)  # times scikit-learn's gamma="scale"
    max_rows: int | None = ranged(20_000, ge=1)
    tune_rows: int | None = ranged(5_000, ge=1)


@dataclass
class ForestConfig(FittedConfig):
    """sklearn.ensemble.RandomForestClassifier."""

    n_estimators: int = ranged(200, ge=1)  # trees; more are better, if slowly: nothing to tune
    max_features: Any = tuned(["sqrt", 0.3])  # tried at a split: sqrt, log2 or a share of all
    min_samples_leaf: Any = tuned([1, 3], int, ge=1)
    max_cells: int | None = ranged(4_000_000, ge=1)  # rows x features tried at a split

    def check_rules(self) -> Problems:
        """What scikit-learn takes."""
        for value in self.max_features:
            is_share = type(value) in (int, float) and 0 < value <= 1
            if not is_share and value not in ("sqrt", "log2"):
                yield "max_features", "must be sqrt, log2 or above 0 and at most 1, or a list"


@dataclass
class BoostingConfig(FittedConfig):
    """sklearn.ensemble.HistGradientBoostingClassifier; every iteration adds a tree a class."""

    learning_rate: Any = tuned([0.1, 0.2], float, gt=0)
    max_leaf_nodes: Any = tuned([15, 31], int, ge=2)
    max_iter: Any = tuned([25, 50, 100], int, ge=1)  # all from one fit, of the most iterations
    max_rows: int | None = ranged(20_000, ge=1)
    tune_rows: int | None = ranged(5_000, ge=1)
    max_cells: int | None = ranged(200_000_000, ge=1)  # rows x features x trees an iteration


@dataclass
class BaselinesConfig:
    """The baselines that a run is compared with, by name."""

    knn: KNNConfig | None = None
    majority: MajorityConfig | None = None
    logistic_regression: LogisticRegressionConfig | None = None
    svm: SVMConfig | None = None
    forest: ForestConfig | None = None
    boosting: BoostingConfig | None = None


# ── report ────────────────────────────────────────────────────────────────────────────────────


@dataclass
class ReportConfig:
    """What a sweep ends in. Nothing of it touches a run."""

    enabled: bool = True  # write report/ after a sweep
    tuned: list[str] = field(default_factory=lambda: ["optimizer.lr"])  # chosen on validation rows
    reference: str = "knn"  # the learner that the others are compared with
    equivalence: float = ranged(0.5, ge=0, le=100)  # points of accuracy that do not matter
    tensorboard: bool = False  # mean curves of every arm, as TensorBoard runs of their own

    def check_rules(self) -> Problems:
        """What is tuned is an option of a network, and the reference a baseline or a network."""
        from nnexp.config.wanted import tunable_keys  # which reads the classes of this file

        for key in self.tuned:
            if key not in tunable_keys():
                near = did_you_mean(key, tunable_keys())
                yield "tuned", f"{key} is no option that can be tuned{near}"
        baselines = [baseline.name for baseline in fields(BaselinesConfig)]
        if self.reference not in baselines and "·" not in self.reference:
            near = did_you_mean(self.reference, baselines)
            known = ", ".join(baselines)
            yield "reference", f"must be {known} or a network such as 'deep · adam'{near}"


# ── the whole ─────────────────────────────────────────────────────────────────────────────────


@dataclass
class Config:
    """One run."""

    seed: int = ranged(0, ge=0)
    model: ModelConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    scheduler: SchedulerConfig = MISSING
    dataset: DatasetConfig = MISSING
    trainer: TrainerConfig = MISSING
    baseline: BaselinesConfig = field(default_factory=BaselinesConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def check_rules(self) -> Problems:
        """Rules across the groups."""
        if self.scheduler.warmup_epochs >= self.trainer.epochs:
            reason = f"must be less than trainer.epochs={self.trainer.epochs}"
            yield "scheduler.warmup_epochs", reason


SCHEMAS: dict[str, dict[str, type[Any]]] = {
    "model": {"mlp": ModelConfig},
    "optimizer": {
        "sgd": SGDConfig,
        "adagrad": AdagradConfig,
        "adam": AdamConfig,
        "adamw": AdamWConfig,
        "rmsprop": RMSpropConfig,
    },
    "scheduler": {
        "constant": ConstantConfig,
        "cosine": CosineConfig,
        "step": StepConfig,
        "exponential": ExponentialConfig,
    },
    "dataset": {
        "bundled": BundledConfig,
        "generated": GeneratedConfig,
        "idx": IDXConfig,
        "csv": CSVConfig,
    },
    "trainer": {"trainer": TrainerConfig},
}
