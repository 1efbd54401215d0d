"""Kernels' launchers, which Triton writes as Python code for each kernel, called on the CPU.

Neither compiling nor interpreting a kernel goes through that code. Its names are those of the
kernel's arguments and a few of its own, so that an argument ``params`` once made every launch fail.

``triton.runtime.jit.create_function_from_signature`` is private. Tried with Triton 3.4.0, 3.5.1,
3.6.0 (which comes with torch 2.11) and 3.9.0.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import nnexp.kernels

pytest.importorskip("triton")

from kernel_compilation import call_all
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction, create_function_from_signature

from nnexp.kernels import launch

MODULES = [
    importlib.import_module(f"nnexp.kernels.{module.name}")
    for module in pkgutil.iter_modules(nnexp.kernels.__path__)
]


def compiled(kernel: Any) -> JITFunction[Any]:
    """What ``triton.jit`` makes of a kernel where it is not to be interpreted (see conftest.py)."""
    if isinstance(kernel, InterpretedFunction):
        return JITFunction(kernel.fn, **kernel.rewriter.kwargs)
    assert isinstance(kernel, JITFunction)
    return kernel


def functions_of(module: ModuleType) -> dict[str, JITFunction[Any]]:
    """The functions that a module has Triton compile, by name."""
    return {
        name: compiled(value)
        for name, value in vars(module).items()
        if isinstance(value, InterpretedFunction | JITFunction)
        and value.fn.__module__ == module.__name__
    }


FUNCTIONS = {name: fn for module in MODULES for name, fn in functions_of(module).items()}
CALLED = {name for fn in FUNCTIONS.values() for name in fn.fn.__code__.co_names}
KERNELS = sorted(FUNCTIONS.keys() - CALLED)  # the others are called by these, on the device


def launcher_of(function: JITFunction[Any]) -> Callable[..., tuple[Any, ...]]:
    """As ``JITFunction.create_binder`` has it, for compute capability 9.0."""
    backend = make_backend(GPUTarget("cuda", 90, 32))
    return create_function_from_signature(function.signature, function.params, backend)


def call(function: JITFunction[Any], *arguments: Any, **options: Any) -> None:
    """Call the launcher as ``JITFunction.run`` does, and check what it makes of the arguments."""
    options |= {"debug": False, "instrumentation_mode": ""}
    constants = {name: options[name] for name in function.arg_names if name in options}
    bound, specialization, left = launcher_of(function)(*arguments, **options)
    assert list(bound) == function.arg_names
    expected = [*arguments, *constants.values()]
    assert all(a is b for a, b in zip(bound.values(), expected, strict=True))
    assert len(specialization) == len(expected)
    assert left == {name: value for name, value in options.items() if name not in constants}
    kinds = [kind for kind, _ in specialization[: len(arguments)]]
    for value, kind in zip(arguments, kinds, strict=True):
        assert isinstance(value, Tensor) == kind.startswith("*"), kind
    assert all(kind == "constexpr" for kind, _ in specialization[len(arguments) :])


class Launched:
    """In a kernel's place: calls the launcher where the kernel would be started."""

    def __init__(self, kernel: Any, names: list[str]) -> None:
        self._kernel, self._names = compiled(kernel), names
        self.__name__ = self._kernel.__name__

    def __getitem__(self, grid: tuple[int]) -> Callable[..., None]:
        assert grid[0] > 0
        self._names.append(self.__name__)
        return lambda *arguments, **options: call(self._kernel, *arguments, **options)


def test_every_kernel_is_launched_as_the_product_launches_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With tensors, numbers, constants and what it can go without. A new kernel is to join."""
    names: list[str] = []

    def through(
        kernel: Any,
        programs: int,
        tensors: Sequence[Tensor | None],
        *numbers: float,
        **constants: int,
    ) -> None:
        launch(Launched(kernel, names), programs, tensors, *numbers, **constants)

    for module in MODULES:
        if functions_of(module):
            monkeypatch.setattr(module, "launch", through)
    call_all(runs=3, numbers=100, rows=32, columns=5, classes=4)
    assert sorted(set(names)) == KERNELS


@pytest.mark.parametrize(
    "value", [torch.zeros(4), 3, 0.5, None], ids=["tensor", "int", "float", "none"]
)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_launcher_takes_every_kind_of_argument(name: str, value: object) -> None:
    """Also of functions that are only called by kernels: they may become kernels."""
    function = FUNCTIONS[name]
    constants = {p.name: 4 for p in function.params if p.is_constexpr}
    call(function, *[value] * (len(function.params) - len(constants)), **constants)


def test_no_argument_has_a_name_of_the_launchers_own() -> None:
    """Also of those that do no harm today."""

    def neutral(argument):  # type: ignore[no-untyped-def]
        """A kernel with one argument."""

    code = launcher_of(JITFunction(neutral)).__code__
    own = {*code.co_varnames, *code.co_names} - {"argument"}
    assert {"params", "options", "specialization"} <= own
    run = JITFunction.run.__code__
    own |= {*run.co_varnames[: run.co_argcount + run.co_kwonlyargcount]}  # grid, warmup
    for name, function in FUNCTIONS.items():
        assert not own.intersection(function.arg_names), name
