"""What several test files need."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from nnexp.environment import prepare

prepare()  # must come before torch

# Each of the programs that are started would compile all that it imports of nnexp.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples at every run: what fails here fails for everybody.
hypothesis.settings.register_profile("fixed", derandomize=True)
hypothesis.settings.load_profile("fixed")

# A shell that starts the tests in the background has SIGINT ignored, in them and in the programs
# that they start: Ctrl-C would end none of these.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are no part of a test's name: those of packed files hold the time, and xdist refuses
    to run tests whose names differ from process to process."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_finish() -> None:
    """What torch, scikit-learn and thousands of tests consist of stays to the end; every full
    collection of garbage would look through all of it."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """What is left when Python ends, some libraries take for a leak."""
    gc.unfreeze()


def pytest_configure() -> None:
    """Without a GPU, kernels are interpreted. Triton wants to know before it is first imported.

    Raises:
        pytest.UsageError: two files of tests have one name, which Python would take for one module;
            whoever runs one of their folders alone would not notice.
    """
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several files are called {', '.join(twice)}; rename all but one")
    import torch

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """What a test sets in the environment, or has set, is gone after it."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data files: NNEXP_DATA, else ``shared/data`` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NNEXP_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no data files at {folder}; NNEXP_DATA names another folder")
    return folder


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """A new folder of a name, filled by a function: once for all processes that share the tests.

    Whoever comes while it is being filled waits. Nobody may change what is in it.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # of the folders that the processes have to themselves

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        place, mark = base / name, base / f"{name}.filled"
        with (base / f"{name}.lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not mark.exists():
                shutil.rmtree(place, ignore_errors=True)  # of somebody who failed
                place.mkdir()
                fill(place)
                mark.touch()
        return place

    return folder
