"""TensorBoard's event records: summaries as protocol buffers, framed by CRC-32C."""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.util.tensor_util import make_tensor_proto

from nnexp.runs.folder import WRITER
from nnexp.runs.png import png, size_of

# --------------------------------------------------------------------------------------------------
# CRC-32C, the checksum of TensorBoard's event files, of many byte strings at once.
#
# A CRC is linear over the integers modulo 2: it is the exclusive or of what each byte contributes
# by its value and its distance from the end, and of what the start value contributes. So numpy can
# look all contributions up in one table. TensorBoard's own goes byte by byte in Python, 20 times
# slower.
#
# Polynomial and bit order: RFC 3720, appendix B.4. Axes: K blocks of ``_BLOCK`` bytes.
# --------------------------------------------------------------------------------------------------

_POLYNOMIAL = 0x82F63B78  # bits reversed
_START = 0xFFFFFFFF
_BLOCK = 256  # most events of curves are shorter; the table of 256 KiB stays in cache


def crc32c(strings: Sequence[bytes]) -> list[int]:
    """The CRC-32C of each string."""
    padded = b"".join(bytes(-len(string) % _BLOCK) + string for string in strings)  # zeros add none
    values = np.frombuffer(padded, np.uint8).reshape(-1, _BLOCK)
    table, places = _contributions()
    parts = np.bitwise_xor.reduce(table.take(values + places), axis=1).tolist()  # [K]
    starts, (last, third, second, first) = _starts()
    sums, done = [], 0
    for string in strings:
        blocks = -(-len(string) // _BLOCK)
        state = _START
        if blocks:
            state = starts[(len(string) - 1) % _BLOCK + 1] ^ parts[done]
            for part in parts[done + 1 : done + blocks]:
                state = (
                    first[state & 255]
                    ^ second[state >> 8 & 255]
                    ^ third[state >> 16 & 255]
                    ^ last[state >> 24]
                    ^ part
                )
        sums.append(state ^ _START)
        done += blocks
    return sums


@functools.cache
def _contributions() -> tuple[NDArray[np.uint32], NDArray[np.intp]]:
    """A flat table [_BLOCK * 256], and where each place of a block [_BLOCK] begins in it."""
    last = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        last = np.where(last & 1, last >> 1 ^ np.uint32(_POLYNOMIAL), last >> 1)
    table = np.empty((_BLOCK, 256), np.uint32)
    table[0] = last
    for distance in range(1, _BLOCK):
        nearer = table[distance - 1]
        table[distance] = nearer >> 8 ^ last[nearer & 255]
    return table.ravel(), 256 * np.arange(_BLOCK)[::-1]


@functools.cache
def _starts() -> tuple[list[int], list[list[int]]]:
    """What the start value contributes after 0, 1, ... _BLOCK bytes; how a state passes a block.

    A state passes a block as if its four bytes, the lowest first, began the block.
    """
    table = _contributions()[0].reshape(_BLOCK, 256)
    starts = [_START]
    for _ in range(_BLOCK):
        state = starts[-1]
        starts.append(state >> 8 ^ int(table[0, state & 255]))
    return starts, table[-4:].tolist()


# --------------------------------------------------------------------------------------------------
# From values to TensorBoard's protocol buffers, and from those to the records of an event file.
#
# Built on TensorBoard's own messages rather than on SummaryWriter: that one writes from a thread
# which raises in the training loop when the disk is full, loses what is queued when the process is
# killed, and puts the hparams into a second run.
#
# An event is handed around as its serialised bytes. Those of scalars, of which a run has one an
# epoch, are put together here byte by byte, 10 times faster than through a message.
# --------------------------------------------------------------------------------------------------

HISTOGRAM_BINS = 50

Hparam = bool | int | float | str


def file_version(wall_time: float) -> bytes:
    """The event that every event file begins with."""
    source = SourceMetadata(writer=WRITER)
    event = Event(wall_time=wall_time, file_version="brain.Event:2", source_metadata=source)
    return bytes(event.SerializeToString())


def event(summary: Summary, step: int, wall_time: float) -> bytes:
    """The event of a summary."""
    return bytes(Event(summary=summary, step=step, wall_time=wall_time).SerializeToString())


def graph_event(graph: bytes, wall_time: float) -> bytes:
    """The event of a serialised GraphDef."""
    return bytes(Event(wall_time=wall_time, graph_def=graph).SerializeToString())


def records(events: Sequence[bytes]) -> bytes:
    """The events as records of an event file, each framed by its length and checksums."""
    parts = []
    for event, checksum in zip(events, crc32c(events), strict=True):
        parts += [_header(len(event)), event, _masked(checksum)]
    return b"".join(parts)


@functools.lru_cache(maxsize=4096)
def _header(length: int) -> bytes:
    number = struct.pack("<Q", length)
    return number + _masked(*crc32c([number]))


def _masked(checksum: int) -> bytes:
    """Rotated and moved, as TFRecord does with a checksum that is stored beside what it is of."""
    rotated = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


def scalars(values: Mapping[str, float | None], step: int, wall_time: float) -> bytes:
    """The event of one value a tag: ``Event(wall_time, step, summary)`` as it is serialised.

    What is None or not finite has no point, as the record has a null.
    """
    summary = b"".join(
        [
            _scalar_of(tag) + _float32(value)
            for tag, value in values.items()
            if value is not None and math.isfinite(value)
        ]
    )
    when = b"\x09" + struct.pack("<d", wall_time)
    where = b"\x10" + _varint(step) if step else b""  # proto3 leaves a zero out
    return b"".join([when, where, b"\x2a", _varint(len(summary)), summary])


@functools.lru_cache(maxsize=4096)
def _scalar_of(tag: str) -> bytes:
    """A ``Summary.Value`` of ``tag`` up to its simple_value, which are the last four bytes."""
    name = tag.encode()
    value = (b"\x0a" + _varint(len(name)) + name if name else b"") + b"\x15"
    return b"\x0a" + _varint(len(value) + 4) + value


def _float32(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, value))


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, as protocol buffers write whole numbers >= 0."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def text(tag: str, markdown: str) -> Summary:
    """A text that TensorBoard renders as Markdown."""
    return text_pb(tag, markdown)


def image(tag: str, picture: NDArray[np.uint8] | bytes) -> Summary:
    """A picture ``[height, width, 3]``, or its PNG file."""
    encoded = picture if isinstance(picture, bytes) else png(picture)
    height, width = size_of(encoded)
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def histogram(tag: str, values: NDArray[np.floating]) -> Summary:
    """The distribution of the finite ones among ``values``, of any shape, in equal bins."""
    finite = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(finite, bins=HISTOGRAM_BINS)
    bins = np.stack([edges[:-1], edges[1:], counts], axis=1)
    metadata = histogram_metadata.create_summary_metadata(display_name=None, description=None)
    value = Summary.Value(tag=tag, metadata=metadata, tensor=make_tensor_proto(bins))
    return Summary(value=[value])


def session_start(
    hparams: Mapping[str, Hparam | None], wall_time: float, trial: str = ""
) -> Summary:
    """The hyperparameters of the run. One that is None is left blank.

    Runs with the same ``trial`` are one row of the table, with the means of their metrics; without
    one a run is named after its folder.

    No Experiment summary goes with it. TensorBoard takes the first that it finds under its logdir
    for all runs there, so that one run's would hide the hyperparameters that another arm of the
    sweep has; without one it shows the union of all runs' hyperparameters and metrics.
    """
    known = {name: value for name, value in hparams.items() if value is not None}
    return summary_v2.hparams_pb(known, trial_id=trial, start_time_secs=wall_time)


def session_end(success: bool, wall_time: float) -> Summary:
    """How the run ended."""
    status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=wall_time)
    metadata = hparams_metadata.create_summary_metadata(
        plugin_data_pb2.HParamsPluginData(session_end_info=end)
    )
    value = Summary.Value(
        tag=hparams_metadata.SESSION_END_INFO_TAG,
        metadata=metadata,
        tensor=hparams_metadata.NULL_TENSOR,
    )
    return Summary(value=[value])
