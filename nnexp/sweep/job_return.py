"""What a finished job hands back to Hydra, without its configs until somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from nnexp.sweep.composition import Composer
from nnexp.sweep.trees import without_hydra


class LazyJobReturn(JobReturn):
    """A ``JobReturn`` whose ``cfg`` and ``hydra_cfg`` are composed when one of them is first read.

    The trees of thousands of jobs would take gigabytes, and hardly a sweeper reads one. Pickled and
    copied it is a plain ``JobReturn``.
    """

    def __init__(self, composer: Composer, overrides: Sequence[str], num: int) -> None:
        """All fields but ``overrides`` and the two configs are the launcher's to fill in.

        Args:
            overrides: the job's own, as ``Composer.compose`` takes them.
            num: the job's number in the sweep.
        """
        lines = list(overrides)
        self._compose: Callable[[], DictConfig] = lambda: composer.compose(lines, num)
        self._configs: tuple[DictConfig, DictConfig] | None = None
        super().__init__(overrides=[line for line in lines if not _is_of_hydra(line)])

    @property
    def cfg(self) -> DictConfig | None:
        """The task's config."""
        return self._composed()[0]

    @cfg.setter
    def cfg(self, value: DictConfig | None) -> None:
        assert value is None, "cfg is composed from the overrides"

    @property
    def hydra_cfg(self) -> DictConfig | None:
        """Hydra's own config, below the key ``hydra``."""
        return self._composed()[1]

    @hydra_cfg.setter
    def hydra_cfg(self, value: DictConfig | None) -> None:
        assert value is None, "hydra_cfg is composed from the overrides"

    def _composed(self) -> tuple[DictConfig, DictConfig]:
        """As ``run_job`` of Hydra's parts a job's tree."""
        if self._configs is None:
            tree = self._compose()
            self._configs = without_hydra(tree), OmegaConf.masked_copy(tree, "hydra")
        return self._configs

    def __reduce__(self) -> tuple[Any, ...]:
        """The composer stays here."""
        fields = (self.overrides, self.cfg, self.hydra_cfg, self.working_dir, self.task_name)
        return JobReturn, (*fields, self.status, self._return_value)


def _is_of_hydra(override: str) -> bool:
    return override.lstrip("+~").startswith(("hydra.", "hydra/"))
