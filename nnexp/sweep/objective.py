"""What sweepers that search, such as Optuna's, are given to optimize: one number of each run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nnexp.config.schema import OBJECTIVES
from nnexp.errors import ConfigError

_OPTUNA = "direction"  # minimize or maximize, or a list of one a value that is handed back
# Of Ax and Nevergrad: a key that is true or false, and what true means.
_SWITCHES = {"ax_config.experiment.minimize": "minimize", "optim.maximize": "maximize"}


class ObjectiveError(ConfigError):
    """The sweep would search for the worst runs: none of its jobs is worth training."""


def objective_of(composed: DictConfig) -> str | None:
    """Return the objective that a job's config names, which may be wrong yet; None for none."""
    found = OmegaConf.select(composed, "objective", throw_on_resolution_failure=False)
    return found if found in OBJECTIVES else None


def value_for(
    objective: str | None, metrics: Mapping[str, float | None] | None, direction: str | None = None
) -> float:
    """Return what a job hands back to its sweeper.

    Args:
        objective: None for a config that did not compose, or names no valid objective.
        metrics: of ``result.json``; None for a run that failed or diverged, which gets the worst
            value there is: infinite, in the direction opposite to the search's.
        direction: of the search, see :func:`searched`; None: the objective's own.
    """
    value = None if metrics is None or objective is None else metrics[objective]
    if value is not None and not math.isnan(value):
        return value
    if direction is None and objective is not None:
        direction = OBJECTIVES[objective]
    return -math.inf if direction == "maximize" else math.inf


def searched(sweeper: Any) -> str | None:
    """Return ``minimize`` or ``maximize``, as ``hydra.sweeper`` says; None for one that only
    multiplies out.

    Raises:
        ObjectiveError: it wants several objectives, and a run has one.
    """
    found = _searched(sweeper)
    return None if found is None else found[1]


def check_direction(sweeper: Any, objective: str | None) -> None:
    """Check that the sweeper searches for the best of an objective, not for the worst.

    Args:
        sweeper: the config ``hydra.sweeper``.

    Raises:
        ObjectiveError: it does not.
    """
    found = _searched(sweeper)
    if found is None or objective is None:
        return
    given, direction = found
    wanted = OBJECTIVES[objective]
    if direction != wanted:
        other = next(name for name, its in OBJECTIVES.items() if its == direction)
        raise ObjectiveError(
            f"hydra.sweeper.{given} would {direction} objective={objective} and find the worst "
            f"runs; {wanted} it, or say objective={other}"
        )


def _searched(sweeper: Any) -> tuple[str, str] | None:
    """The override that says so, and the direction."""
    if sweeper is None:
        return None
    value = OmegaConf.select(sweeper, _OPTUNA)
    if value is not None:
        several = list(value) if OmegaConf.is_list(value) else [value]
        words = [str(getattr(word, "name", word)) for word in several]
        if len(words) != 1:
            raise ObjectiveError(
                f"hydra.sweeper.{_OPTUNA}=[{','.join(words)}]: a run has one objective, give one "
                "direction"
            )
        if words[0] in OBJECTIVES.values():  # else the sweeper says that it is none
            return f"{_OPTUNA}={words[0]}", words[0]
    for key, word in _SWITCHES.items():
        value = OmegaConf.select(sweeper, key)
        if isinstance(value, bool):
            other = "maximize" if word == "minimize" else "minimize"
            return f"{key}={str(value).lower()}", word if value else other
    return None
