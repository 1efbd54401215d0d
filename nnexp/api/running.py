"""``nnexp.run``: one run, trained in this process."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnexp.environment import prepare

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from nnexp.api.run_object import Run
    from nnexp.api.user_data import UserData
    from nnexp.config.schema import Config, DatasetConfig

_DIR = "hydra.run.dir"

_turn = threading.RLock()  # threads of torch, Hydra's singletons and loggers are the process's


def run(
    *overrides: str,
    data: Any = None,
    target: str | None = None,
    test: Any = None,
    folder: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Run:
    """Train one network, compare it with its baselines, and return what came of it.

    The same overrides as on the command line give the same numbers and files. Nothing is printed.
    Runs of several threads take turns: to train many, see ``nnexp.sweep``.

    Args:
        overrides: as on the command line: ``"+experiment=deep_adam"``, ``"optimizer=sgd"``.
        data: in place of a data set of nnexp, ``(X, y)`` or a DataFrame. X is an array
            [rows, features] of finite numbers, or a DataFrame, which is read as a table in a file
            is (``dataset=table``, whose options it takes); y [rows] holds integers, booleans or
            text.
        target: the column of a DataFrame that holds the labels.
        test: official test rows in the form of ``data``. None: they are drawn.
        folder: of the run's files. None: ``outputs/<date>/<time>``.
        progress: show a bar over the epochs, on standard error or in a notebook.
        settings: overrides by key, with double underscores for dots: ``seed=3``,
            ``trainer__epochs=3``, ``model={"hidden": [64, 64]}``.

    Returns:
        The run. Its ``status`` is ``diverged`` if its loss became infinite or NaN.

    Raises:
        ConfigError: an override that does not fit, or a folder that another process writes to.
        DataError: data that cannot be used, by row and column.
        NnexpError: files that cannot be written, or memory that does not suffice.
    """
    prepare()  # before torch is loaded
    from nnexp.api.errors import one_line_errors
    from nnexp.api.overrides import overrides_of, quoted
    from nnexp.api.user_data import user_data

    given = overrides_of(overrides, settings, sweep=False)
    if folder is not None:
        given.append(f"{_DIR}={quoted(str(folder))}")
    own = None
    if data is not None:
        own = user_data(data, target, test)
    else:
        refuse_without_data(target=target, test=test)
    with _turn, _random_kept(), one_line_errors():
        return _run(given, own, progress=progress)


def refuse_without_data(**given: Any) -> None:
    """Raise a ConfigError for what is of use beside ``data`` alone."""
    from nnexp.errors import ConfigError

    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"{name}: is for data, which is not given")


@contextlib.contextmanager
def _random_kept() -> Iterator[None]:
    """nnexp draws from generators of its own, but rich, when it is loaded, from Python's."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def _run(given: list[str], own: UserData | None, *, progress: bool) -> Run:
    from nnexp.api.composition import composed, hydra_config
    from nnexp.api.run_object import Run

    tree = composed(given if own is None else [*own.overrides(given), *given])
    with hydra_config(tree):
        config = _typed(tree, given)  # before there is a folder
    if own is not None:
        own.check(config.dataset)
    with _claimed(tree) as place:
        if own is not None:
            own.write(place)
            tree = _same_moment(tree, composed([*own.overrides(given, place), *given]))
        _train(tree, place, progress=progress)
    return Run(place)


def dataset_config(given: Sequence[str]) -> DatasetConfig:
    """Return what overrides say of the data set.

    Raises:
        ConfigError: an override that does not fit.
    """
    from nnexp.api.composition import composed, hydra_config

    with _turn, _random_kept():
        tree = composed(given)
        with hydra_config(tree):
            return _typed(tree, given).dataset


def _typed(tree: DictConfig, overrides: Sequence[str]) -> Config:
    from nnexp.api.errors import config_errors
    from nnexp.config.compose import to_config
    from nnexp.sweeps.config_trees import without_hydra

    with config_errors(overrides):
        return to_config(without_hydra(tree))


@contextlib.contextmanager
def _claimed(tree: DictConfig) -> Iterator[Path]:
    """The run's folder, this program's alone while inside."""
    from nnexp.api.composition import hydra_config
    from nnexp.api.reports import logged_to
    from nnexp.runs.output_folder import claim

    with logged_to(None):
        let_go: Callable[[], None] = claim(tree, _DIR)
    try:
        with hydra_config(tree):
            place = Path(str(tree.hydra.run.dir))
        place.mkdir(parents=True, exist_ok=True)
        yield place
    finally:
        let_go()


def _same_moment(before: DictConfig, tree: DictConfig) -> DictConfig:
    """Let ``${now:...}`` be in ``tree`` what it was before."""
    from omegaconf import OmegaConf

    OmegaConf.copy_cache(before, tree)
    return tree


def _train(tree: DictConfig, place: Path, *, progress: bool) -> None:
    """As a job of the command line, into its folder; a divergence is in ``result.json``."""
    from hydra.core.utils import env_override

    from nnexp.api.composition import enter, hydra_config
    from nnexp.api.reports import logged_to
    from nnexp.config.compose import arm_name
    from nnexp.errors import NnexpError
    from nnexp.sweeps.job_folders import LogFiles
    from nnexp.terminal import epoch_bar
    from nnexp.trainer import train

    enter(tree, str(place.absolute()))
    overrides = list(map(str, tree.hydra.overrides.task))
    with (
        hydra_config(tree),
        env_override(dict(tree.hydra.job.env_set)),
        logged_to(LogFiles(tree).of(tree)),
    ):
        config = _typed(tree, overrides)
        _write_hydra_files(tree, place)
        _log_notes(tree)
        bar = epoch_bar(config.trainer.epochs) if progress else contextlib.nullcontext()
        result = train(config, place, arm_name(tree, overrides), bar)
    if result.status == "failed":
        raise NnexpError(result.error)


def _write_hydra_files(tree: DictConfig, place: Path) -> None:
    from nnexp.sweeps.job_folders import hydra_files

    if tree.hydra.output_subdir is None:
        return
    below = place / str(tree.hydra.output_subdir)
    below.mkdir(parents=True, exist_ok=True)
    for name, text in hydra_files(tree).items():
        (below / name).write_text(text, encoding="utf-8")


def _log_notes(tree: DictConfig) -> None:
    """What the chosen experiment sets that does not apply."""
    import logging

    from nnexp.config import compose

    for note in compose.notes(tree.hydra):
        logging.getLogger(compose.__name__).info("%s", note)
