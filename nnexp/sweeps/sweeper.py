"""The sweeper: the grid of jobs, their batches, and the objective of a search."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.conf import HydraConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from nnexp.config.schema import OBJECTIVES
from nnexp.errors import ConfigError, did_you_mean

# --------------------------------------------------------------------------------------------------
# The jobs of a sweep: every combination of overrides, of one grid or of the union of several.
#
# Hydra's own sweeper multiplies all that is given. Optimizers want learning rates of their own,
# which one product cannot say; ``hydra.sweeper.grids`` can, as a list of products.
# --------------------------------------------------------------------------------------------------

Axes = dict[str, tuple[str, ...]]
"""What is multiplied: by key, with the signs before it, the overrides that are tried in turn."""


def jobs_of(
    config_loader: ConfigLoader,
    params: Mapping[str, str],
    grids: Sequence[Mapping[str, Any]],
    arguments: Sequence[str],
) -> list[list[str]]:
    """The overrides of every job, in order.

    Of each grid come all combinations of ``params``, the grid and the command line. A value of the
    command line replaces those of the same key in grids, and both replace those in ``params``.
    What several grids have in common is trained once.

    A grid holds for the choices of config groups that it names. Where the command line chooses
    otherwise, the grid is left out.

    Args:
        params: ``hydra.sweeper.params``: key and values, as on the command line.
        grids: ``hydra.sweeper.grids``: the same, several; none is one without a key.
        arguments: the command line, which may be empty.

    Raises:
        ConfigError: no grid is left, or none has a choice that the command line asks for.
        HydraException: an override cannot be read, or cannot be multiplied out (``interval``).
    """
    parser = OverridesParser.create(config_loader=config_loader)
    of_all, *each, given = (
        _axes(parser, lines) for lines in (_lines(params), *map(_lines, grids), arguments)
    )
    if not each:
        return _product(_laid(of_all, given))
    groups = [key for key in given if config_loader.get_group_options(_group(key))]
    _require_a_grid_for(groups, given, each)
    jobs = []
    for grid in each:
        chosen = {key: _in_both(given[key], _same(grid, key)) for key in groups}
        if all(chosen.values()):
            jobs += _product(_laid(_laid(of_all, grid), {**given, **chosen}))
    if not jobs and _product(given):
        wanted = " with ".join(f"{key}={_values(given[key])}" for key in groups)
        raise ConfigError(f"{wanted}: none of hydra.sweeper.grids has both")
    return list(_without_doubles(jobs))


def checked(grids: Any) -> list[dict[str, Any]]:
    """``hydra.sweeper.grids`` as it was composed, in plain containers.

    Raises:
        ConfigError: it is no list of mappings from keys to texts or numbers.
    """
    plain = OmegaConf.to_container(grids) if OmegaConf.is_config(grids) else grids
    grids = [] if plain is None else plain
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise ConfigError(
            "hydra.sweeper.grids: must be a list of grids, each of them 'key: values' as in "
            "hydra.sweeper.params"
        )
    for key, value in (item for grid in grids for item in grid.items()):
        if not isinstance(value, str | int | float | None):
            shown = str(value).replace(" ", "")
            raise ConfigError(
                f"hydra.sweeper.grids: {key}={shown}: must be text, as on the command line: "
                "'a,b' for two values, '[a,b]' for a list"
            )
    return grids


def refuse_unexpanded(hydra_config: HydraConf, overrides: Sequence[str]) -> None:
    """For a job of a sweep whose config is a sweep itself, which nobody has multiplied out.

    ``experiment=a,b`` makes a job of each, and what a file of them says of ``hydra.sweeper`` is
    then too late.

    Args:
        hydra_config: ``hydra`` of the job's config.
        overrides: the job's, as the sweeper gave them.

    Raises:
        ConfigError: naming what has not been multiplied out.
    """
    sweeper: Any = hydra_config.sweeper or {}
    params, grids = sweeper.get("params") or {}, checked(sweeper.get("grids"))
    if not params and not grids:
        return
    done = {_bare(line.partition("=")[0]) for line in overrides}
    missing, *of_grids = (
        [str(key) for key in keys if _bare(key) not in done and not _bare(key).startswith("hydra")]
        for keys in (params, *grids)
    )
    if of_grids and all(of_grids):
        missing += of_grids[0]
    if missing:
        raise ConfigError(
            f"{missing[0]}: this config is a sweep over it, and cannot be a job of another sweep; "
            "run it alone"
        )


# ── overrides ─────────────────────────────────────────────────────────────────────────────────


def _lines(overrides: Mapping[str, Any]) -> list[str]:
    return [f"{key}={'null' if value is None else value}" for key, value in overrides.items()]


def _axes(parser: OverridesParser, lines: Sequence[str]) -> Axes:
    """By Hydra's own code. Of a key that is given twice the last holds, in the place of the first.

    A key is given twice only if its sign is the same too: ``+a`` adds what ``a`` changes.
    """
    axes: Axes = {}
    for override in parser.parse_overrides(list(lines)):
        (jobs,) = BasicSweeper.split_arguments([override], None)
        axes[override.get_key_element()] = tuple(line for job in jobs for line in job)
    return axes


def _laid(below: Axes, above: Axes) -> Axes:
    """``below``, its values replaced by those that ``above`` has of the same key, then the rest."""
    laid: Axes = {}
    for key, lines in below.items():
        laid.update(_same(above, key) or {key: lines})
    return {**laid, **{key: lines for key, lines in above.items() if key not in laid}}


def _same(axes: Axes, key: str) -> Axes:
    """The axes of a key, whatever their sign."""
    return {other: lines for other, lines in axes.items() if _bare(other) == _bare(key)}


def _product(axes: Axes) -> list[list[str]]:
    return [list(job) for job in itertools.product(*axes.values())]


def _without_doubles(jobs: Sequence[list[str]]) -> Iterator[list[str]]:
    """The order in which a job's overrides are given makes no other job."""
    seen = set()
    for job in jobs:
        overrides = tuple(sorted(job))
        if overrides not in seen:
            seen.add(overrides)
            yield job


def _bare(key: str) -> str:
    return key.lstrip("+~")


# ── choices of config groups ──────────────────────────────────────────────────────────────────


def _group(key: str) -> str:
    """``optimizer`` of ``+optimizer@other``."""
    return _bare(key).partition("@")[0]


def _in_both(given: tuple[str, ...], grid: Axes) -> tuple[str, ...]:
    """Those of the command line that a grid holds for: all, if it does not name the key."""
    own = {_value(line) for lines in grid.values() for line in lines}
    return tuple(line for line in given if _value(line) in own) if grid else given


def _require_a_grid_for(groups: Sequence[str], given: Axes, grids: Sequence[Axes]) -> None:
    for key in groups:
        named = [_same(grid, key) for grid in grids]
        if not all(named):
            continue
        known = {_value(line): None for grid in named for lines in grid.values() for line in lines}
        for line in given[key]:
            if _value(line) not in known:
                raise ConfigError(
                    f"{line}: hydra.sweeper.grids are for {_bare(key)}={','.join(known)}"
                    f"{did_you_mean(_value(line), known)}; hydra.sweeper.grids=[] drops them"
                )


def _value(line: str) -> str:
    return line.partition("=")[2].strip("'\"")


def _values(lines: tuple[str, ...]) -> str:
    return ",".join(map(_value, lines))


# --------------------------------------------------------------------------------------------------
# What sweepers that search, such as Optuna's, are given to optimize: one number of each run.
# --------------------------------------------------------------------------------------------------

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


# --------------------------------------------------------------------------------------------------
# All jobs of a sweep, in batches, through a launcher.
# --------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

_BASELINE = "baseline="


def sweep(
    hydra_context: HydraContext,
    config: DictConfig,
    launcher: Launcher,
    arguments: Sequence[str],
    *,
    params: Mapping[str, str],
    grids: Any,
    max_batch_size: int | None,
) -> list[Sequence[JobReturn]]:
    """Without ``grids`` the jobs of Hydra's own sweeper, in its order.

    It composes every job's config only to see whether it can be composed. That is left to the
    launcher: a job that cannot be composed costs the others nothing.

    Raises:
        ConfigError: ``max_batch_size`` is no size, ``grids`` are none, or none of them goes with
            the command line.
        HydraException: an override cannot be read, or cannot be multiplied out (``interval``).
        Exception: what a job raised, after all batches are done.
    """
    if max_batch_size is not None and max_batch_size < 1:
        raise ConfigError(
            f"hydra.sweeper.max_batch_size={max_batch_size}: must be at least 1, or null"
        )
    jobs = jobs_of(hydra_context.config_loader, params, checked(grids), arguments)
    if not getattr(launcher, "dry_run", False):
        folder = Path(str(config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "multirun.yaml")
    advice = about_baselines(jobs)
    if advice:
        log.info("%s", advice)
    returns: list[Sequence[JobReturn]] = []
    first = 0
    batches = BasicSweeper.split_overrides_to_chunks(jobs, max_batch_size) if jobs else [jobs]
    for batch in batches:
        returns.append(launcher.launch(batch, initial_job_idx=first))
        first += len(batch)
    for result in (result for batch in returns for result in batch):
        _ = result.return_value  # raises what a job has raised
    return returns


def about_baselines(jobs: Sequence[Sequence[str]]) -> str:
    """What to say where baselines are multiplied out: each of them trains the same networks again.

    Args:
        jobs: the overrides of each.
    """
    choices = [line.partition("=")[2] for job in jobs for line in job if line.startswith(_BASELINE)]
    each = list(dict.fromkeys(choices))
    names = list(dict.fromkeys(name for choice in each for name in choice.strip("[]").split(",")))
    if len(each) < 2 or {"none", "all"} & set(names):
        return ""
    return (
        f"baseline={','.join(each)} trains every network {len(each)} times; "
        f"baseline=[{','.join(names)}] trains it once, beside them all"
    )
