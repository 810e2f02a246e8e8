"""Which settings does a study have, what are their defaults, and which values are legal?

A config file is Python with `get_config()`; it starts from `to_config_dict(StudyConfig())` and
overrides what it needs. Those of `configs/` are shipped and have names (`--config=demo`). Flags
override single fields (`--config.eval.seed=3`), and `from_config_dict` returns frozen, checked
dataclasses. This file is itself such a config file, the one that binaries use without `--config`.
"""

from mpjax.config.analysis import (
    BaselineConfig,
    BsoidConfig,
    ConfoundConfig,
    EvalConfig,
    MotifConfig,
    SaliencyConfig,
)
from mpjax.config.data import (
    SYNTHETIC_MARK,
    BuildConfig,
    SplitConfig,
    SyntheticConfig,
    VideoConfig,
)
from mpjax.config.loading import (
    find_config,
    from_config_dict,
    get_config,
    to_config_dict,
    type_of_field,
)
from mpjax.config.model import ArchitectureConfig, LoraConfig, ProjectorConfig
from mpjax.config.study import StudyConfig
from mpjax.config.training import (
    AugmentConfig,
    HeadConfig,
    MeshConfig,
    OptimConfig,
    SweepConfig,
    TrainConfig,
)

__all__ = [
    "SYNTHETIC_MARK",
    "ArchitectureConfig",
    "AugmentConfig",
    "BaselineConfig",
    "BsoidConfig",
    "BuildConfig",
    "ConfoundConfig",
    "EvalConfig",
    "HeadConfig",
    "LoraConfig",
    "MeshConfig",
    "MotifConfig",
    "OptimConfig",
    "ProjectorConfig",
    "SaliencyConfig",
    "SplitConfig",
    "StudyConfig",
    "SweepConfig",
    "SyntheticConfig",
    "TrainConfig",
    "VideoConfig",
    "find_config",
    "from_config_dict",
    "get_config",
    "to_config_dict",
    "type_of_field",
]
