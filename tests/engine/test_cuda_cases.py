"""What tests on CUDA share, without CUDA."""

from __future__ import annotations

import warnings

import pytest
import torch
from cuda_cases import no_waiting


@pytest.mark.parametrize("before", [0, 1])
def test_the_mode_is_put_back_whatever_happens(
    monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """torch sets the mode first and raises its warning, which is an error here, afterwards."""
    modes = [before]

    def set_mode(mode: int | str) -> None:
        modes.append({"default": 0, "warn": 1, "error": 2}.get(mode, mode))
        warnings.warn(
            "Synchronization debug mode is a prototype feature and does not yet detect all "
            "synchronizing operations",
            stacklevel=2,
        )

    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    with no_waiting():
        assert modes == [before, 2]
    assert modes == [before, 2, before]
    with pytest.raises(RuntimeError, match="synchronizing"), no_waiting():
        raise RuntimeError("called a synchronizing CUDA operation")
    assert modes[2:] == [before, 2, before]
    with pytest.raises(UserWarning, match="prototype"):  # elsewhere it remains an error
        torch.cuda.set_sync_debug_mode("error")


def test_other_warnings_within_are_errors_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    with pytest.raises(UserWarning, match="something else"), no_waiting():
        warnings.warn("something else", stacklevel=1)


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="this torch was built without CUDA")
def test_torchs_own_mode_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no device: torch only wants to initialise CUDA before."""
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    before = torch.cuda.get_sync_debug_mode()
    with no_waiting():
        assert torch.cuda.get_sync_debug_mode() == 2
    assert torch.cuda.get_sync_debug_mode() == before
