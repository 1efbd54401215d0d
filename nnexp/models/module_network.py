"""Any ``torch.nn.Module`` as a network whose runs are trained batched.

What is here can be pickled and imports no torch: the main process of a sweep plans with it. What
computes is in ``module_runs``; what is measured of a module once, in ``module_facts``.

Axes: R runs, M rows of a batch, D inputs, C outputs, P and S elements of a run's flat rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnexp.errors import ConfigError, did_you_mean
from nnexp.models.layout import Layout
from nnexp.models.protocol import RowMemory

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nnexp.models.module_runs import ModuleRuns

MODULE_FACTORIES: dict[str, Callable[..., Any]] = {}
"""By the model's name ``factory(num_features, num_outputs, **hyperparameters)``."""

_FLOAT32, _BFLOAT16 = 4, 2  # bytes
_LONGEST = 200  # characters of an error's message that are repeated


@dataclass(frozen=True)
class ModuleFacts:
    """What was found out about a module by building and calling it; the same in every process."""

    parameters: tuple[tuple[str, tuple[int, ...]], ...]  # trained ones, names and shapes
    # All else that has values: buffers, frozen parameters. Names, shapes, dtypes, bytes.
    statistics: tuple[tuple[str, tuple[int, ...], str, int], ...]
    # Keys of the state_dict, and the names above under which their tensors lie: tied parameters
    # have several keys.
    state: tuple[tuple[str, str], ...]
    flops_per_row: int  # forward and backward
    saved_per_row: int  # bytes that autograd keeps of a row for the backward pass
    num_layers: int  # modules without modules inside
    why_solo: str | None  # what keeps vmap from batching runs of it
    refuses_one_row: bool


@dataclass(frozen=True)
class ModuleNetwork:
    """A registered module with its hyperparameters: what runs trained together share.

    Runs are batched by ``torch.func.vmap`` over stacked parameters, derivatives are autograd's.
    Modules that cannot be batched train run by run, see ``why_solo``.

    On CUDA steps are called one by one: they are not captured in CUDA graphs.
    """

    name: str
    hyperparameters: tuple[tuple[str, Any], ...]  # lists as tuples, see ``module_network``
    num_features: int
    num_classes: int
    facts: ModuleFacts = field(compare=False, repr=False)

    def make(self) -> nn.Module:
        """A new module as the factory builds it, float32, on the CPU.

        Raises:
            ConfigError: as ``make_module``.
        """
        return make_module(self.name, self.hyperparameters, self.num_features, self.num_classes)

    # ── as in ``Network`` ─────────────────────────────────────────────────────────────────────

    @property
    def parameters(self) -> Layout:
        """Parameters that require gradients; tied ones once."""
        return Layout(self.facts.parameters)

    @property
    def statistics(self) -> Layout:
        """Buffers and frozen parameters, in their own types."""
        return Layout(self.facts.statistics)

    @property
    def num_layers(self) -> int:
        """Modules without modules inside."""
        return self.facts.num_layers

    @property
    def summary(self) -> str:
        """``width=32 depth=2``."""
        return " ".join(f"{name}={_text(value)}" for name, value in self.hyperparameters)

    @property
    def why_solo(self) -> str | None:
        """What keeps vmap from batching its runs."""
        return self.facts.why_solo

    @property
    def refuses_one_row(self) -> str | None:
        """Batch norm, most likely."""
        return f"model={self.name} refuses" if self.facts.refuses_one_row else None

    @property
    def by_torch(self) -> bool:
        """Its operations are the module's."""
        return True

    @property
    def can_be_captured(self) -> bool:
        """Modules may do on the host what a CUDA graph would not repeat."""
        return False

    def options(self) -> Mapping[str, object]:
        """Its name, sizes and hyperparameters."""
        sizes = {"model": self.name, "features": self.num_features, "outputs": self.num_classes}
        return {**sizes, **dict(self.hyperparameters)}

    def padded_rows(self, rows: int) -> int:
        """As many: a module would see padding, batch norm for one."""
        return rows

    def flops_per_row(self) -> int:
        """As torch's FlopCounterMode counts them: matrix products and convolutions."""
        return self.facts.flops_per_row

    def bytes_per_row(self) -> int:
        """What autograd keeps, and gradients as large."""
        return 2 * self.facts.saved_per_row + _FLOAT32 * self.num_features

    def row_memory(self, model: Any, *, is_half: bool) -> RowMemory:
        """What autograd keeps, half as much for gradients in between, and the loss's tensors."""
        saved = self.facts.saved_per_row // (2 if is_half else 1)
        inputs = (_BFLOAT16 if is_half else 0) * self.num_features
        # Nothing outlives a step but a batch's input and the gradient of its logits.
        kept = _FLOAT32 * (self.num_features + self.num_classes)
        passing = 3 * saved // 2 + inputs + 5 * _FLOAT32 * self.num_classes
        return RowMemory(kept, passing, evaluated=3 * saved // 4)

    def initial(self, model: Any, seed: int) -> tuple[Tensor, Tensor]:
        """The factory's own initial weights, drawn from the run's stream."""
        from nnexp.models.module_calls import initial

        return initial(self, seed)

    def build(
        self,
        params: Tensor,
        stats: Tensor,
        seeds: Sequence[int],
        models: Sequence[Any],
        dtype: torch.dtype,
        *,
        trains: bool = True,
    ) -> ModuleRuns:
        """R modules; the buffers are copied. The models' configs are all the same to it."""
        from nnexp.models.module_runs import ModuleRuns

        return ModuleRuns(self, params, stats, seeds, dtype, trains=trains)

    def as_module(self, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
        """The factory's module, with these tensors by the names of its state_dict.

        Raises:
            ConfigError: they are not those of the module that is registered.
        """
        from nnexp.models.module_calls import seeded

        with seeded(0, "init"):
            module = self.make()
        if tensors is not None:
            self._check_keys(tensors)
            try:
                module.load_state_dict({**module.state_dict(), **tensors})
            except RuntimeError as error:
                raise ConfigError(f"{self._changed}: {brief(error)}") from error
        return module

    def _check_keys(self, tensors: Mapping[str, Tensor]) -> None:
        for key in sorted({key for key, _ in self.facts.state} ^ tensors.keys()):
            has = "has no" if key in tensors else "has a"
            raise ConfigError(f"{self._changed}: it {has} {key}")

    @property
    def _changed(self) -> str:
        return (
            f"model={self.name}: what is registered under this name is not the module that was "
            "trained"
        )

    def tensors(self, params: Tensor, stats: Tensor) -> dict[str, Tensor]:
        """One run's tensors by the names of the module's state_dict."""
        found = self.parameters.unpack(params) | self.statistics.unpack(stats)
        return {key: found[name] for key, name in self.facts.state}

    def saved(self) -> dict[str, Any]:
        """The name, the hyperparameters and the sizes."""
        return {
            "module": self.name,
            "hyperparameters": _thawed(self.hyperparameters),
            "num_features": self.num_features,
            "num_classes": self.num_classes,
        }


def module_network(
    name: str, hyperparameters: Mapping[str, Any], num_features: int, num_classes: int
) -> ModuleNetwork:
    """The network of a registered module, which is built and called to see that it works.

    Args:
        hyperparameters: numbers, text, bool, None and lists of them; the factory's keywords.

    Raises:
        ConfigError: the model is not registered, cannot be built, or does not turn
            [B, num_features] into [B, num_classes].
    """
    from nnexp.models.module_facts import facts_of

    frozen = tuple((key, _frozen(value)) for key, value in sorted(hyperparameters.items()))
    for key, value in frozen:
        if not _is_plain(value):
            raise ConfigError(
                f"model={name}: model.{key} must be a number, text, true, false, null or a list of "
                f"them, not a {type(value).__name__}"
            )
    facts = facts_of(name, factory_of(name), frozen, num_features, num_classes)
    return ModuleNetwork(name, frozen, num_features, num_classes, facts)


def _is_plain(value: Any) -> bool:
    """Whether it can be hashed, and written to a checkpoint."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def factory_of(name: str) -> Callable[..., Any]:
    """What builds the modules of a registered model.

    Raises:
        ConfigError: it is not registered.
    """
    if name not in MODULE_FACTORIES:
        raise ConfigError(
            f"model {name} is not registered: import the module that registers it"
            + did_you_mean(name, MODULE_FACTORIES)
        )
    return MODULE_FACTORIES[name]


def make_module(
    name: str,
    hyperparameters: Sequence[tuple[str, Any]],
    num_features: int,
    num_classes: int,
) -> nn.Module:
    """A new module of a registered model, float32, on the CPU.

    Raises:
        ConfigError: it is not registered, its factory raises, or returns no ``nn.Module``.
    """
    import torch
    from torch import nn

    factory = factory_of(name)
    try:
        module = factory(num_features, num_classes, **_thawed(hyperparameters))
        if isinstance(module, nn.Module) and any(
            isinstance(parameter, nn.UninitializedParameter) for parameter in module.parameters()
        ):
            with torch.no_grad():  # a call tells lazy layers their shapes
                module.eval()(torch.zeros(2, num_features))
    except Exception as error:
        raise ConfigError(f"model={name}: cannot be built: {brief(error)}") from error
    if not isinstance(module, nn.Module):
        kind = type(module).__name__
        raise ConfigError(f"model={name}: its factory returned a {kind}, not a torch.nn.Module")
    return module.float().cpu().train()


def brief(error: BaseException) -> str:
    """``ValueError: its message``, in one line that is not too long."""
    text = " ".join(str(error).split())
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rstrip() + " ..."
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def _frozen(value: Any) -> Any:
    """Hashable: lists as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _thawed(hyperparameters: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """As the factory and a checkpoint take them, with lists."""

    def thawed(value: Any) -> Any:
        return list(map(thawed, value)) if isinstance(value, tuple) else value

    return {key: thawed(value) for key, value in hyperparameters}


def _text(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
