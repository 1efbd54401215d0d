"""The folder that a run or a sweep is about to write to: nobody else's, even at the same moment.

Hydra names folders by the clock's seconds, and makes them if they are not there. Here a folder is
claimed by making it, which a file system lets one of several do, on one machine or on many; who
comes second takes ``<name>-2``. One that a user names is locked as long as the program runs, or one
of its workers.

Hydra loads this file whenever the program starts.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from nnexp.errors import ConfigError
from nnexp.runs.folder_lock import LOCK_FILE, HeldError, lock, unlock

if TYPE_CHECKING:
    from nnexp.runs.folder import Stamps

_SECONDS = ("%S", "%s", "%T", "%X", "%c", "%r", "%f")  # of strftime: a name of its own each time

_before: dict[Path, tuple[Path, Stamps]] = {}  # runs in the folders of sweeps, when claimed

log = logging.getLogger(__name__)


class FolderInUse(BaseException):
    """Carries ``error`` past Hydra, which makes a warning of an exception in a callback."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__(error)
        self.error = error


class ClaimCallback(Callback):
    """Claims ``hydra.run.dir`` or ``hydra.sweep.dir`` before anything is written."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Of a single run."""
        _claim(config, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Of a sweep, whatever launches its jobs; a dry run writes nothing."""
        if not config.hydra.launcher.get("dry_run"):
            _claim(config, "hydra.sweep.dir")
            with contextlib.suppress(Exception):  # a folder that cannot be is for Hydra to tell
                _look_into(_folder(config, "hydra.sweep.dir"))


def runs_before(sweep: Path) -> Stamps:
    """The runs that were in a sweep's folder before it began; now, if nobody has claimed it."""
    if sweep.absolute() in _before:
        return _before[sweep.absolute()][1]
    return _stamps(sweep)


def claimed_sweeps() -> list[tuple[Path, Stamps]]:
    """The folders of this program's sweeps, with the runs that were in them before."""
    return list(_before.values())


def _look_into(sweep: Path) -> None:
    _before[sweep.absolute()] = sweep, _stamps(sweep)


def _stamps(sweep: Path) -> Stamps:
    from nnexp.runs.folder import stamps

    return stamps(sweep)


def _claim(config: DictConfig, key: str) -> None:
    atexit.register(claim(config, key))


def claim(config: DictConfig, key: str) -> Callable[[], None]:
    """Make the folder that ``key`` names, and lock it. Returns what ends the claim.

    Args:
        config: as Hydra composes it, with its ``hydra`` node.
        key: ``hydra.run.dir`` or ``hydra.sweep.dir``.

    Raises:
        FolderInUse: another process writes to it.
    """
    try:
        folder = _folder(config, key)
    except Exception:  # such as an interpolation that leads nowhere: for Hydra to tell
        return lambda: None
    made: list[Path] = []
    try:
        if not _make_new(config, key, folder, made):
            _make(folder, made)
        folder = _folder(config, key)
        held = lock(folder / LOCK_FILE)
    except HeldError as error:
        who = f" ({error})" if str(error) else ""
        raise FolderInUse(
            ConfigError(
                f"{key}={folder} is in use by another process{who}; choose a different folder"
            )
        ) from None
    except OSError:  # Hydra will meet it too, and tell
        held = None
    return partial(_let_go, folder.absolute() / LOCK_FILE, held, [p.absolute() for p in made])


def _make_new(config: DictConfig, key: str, folder: Path, made: list[Path]) -> bool:
    """Make a folder that is named by the second, as ``<name>-2`` if there is one already.

    Hydra keeps what ``${now:...}`` came to, for all jobs of a sweep and in every process that they
    are launched in; the name is changed there. False where the name is another kind of name: also
    one that a user writes out, and that reads as the clock happens to.
    """
    kept: dict[Any, str] = OmegaConf.get_cache(config)["now"]
    of_clock = {
        arguments: text
        for arguments, text in kept.items()
        if text in str(folder) and any(sign in str(arguments) for sign in _SECONDS)
    }
    if not of_clock:
        return False
    first = folder
    for number in itertools.count(2):
        _make(folder.parent, made)
        try:
            folder.mkdir()
        except FileExistsError:
            kept.update({arguments: f"{text}-{number}" for arguments, text in of_clock.items()})
            renamed = _folder(config, key)
            if renamed == folder:
                kept.update(of_clock)
                return False
            folder = renamed
            continue
        break
    made.append(folder)
    if folder != first:
        log.info("%s is taken; this writes to %s", first, folder)
    return True


def _folder(config: DictConfig, key: str) -> Path:
    singleton = HydraConfig.instance()
    before = singleton.cfg
    try:
        singleton.cfg = config  # type: ignore[assignment]  # for ${hydra:...}
        text = OmegaConf.select(config, key)
    finally:
        singleton.cfg = before
    if text is None:
        raise ValueError(key)
    return Path(str(text))


def _make(folder: Path, made: list[Path]) -> None:
    """With those above it; ``made`` gets the new ones."""
    for place in reversed([folder, *folder.parents]):
        with contextlib.suppress(FileExistsError):
            place.mkdir()
            made.append(place)
    if not folder.is_dir():
        raise NotADirectoryError(str(folder))


def _let_go(path: Path, held: int | None, made: list[Path]) -> None:
    """Leave no lock behind, and no folder of those made that nobody has written to."""
    with contextlib.suppress(OSError):
        if held is not None:
            unlock(path, held)
    for folder in reversed(made):
        try:
            folder.rmdir()
        except OSError:
            return
