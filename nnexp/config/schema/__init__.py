"""What a config may say: a file a component, one dataclass a kind of it, one field an option.

Hydra composes the YAML files of ``conf/`` onto these classes, so that a wrong type or an option of
another component is refused at once. The values that a run starts from stand in ``conf/``; the
defaults here serve configs that leave an option out.

The classes are not frozen because OmegaConf cannot compose nested frozen dataclasses.
"""

from nnexp.config.schema.baseline import (
    BaselinesConfig,
    BoostingConfig,
    FittedConfig,
    ForestConfig,
    KNNConfig,
    LogisticRegressionConfig,
    MajorityConfig,
    SVMConfig,
    TunedConfig,
)
from nnexp.config.schema.config import OBJECTIVES, Config
from nnexp.config.schema.dataset import (
    BUNDLED,
    GENERATORS,
    SCALINGS,
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
from nnexp.config.schema.model import ACTIVATIONS, INITS, NORMS, ModelConfig
from nnexp.config.schema.optimizer import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    OptimizerConfig,
    RMSpropConfig,
    SGDConfig,
)
from nnexp.config.schema.report import ReportConfig
from nnexp.config.schema.scheduler import (
    ConstantConfig,
    CosineConfig,
    ExponentialConfig,
    SchedulerConfig,
    StepConfig,
)
from nnexp.config.schema.trainer import (
    PRECISIONS,
    STOPPING_METRICS,
    EarlyStoppingConfig,
    TrainerConfig,
)

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
    "SCALINGS",
    "SCHEMAS",
    "STOPPING_METRICS",
    "AdagradConfig",
    "AdamConfig",
    "AdamWConfig",
    "ArraysConfig",
    "BaselinesConfig",
    "BoostingConfig",
    "BundledConfig",
    "CSVConfig",
    "Config",
    "ConstantConfig",
    "CosineConfig",
    "DatasetConfig",
    "DrawnDatasetConfig",
    "EarlyStoppingConfig",
    "ExponentialConfig",
    "FittedConfig",
    "ForestConfig",
    "GeneratedConfig",
    "IDXConfig",
    "IDXFile",
    "KNNConfig",
    "LogisticRegressionConfig",
    "MajorityConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RMSpropConfig",
    "ReportConfig",
    "SGDConfig",
    "SVMConfig",
    "SchedulerConfig",
    "StepConfig",
    "TrainerConfig",
    "TunedConfig",
    "tunable_keys",
]
