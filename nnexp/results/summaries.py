"""From values to TensorBoard's protocol buffers, and from those to the records of an event file.

Built on TensorBoard's own messages rather than on SummaryWriter: that one writes from a thread
which raises in the training loop when the disk is full, loses what is queued when the process is
killed, and puts the hparams into a second run.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

HISTOGRAM_BINS = 50

Hparam = bool | int | float | str


def file_version(wall_time: float) -> Event:
    """The event that every event file begins with."""
    source = SourceMetadata(writer="nnexp")
    return Event(wall_time=wall_time, file_version="brain.Event:2", source_metadata=source)


def encoded(events: Iterable[Event]) -> bytes:
    """The events as records of an event file, each framed by its length and checksums."""
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def scalars(values: Mapping[str, float | None]) -> Summary:
    """One value a tag. What is None or not finite has no point, as the record has a null."""
    return Summary(
        value=[
            Summary.Value(tag=tag, simple_value=value)
            for tag, value in values.items()
            if value is not None and math.isfinite(value)
        ]
    )


def text(tag: str, markdown: str) -> Summary:
    """A text that TensorBoard renders as Markdown."""
    return text_pb(tag, markdown)


def image(tag: str, picture: NDArray[np.uint8]) -> Summary:
    """A picture ``[height, width, 3]`` as a PNG."""
    height, width, channels = picture.shape
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    png = Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=buffer.getvalue()
    )
    return Summary(value=[Summary.Value(tag=tag, image=png)])


def histogram(tag: str, values: NDArray[np.floating]) -> Summary:
    """The distribution of the finite ones among ``values``, of any shape, in equal bins."""
    finite = values[np.isfinite(values)].astype(np.float64)
    counts, edges = np.histogram(finite, bins=HISTOGRAM_BINS)
    bins = np.stack([edges[:-1], edges[1:], counts], axis=1)
    metadata = histogram_metadata.create_summary_metadata(display_name=None, description=None)
    value = Summary.Value(tag=tag, metadata=metadata, tensor=make_tensor_proto(bins))
    return Summary(value=[value])


def session_start(hparams: Mapping[str, Hparam | None], wall_time: float) -> Summary:
    """The hyperparameters of the run. One that is None is left blank.

    No Experiment summary goes with it. TensorBoard takes the first that it finds under its logdir
    for all runs there, so that one run's would hide the hyperparameters that another arm of the
    sweep has; without one it shows the union of all runs' hyperparameters and metrics.
    """
    known = {name: value for name, value in hparams.items() if value is not None}
    return summary_v2.hparams_pb(known, trial_id="", start_time_secs=wall_time)


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
