"""What several test files need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nnexp.environment import prepare

prepare()  # must come before torch


def pytest_configure() -> None:
    """Without a GPU, kernels are interpreted. Triton wants to know before it is first imported."""
    import torch

    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data files: NNEXP_DATA, else ``shared/data`` beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NNEXP_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no data files at {folder}; NNEXP_DATA names another folder")
    return folder
