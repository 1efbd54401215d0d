"""What a model is: a dataclass of hyperparameters that a network is built from."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from nnexp.errors import ConfigError
from nnexp.models.module_network import MODULE_FACTORIES
from nnexp.registry import component, register

Factory = Callable[..., Any]  # returns a ``torch.nn.Module``


@dataclass
class Model:
    """Base of all models."""

    name: str = MISSING


@dataclass
class ModuleModel(Model):
    """A model that is a ``torch.nn.Module``, made by a function of another package.

    A subclass for each such function has its keyword arguments as fields.
    """

    factory: ClassVar[Factory]
    registered_as: ClassVar[str]

    def __reduce__(self) -> tuple[Any, ...]:
        """By the function's module, which registers the model as it is imported."""
        return _remade, (type(self).__module__, self.registered_as, dataclasses.asdict(self))


def model(name: str) -> Callable[[Factory], Factory]:
    """Register a function that returns a ``torch.nn.Module`` as ``model=<name>``.

    Its first two arguments are the number of features and the number of outputs; the others are
    hyperparameters, with a type and a default each: ``model.width=32`` on the command line. The
    module takes features [B, D] and returns logits [B, C].

    Raises:
        ConfigError: an argument without a type, or of one that no option can have; the name is
            taken.
    """

    def decorate(function: Factory) -> Factory:
        register("model", name, _config_class(name, function))
        MODULE_FACTORIES[name] = function
        return function

    return decorate


def _config_class(name: str, function: Factory) -> type[ModuleModel]:
    where = f"model {name}: {function.__module__}.{function.__qualname__}"
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) < 2 or any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters):
        raise ConfigError(
            f"{where} must take num_features, num_outputs and then its hyperparameters by name"
        )
    try:
        types = typing.get_type_hints(function)
    except NameError as error:
        raise ConfigError(f"{where}: {error}") from error
    fields: list[Any] = []
    for parameter in parameters[2:]:
        if parameter.name not in types:
            raise ConfigError(f"{where}: {parameter.name} needs a type, such as 'width: int = 64'")
        if parameter.name == "name":
            raise ConfigError(f"{where}: 'name' is the model's own; call the argument otherwise")
        fields.append((parameter.name, types[parameter.name], _default(parameter)))
    made: type[ModuleModel] = dataclasses.make_dataclass(
        "".join(part.title() for part in name.split("_")) + "Model",
        fields,
        bases=(ModuleModel,),
        namespace={
            "__doc__": inspect.getdoc(function) or f"The model of {function.__qualname__}.",
            "factory": staticmethod(function),
            "registered_as": name,
        },
    )
    made.__module__, made.__qualname__ = function.__module__, function.__qualname__
    return made


def _default(parameter: inspect.Parameter) -> Any:
    default = MISSING if parameter.default is parameter.empty else parameter.default
    if isinstance(default, list | dict | tuple):
        return dataclasses.field(default_factory=lambda: type(default)(default))
    return dataclasses.field(default=default)


def _remade(module: str, name: str, values: dict[str, Any]) -> ModuleModel:
    importlib.import_module(module)
    kind: type[ModuleModel] = component("model", name)
    return kind(**values)
