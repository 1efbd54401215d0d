"""Errors that a person can act on, each told in one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator


class NnexpError(Exception):
    """Base of all errors whose message is one line for the person at the terminal.

    The entry point prints the message without a traceback and exits with code 1
    (``HYDRA_FULL_ERROR=1`` shows the traceback).
    """


class ConfigError(NnexpError):
    """A config value that is out of range or does not fit the rest of the config."""


class DataError(NnexpError):
    """A data file that is missing, damaged or not what the config says it is."""


class DivergedError(NnexpError):
    """Training reached a loss that is not a finite number."""


class DoesNotFitError(NnexpError):
    """Runs that train together, or one alone, for which the memory of their device is too small."""


# Of torch's allocators, of CUDA, of its libraries, of C++.
_NO_MEMORY = re.compile(
    "allocate memory|not enough memory|out of memory|bad_alloc|Storage size calculation|"
    "CUBLAS_STATUS_ALLOC_FAILED"
)
# Of torch, of Triton.
_NO_CUDA = re.compile(r"CUDA error: |Triton Error \[CUDA\]: ")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, be it that what broke on the way out was told instead.

    Allocators fail with errors of many classes; torch's, but for one, are told by their words.
    """
    return any(_tells_no_memory(one) for one in chain_of(error))


def is_lost_gpu(error: BaseException) -> bool:
    """Whether CUDA has failed for good in this process: after an illegal address, or an assertion
    in a kernel, every later call fails as well."""
    return not is_out_of_memory(error) and any(_tells_lost_gpu(one) for one in chain_of(error))


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it, what caused that."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _tells_no_memory(error: BaseException) -> bool:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"MemoryError", "OutOfMemoryError"}) or (
        "RuntimeError" in kinds and bool(_NO_MEMORY.search(str(error)))
    )


def _tells_lost_gpu(error: BaseException) -> bool:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return "AcceleratorError" in kinds or (
        "RuntimeError" in kinds and bool(_NO_CUDA.search(str(error)))
    )


_SHORTEST_ABBREVIATION = 3


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the nearest of ``allowed``, or ``""`` if none is near.

    An abbreviation, as ``acc`` for accuracy, is too short to be near, but is one of a single name.
    """
    names = list(allowed)
    near = difflib.get_close_matches(name, names, n=1)
    if not near and len(name) >= _SHORTEST_ABBREVIATION:
        begun = [other for other in names if other.startswith(name)]
        near = begun if len(begun) == 1 else []
    return f" (did you mean '{near[0]}'?)" if near else ""
