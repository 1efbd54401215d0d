"""Checkpoints: ``best.pt`` and ``last.pt``, guarded by a hash, and trained networks from them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nnexp.data import Dataset
from nnexp.data.encoder import Encoder
from nnexp.data.targets import TargetScaling
from nnexp.data.text_encoders import text_encoder_from
from nnexp.engine import RunState
from nnexp.errors import ConfigError, DataError
from nnexp.models.choose import network_from
from nnexp.models.protocol import Network
from nnexp.registry import import_components
from nnexp.runs.files import write_atomically
from nnexp.runs.folder import SEAL, SEAL_LENGTH
from nnexp.runs.trained_network import TrainedNetwork as TrainedNetwork

# --------------------------------------------------------------------------------------------------
# Checkpoints: tensors and plain values in one file that notices when a single bit of it changes.
#
# The file is what ``torch.save`` writes, a zip archive, and ``torch.load(path,
# weights_only=True)`` reads it anywhere. Neither the archive nor torch notices most flipped bits,
# so the archive's comment field carries a seal: the SHA-256 of every byte before it. Loading
# checks it before anything is parsed.
# --------------------------------------------------------------------------------------------------

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


# --------------------------------------------------------------------------------------------------
# Trained networks as files, and back: ``checkpoints/best.pt`` and ``checkpoints/last.pt``.
# --------------------------------------------------------------------------------------------------

FORMAT = 1
ADDED = ("pixels", "encoder", "fill")
"""Keys that the first checkpoints do not have; the last two only those of tables have."""


def save_best(
    path: Path,
    config: Mapping[str, Any],
    network: Network,
    dataset: Dataset,
    state: RunState,
) -> None:
    """Write the weights of the best epoch, of which there must have been one."""
    assert state.best is not None
    content = _common(config, network, dataset)
    content["epoch"] = state.best_epoch
    content["model"] = network.tensors(*state.best)
    save_checkpoint(path, content)


def save_last(
    path: Path,
    config: Mapping[str, Any],
    network: Network,
    dataset: Dataset,
    state: RunState,
) -> None:
    """Write the weights of the last epoch, the optimizer's state and how far training is."""
    content = _common(config, network, dataset)
    content |= {
        key: getattr(state, key)
        for key in ("epoch", "step", "best_epoch", "best_score", "stopping_best", "stale", "status")
    }
    content["model"] = network.tensors(state.params, state.stats)
    layout = network.parameters
    content["optimizer"] = {name: layout.unpack(flat) for name, flat in state.optimizer.items()}
    save_checkpoint(path, content)


def load_network(path: str | Path) -> TrainedNetwork:
    """The network of a checkpoint of a run.

    Raises:
        DataError: the file is missing, damaged, of another format, or its parts do not fit each
            other.
        ConfigError: its model or activation is one of another package, which is not there.
    """
    content = load_checkpoint(Path(path))
    if content.get("format") != FORMAT:
        raise DataError(
            f"{path}: format {content.get('format')} is not {FORMAT}, the one read here"
        )
    try:
        module = _module(content)
    except ConfigError:
        if not content["config"].get("imports"):
            raise
        import_components(content["config"]["imports"])  # as the run did; they may register it
        module = _module(content)
    try:
        return _checked(content, module)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        line = str(error).partition("\n")[0]
        raise DataError(
            f"{path}: its preprocessing is not as nnexp writes it ({type(error).__name__}: {line})"
        ) from error


def _module(content: Mapping[str, Any]) -> nn.Module:
    return network_from(content["structure"]).as_module(content["model"]).eval()


def _checked(content: Mapping[str, Any], module: nn.Module) -> TrainedNetwork:
    """The network with its preprocessing. Raises what damaged descriptions lead to."""
    names = tuple(map(str, content["feature_names"]))
    encoder = None
    if content.get("encoder") is not None:
        encoder = Encoder.from_json(content["encoder"])
        if encoder.feature_names != names:
            raise ValueError("the encoder's features are not the network's")
    vectors = {key: content.get(key) for key in ("shift", "scale", "fill")}
    if (vectors["fill"] is None) != (encoder is None):
        raise ValueError("an encoder and what fills in missing values go together")
    for key, vector in vectors.items():
        if key == "fill" and vector is None:
            continue
        if not isinstance(vector, Tensor) or vector.shape != (len(names),):
            raise ValueError(f"{key} is not one number a feature")
        if vector.dtype != torch.float64 or not vector.isfinite().all():
            raise ValueError(f"{key} is not of finite numbers in float64")
    return TrainedNetwork(
        module,
        tuple(map(str, content["class_names"])),
        names,
        content["shift"],
        content["scale"],
        bool(content.get("pixels", False)),
        encoder,
        content.get("fill"),
        text_encoder_from(content["text_encoder"]) if "text_encoder" in content else None,
        _target(content),
    )


def _target(content: Mapping[str, Any]) -> TargetScaling | None:
    if "target" not in content:
        return None
    scaling = TargetScaling(float(content["target"]["mean"]), float(content["target"]["std"]))
    if not (math.isfinite(scaling.mean) and math.isfinite(scaling.std)) or scaling.std <= 0:
        raise ValueError("the target's scaling is not of finite numbers")
    return scaling


def _common(config: Mapping[str, Any], network: Network, dataset: Dataset) -> dict[str, Any]:
    reads_text = {}
    if dataset.text_encoder is not None:
        reads_text["text_encoder"] = dataset.text_encoder.saved()
    content = {
        "format": FORMAT,
        "config": config,
        "structure": network.saved(),
        "class_names": list(dataset.class_names),
        "feature_names": list(dataset.feature_names),
        "shift": dataset.shift,
        "scale": dataset.scale,
        "pixels": dataset.pixels is not None,
        **reads_text,
    }
    if dataset.target is not None:
        content["target"] = dataclasses.asdict(dataset.target)
    if dataset.encoder is not None:
        content["encoder"] = dataset.encoder.to_json()
        content["fill"] = dataset.fill
    return content
