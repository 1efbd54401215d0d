"""Checkpoints: tensors and plain values in one file that notices when a single bit of it changes.

The file is what ``torch.save`` writes, a zip archive, and ``torch.load(path, weights_only=True)``
reads it anywhere. Neither the archive nor torch notices most flipped bits, so the archive's comment
field carries a seal: the SHA-256 of every byte before it. Loading checks it before anything is
parsed.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnexp.errors import DataError
from nnexp.results.files import write_atomically
from nnexp.results.record.ownership import SEAL, SEAL_LENGTH

_PLAIN = frozenset([bool, int, float, str, type(None)])


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` to ``path`` atomically: tensors, plain values, and dicts and lists of them.

    Tensors are stored detached and on the CPU, each with its own elements alone, however large the
    buffer that it is a view of; but those that together make up a buffer stay views of it, which is
    one record of the archive instead of one each. The same state gives the same bytes.

    Raises TypeError for any other kind of value, which could be written but not be loaded safely,
    and OSError if the file cannot be written; the checkpoint that stood there is then untouched.
    """
    buffer = io.BytesIO()
    torch.save(_Portable(state).of(state, path.name), buffer)
    buffer.seek(-2, io.SEEK_END)
    if buffer.read() != b"\0\0":
        raise RuntimeError("torch.save wrote an archive that has a comment already")
    buffer.seek(-2, io.SEEK_END)
    buffer.write(struct.pack("<H", SEAL_LENGTH))  # the length of the zip comment
    buffer.write(_seal_of(buffer.getbuffer()))
    write_atomically(path, buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state that :func:`save_checkpoint` wrote, its tensors on the CPU.

    Raises DataError if the file is missing, is no checkpoint, or differs in any bit from what was
    written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    sealed, seal = content[:-SEAL_LENGTH], content[-SEAL_LENGTH:]
    if not seal.startswith(SEAL):
        raise DataError(f"{path} is damaged, or not a checkpoint of nnexp")
    if seal != _seal_of(sealed):
        raise DataError(f"{path} is damaged: its checksum does not match")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its reader meets
        raise DataError(f"{path} cannot be read by torch {torch.__version__}") from error
    return dict(state)


def _seal_of(content: bytes | memoryview) -> bytes:
    return SEAL + hashlib.sha256(content).hexdigest().encode()


class _Portable:
    """Makes a state one that can be stored."""

    def __init__(self, state: Any) -> None:
        self._used: Counter[int] = Counter()  # bytes of each buffer that tensors in the state have
        for tensor in _tensors(state):
            self._used[tensor.untyped_storage().data_ptr()] += tensor.nbytes

    def of(self, value: Any, where: str) -> Any:
        """``value``, its tensors on the CPU and compact; TypeError names what is not plain."""
        if type(value) in _PLAIN:  # not isinstance: numpy.float64 is a float, yet not plain
            return value
        if isinstance(value, Tensor):
            tensor, buffer = value.detach(), value.untyped_storage()
            whole = tensor.is_contiguous() and self._used[buffer.data_ptr()] == buffer.nbytes()
            return tensor.to("cpu", copy=not whole).contiguous()
        if isinstance(value, Mapping):
            return {self.of(k, where): self.of(v, f"{where}: {k}") for k, v in value.items()}
        if isinstance(value, list | tuple):
            plain = all(type(item) in _PLAIN for item in value)
            items = list(value) if plain else [self.of(item, where) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        raise TypeError(f"{where} is a {type(value).__name__}, neither a tensor nor a plain value")


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            if type(item) not in _PLAIN:
                yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if type(item) not in _PLAIN:
                yield from _tensors(item)
