"""Components by kind and name: what an experiment is composed of.

A component is one file: its options, what it computes, what it is called. Registering it is all it
takes: the command line, checks, memory estimates, checkpoints and reports read it from here. Those
that come with nnexp pass through the same door as those of other packages.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from nnexp.errors import ConfigError, did_you_mean

KINDS = (
    "optimizer", "scheduler", "activation", "loss", "metric", "model", "dataset", "baseline",
    "scaler",
)  # fmt: skip

ENTRY_POINTS = "nnexp.components"
"""The entry-point group in which an installed package names modules that register components."""

_IMPORTS = "NNEXP_IMPORTS"  # in the environment, for processes that are started from here
_NAME = re.compile(r"[a-z][a-z0-9_]*")

ClassT = TypeVar("ClassT")

_registered: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
_version = 0


def register(kind: str, name: str, component: Any) -> None:
    """Make a component known by its name.

    Defining it anew, as when a module is reloaded or a notebook's cell runs again, replaces it.

    Raises:
        ConfigError: the name cannot be one, or another component has it.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{kind} '{name}': a name is lower-case letters, digits and underscores, such as 'lion'"
        )
    known = _registered[kind].get(name)
    if known is not None and _origin(known) != _origin(component):
        raise ConfigError(
            f"{kind} {name}: registered by {_origin(known)} and by {_origin(component)}; "
            "rename one of them"
        )
    _registered[kind][name] = component
    global _version
    _version += 1


def version() -> int:
    """Changes whenever something is registered, for those who cache what depends on it."""
    return _version


def register_class(
    kind: str, name: str, cls: type[ClassT], base: type[Any], needs: Sequence[str]
) -> type[ClassT]:
    """Register a dataclass of options that derives from ``base``.

    Args:
        needs: methods of which it must define one, the general one first: others that a class
            from which it derives may have are used in its place.

    Raises:
        ConfigError: as ``register``, or the class is none of the kind, or its general method would
            not be used.
    """
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ConfigError(f"{kind} {name}: {_origin(cls)} must derive from nnexp.{base.__name__}")
    if "__dataclass_fields__" not in vars(cls):
        raise ConfigError(
            f"{kind} {name}: {_origin(cls)} must be a dataclass; put @dataclass below @{kind}"
        )
    if all(getattr(cls, method) is getattr(base, method) for method in needs):
        raise ConfigError(f"{kind} {name}: {_origin(cls)} must define {needs[0]}()")
    general, *others = needs
    owners = {method: _owner(cls, method) for method in needs}
    for method in others:
        if owners[method] is not base and _is_below(owners[general], owners[method]):
            raise ConfigError(
                f"{kind} {name}: {_origin(cls)} derives from {owners[method].__name__}, whose "
                f"{method}() is used in place of {general}(); derive from nnexp.{base.__name__}"
            )
    register(kind, name, cls)
    return cls


def _owner(cls: type[Any], method: str) -> type[Any]:
    """The class that a method is inherited from."""
    return next(kind for kind in cls.__mro__ if method in vars(kind))


def _is_below(cls: type[Any], other: type[Any]) -> bool:
    return cls is not other and issubclass(cls, other)


def components(kind: str) -> Mapping[str, Any]:
    """Every component of a kind by its name, in the order of registration."""
    return MappingProxyType(_registered[kind])


def component(kind: str, name: str) -> Any:
    """Return the component of this name.

    Raises:
        ConfigError: none is registered, naming those that are.
    """
    try:
        return _registered[kind][name]
    except KeyError:
        known = _registered[kind]
        raise ConfigError(
            f"{kind} {name}: not registered{did_you_mean(name, known)}; registered are "
            f"{', '.join(known)}. If a package of yours has it: imports=[<package>]"
        ) from None


def import_components(modules: Iterable[str] = (), *, export: bool = False) -> None:
    """Import modules that register components: those given, those that installed packages name
    as entry points, and those that this program was started with.

    Args:
        export: processes that are started from here shall import them as well.

    Raises:
        ConfigError: a module that is not there, or that fails.
    """
    inherited = [name for name in os.environ.get(_IMPORTS, "").split(",") if name]
    names = list(dict.fromkeys([*inherited, *modules]))
    _import_entry_points()
    here = os.getcwd()  # noqa: PTH109
    if names and "" not in sys.path and here not in sys.path:
        sys.path.append(here)  # of a script its own folder is there; last, so that it hides nothing
    for name in names:
        _import(name, f"imports=[{name}]")
    if export and names:
        os.environ[_IMPORTS] = ",".join(names)


@functools.cache
def _import_entry_points() -> None:
    """Once a process: looking through what is installed takes its time."""
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        _import(point.value.partition(":")[0], f"entry point {point.name} of {ENTRY_POINTS}")


def _import(module: str, whence: str) -> None:
    if module in sys.modules:
        return
    try:
        importlib.import_module(module)
    except ConfigError as error:
        raise ConfigError(f"{whence}: {error}") from error
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"{whence}: {module} needs {error.name}, which is not there"
            ) from error
        raise ConfigError(
            f"{whence}: there is no module {module}, neither installed nor in {os.getcwd()}"  # noqa: PTH109
        ) from error
    except Exception as error:
        place = _line_of(error)
        raise ConfigError(
            f"{whence}: importing {module} raises {type(error).__name__}: {error}{place} "
            "(HYDRA_FULL_ERROR=1 shows the traceback)"
        ) from error


def _line_of(error: Exception) -> str:
    """`` (my_package/lion.py:12)`` where the import broke."""
    trace, last = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<"):
            last = f" ({os.path.relpath(file)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return last


def _origin(component: Any) -> str:
    target = component if hasattr(component, "__qualname__") else component.origin
    return f"{target.__module__}.{target.__qualname__}"
