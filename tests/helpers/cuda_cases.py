"""What tests on CUDA share."""

from __future__ import annotations

import fcntl
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch


@contextmanager
def no_waiting() -> Iterator[None]:
    """An error where the host waits for the device, as far as torch notices; not afterwards.

    The first call of a process warns that the mode is a prototype. As an error (see pyproject.toml)
    this is raised when the mode is set already, so that it is to be put back then as well.
    """
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype", UserWarning)
        try:
            torch.cuda.set_sync_debug_mode("error")
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


@pytest.fixture
def most_of_the_gpu() -> Iterator[None]:
    """For one test at a time, of all processes: pytest-xdist runs several on one device.

    Import this into a test file to use it.
    """
    path = Path(tempfile.gettempdir()) / "nnexp-tests-gpu.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
