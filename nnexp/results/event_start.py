"""What the event file of a run tells from its start: its config, and the name of its data."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import metadata

from nnexp.results.record.ownership import WRITER
from nnexp.results.strict_json import to_object

_LOOKED_AT = 4  # events: the version, hyperparameters, config
_LONGEST = 2**24  # bytes of an event
_FENCE = b"```"


@dataclass(frozen=True)
class Start:
    """Of a run's event file."""

    config: dict[str, Any] | None  # all options of the run; None: somebody else's file
    dataset: str = ""  # the name of its data


def read_start(path: Path) -> Start | None:
    """None while the run has not come so far as to tell: the file is to be looked at again.

    Raises:
        OSError: it cannot be read.
    """
    dataset, comes = "", True
    for number, event in enumerate(_events(path)):
        if number == 0:
            comes = event.source_metadata.writer == WRITER
        for value in event.summary.value:
            if value.tag == metadata.SESSION_START_INFO_TAG:
                content = value.metadata.plugin_data.content
                told = metadata.parse_session_start_info_plugin_data(content)
                dataset = told.hparams["dataset.name"].string_value
            elif value.tag == "config" and value.tensor.string_val:
                config = _config(value.tensor.string_val[0])
                if config is None:
                    return Start(None)
                return Start(config, dataset or str(config["dataset"]["name"]))
            elif value.HasField("simple_value"):
                return Start(None)
    return None if comes else Start(None)


def _config(markdown: bytes) -> dict[str, Any] | None:
    """The JSON object in a block of Markdown, if it is a run's config."""
    try:
        config = to_object(markdown.partition(b"\n")[2].rpartition(_FENCE)[0])
    except ValueError:
        return None
    groups = [config.get(group) for group in ("model", "optimizer", "dataset")]
    return config if all(isinstance(g, dict) and "name" in g for g in groups) else None


def _events(path: Path) -> Iterator[Event]:
    """The first events that are there as a whole."""
    with path.open("rb") as file:
        for _ in range(_LOOKED_AT):
            header = file.read(12)
            if len(header) < 12:
                return
            (length,) = struct.unpack("<Q", header[:8])
            if length > _LONGEST:
                return
            content = file.read(length + 4)
            if len(content) < length + 4:
                return
            try:
                yield Event.FromString(content[:-4])
            except DecodeError:
                return
