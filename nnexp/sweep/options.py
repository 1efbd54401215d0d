"""What ``hydra.launcher`` and ``hydra.job`` ask of a sweep, checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig

from nnexp.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """What ``hydra.launcher`` says.

    Raises:
        ConfigError: a count is none.
    """

    workers: int | None
    group_size: int | None
    dry_run: bool

    def __post_init__(self) -> None:
        """Counts are counts."""
        for name in ("workers", "group_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"hydra.launcher.{name}={value}: must be at least 1, or null")


def environment_of(config: DictConfig) -> dict[str, str]:
    """``hydra.job.env_set``, which holds for the whole sweep.

    Raises:
        ConfigError: options of Hydra's that a group of jobs cannot honour.
    """
    if config.hydra.job.chdir:
        raise ConfigError(
            "hydra.job.chdir=true: runs that train together have one working directory; "
            "use hydra/launcher=basic"
        )
    environment = {str(key): str(value) for key, value in config.hydra.job.env_set.items()}
    for name in environment:
        if name.startswith(("OMP_", "MKL_")):
            raise ConfigError(
                f"hydra.job.env_set.{name}: is read when torch is loaded; set it in the shell"
            )
    return environment
