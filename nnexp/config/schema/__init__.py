"""What a config may say: a file a component, one dataclass a kind of it, one field an option.

Hydra composes the YAML files of ``conf/`` onto these classes, so that a wrong type or an option of
another component is refused at once. The values that a run starts from stand in ``conf/``; the
defaults here serve configs that leave an option out.

The classes are not frozen because OmegaConf cannot compose nested frozen dataclasses.
"""

from nnexp.baselines.base import FittedConfig
from nnexp.baselines.boosting import BoostingConfig
from nnexp.baselines.forest import ForestConfig
from nnexp.baselines.knn import KNNConfig
from nnexp.baselines.logistic_regression import LogisticRegressionConfig
from nnexp.baselines.majority import MajorityConfig
from nnexp.baselines.svm import SVMConfig
from nnexp.config.schema.baseline import BaselinesConfig, baselines_config
from nnexp.config.schema.config import OBJECTIVES, Config
from nnexp.config.schema.dataset import (
    BUNDLED,
    GENERATORS,
    ArraysConfig,
    BundledConfig,
    CSVConfig,
    DatasetConfig,
    DrawnDatasetConfig,
    GeneratedConfig,
    IDXConfig,
    IDXFile,
)
from nnexp.config.schema.groups import GLOBAL_GROUPS, GROUPS, SCHEMAS, tunable_keys
from nnexp.config.schema.model import INITS, NORMS, ModelConfig
from nnexp.config.schema.report import ReportConfig
from nnexp.config.schema.trainer import (
    PRECISIONS,
    STOPPING_METRICS,
    EarlyStoppingConfig,
    TrainerConfig,
)
from nnexp.models.activations import ACTIVATIONS
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
    "TrainerConfig",
    "baselines_config",
    "tunable_keys",
]
