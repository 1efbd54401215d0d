"""Checkpoints: ``best.pt`` and ``last.pt``, guarded by a hash, and trained networks from them."""

from __future__ import annotations

import hashlib
import io
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from nnexp.data import Dataset
from nnexp.data.preprocessing import raw_features, require
from nnexp.data.text_encoders import TextEncoder, text_encoder_from
from nnexp.engine import RunState
from nnexp.errors import ConfigError, DataError
from nnexp.models.choose import network_from
from nnexp.models.protocol import Network
from nnexp.registry import import_components
from nnexp.runs.files import write_atomically
from nnexp.runs.folder import SEAL, SEAL_LENGTH

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
ADDED = ("pixels",)
"""Keys that the first checkpoints do not have."""


_RUNNING = ("running_mean", "running_var")  # what batch norm learns beside its parameters


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with all that it takes to use it on data as they come."""

    module: nn.Module  # scaled features [B, D] to logits [B, C], in evaluation mode
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...] = field(repr=False)
    shift: Tensor = field(repr=False)  # [D] float64
    scale: Tensor = field(repr=False)  # [D] float64
    pixels: bool = field(default=False, repr=False)  # features are bytes
    text_encoder: TextEncoder | None = field(default=None, repr=False)  # if it reads lines of text

    @torch.no_grad()
    def probabilities(self, raw: ArrayLike | Tensor) -> Tensor:
        """Return [B, C], on the CPU, for features [B, D] as the data set has them before scaling.

        Args:
            raw: a tensor, an array or a list of rows, columns in the order of ``feature_names``;
                or, of a network that reads text, a list of B lines.

        Raises:
            DataError: the features are not [B, D] finite real numbers, or too large once scaled;
                the network has weights that are not finite, is in training mode, or its outputs
                for a row are not finite. A softmax would turn these into some class.
        """
        lines = self._lines(raw)
        rows = raw_features(raw, self.feature_names, pixels=self.pixels) if lines is None else lines
        self._check_module()
        weight = next(self.module.parameters())
        scaled = ((rows - self.shift) * self.scale).to(weight.dtype)
        problem = f"is too large for the network, which computes in {_name(weight.dtype)}"
        require(scaled.isfinite(), rows, self.feature_names, problem)
        logits = self.module(scaled.to(weight.device)).cpu()
        overflown = (~logits.isfinite()).any(1).nonzero()[:1].flatten().tolist()
        for row in overflown:
            raise DataError(
                f"row {row}: the network's outputs are not finite; its features are far from those "
                "of the training data"
            )
        return logits.softmax(1)  # type: ignore[no-any-return]

    def predict(self, raw: ArrayLike | Tensor) -> list[str]:
        """Return the likeliest class's name for each row of features [B, D].

        Takes and raises what ``probabilities`` does.
        """
        return [self.class_names[i] for i in self.probabilities(raw).argmax(1).tolist()]

    def _lines(self, raw: Any) -> Tensor | None:
        """The features of lines of text [B, D], float64; None if ``raw`` is none of text."""
        if self.text_encoder is None or isinstance(raw, Tensor):
            return None
        if isinstance(raw, str):
            raise DataError("a single line of text is [line]")
        lines = list(raw)
        if not any(isinstance(line, str) for line in lines):
            return None
        for row, line in enumerate(lines):
            if not isinstance(line, str):
                raise DataError(f"row {row} is a {type(line).__name__}, not a line of text")
        return torch.from_numpy(self.text_encoder.counts(lines))

    def _check_module(self) -> None:
        """Users may have trained it further, or loaded the last weights of a run that diverged."""
        if any(part.training for part in self.module.modules()):
            raise DataError(
                "the network is in training mode, where its outputs depend on the other rows: call "
                "network.module.eval() first"
            )
        # Other buffers, such as masks, may hold infinities that are meant.
        running = [b for b in self.module.named_buffers() if b[0].endswith(_RUNNING)]
        for name, tensor in [*self.module.named_parameters(), *running]:
            if not tensor.isfinite().all():
                raise DataError(f"the network's {name} is not finite: its training diverged")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


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
        for key in ("epoch", "step", "best_epoch", "best_loss", "stopping_best", "stale", "status")
    }
    content["model"] = network.tensors(state.params, state.stats)
    layout = network.parameters
    content["optimizer"] = {name: layout.unpack(flat) for name, flat in state.optimizer.items()}
    save_checkpoint(path, content)


def load_network(path: str | Path) -> TrainedNetwork:
    """The network of a checkpoint of a run.

    Raises:
        DataError: the file is missing, damaged or of another format.
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
    return TrainedNetwork(
        module,
        tuple(content["class_names"]),
        tuple(content["feature_names"]),
        content["shift"],
        content["scale"],
        content.get("pixels", False),
        text_encoder_from(content["text_encoder"]) if "text_encoder" in content else None,
    )


def _module(content: Mapping[str, Any]) -> nn.Module:
    return network_from(content["structure"]).as_module(content["model"]).eval()


def _common(config: Mapping[str, Any], network: Network, dataset: Dataset) -> dict[str, Any]:
    reads_text = {}
    if dataset.text_encoder is not None:
        reads_text["text_encoder"] = dataset.text_encoder.saved()
    return {
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
