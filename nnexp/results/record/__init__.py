"""The record of a run: ``metrics.jsonl`` while it trains, ``result.json`` when it has ended.

Both are strict JSON: a number that is not finite is written as ``null``.
"""

from nnexp.results.record.folder import discard, set_aside
from nnexp.results.record.metrics import EPOCH_KEYS, MetricsLog, read_metrics
from nnexp.results.record.ownership import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    RESULT_FILE,
    ForeignFileError,
)
from nnexp.results.record.result import (
    RESULT_METRICS,
    DatasetSummary,
    RunResult,
    precedence,
    read_result,
    unrecorded,
    without,
    write_result,
)

__all__ = [
    "EPOCH_KEYS",
    "METRICS_FILE",
    "PREDICTIONS_FILE",
    "RESULT_FILE",
    "RESULT_METRICS",
    "DatasetSummary",
    "ForeignFileError",
    "MetricsLog",
    "RunResult",
    "discard",
    "precedence",
    "read_metrics",
    "read_result",
    "set_aside",
    "unrecorded",
    "without",
    "write_result",
]
