"""What a command left in its folder as plain values by key, and what differs between two folders.

It reads files alone and imports nothing of nnexp, so it can judge any two versions of it. A file
that has no reader here, such as a picture, a page or a log, is compared by its name.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util.tensor_util import make_ndarray
from torch import Tensor

Values = dict[str, Any]
"""By dotted key: None, a truth value, a number, a text or a tensor."""

ABSENT = "absent"

LEFT_OUT: dict[str, dict[str, str]] = {
    "metrics.jsonl": {"*.seconds": "a time"},
    "result.json": {
        "seconds.*": "a time",
        "baselines.*.seconds": "a time",
        "baselines.*.seconds/*": "a time",
        "versions.*": "what is installed; it is told at the start where it differs",
    },
    "summary.json": {
        "results.*.cost.*_seconds": "a time",
        "results.*.curves.by_second.*": "curves over time",
        "protocol.versions": "as in result.json",
    },
    "runs.csv": {
        "*.seconds.*": "a time",
        "*.baselines.*.seconds": "a time",
        "*.baselines.*.seconds/*": "a time",
        "*.versions.*": "as in result.json",
    },
}
"""By the name of the file: keys that are not compared, and why."""

_FOLDER_OF_A_TIME = re.compile(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d(-\d+)?")
_EVENTS = "events.out.tfevents."


# --- From files to values ---------------------------------------------------------------------


def flat(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of mappings and lists, with dotted keys. An empty one is a leaf."""
    items: Iterable[tuple[Any, Any]] | None = None
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list | tuple):
        items = enumerate(tree)
    if items is None or not tree:
        yield key, str(tree) if items is not None else tree
        return
    for name, value in items:
        yield from flat(value, f"{key}.{name}" if key else str(name))


def _json_lines(path: Path) -> Any:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _summary(path: Path) -> Any:
    """The lines of the protocol by their names, since a key is to say what is left out."""
    tree = _json(path)
    lines = tree.get("protocol", {}).get("lines")
    return {**tree, "protocol": dict(lines)} if lines else tree


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _table(path: Path) -> Any:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _checkpoint(path: Path) -> Any:
    return torch.load(path, weights_only=True, map_location="cpu")


def _arrays(path: Path) -> Any:
    with np.load(path) as arrays:
        return {
            name: torch.from_numpy(array) if array.dtype.kind in "biufc" else array.tolist()
            for name, array in arrays.items()
        }


def _events(path: Path) -> Values:
    """By tag and step. The time of an event is left out, and what a picture shows."""
    found: Values = {}
    seen: Counter[str] = Counter()
    for event in EventFileLoader(str(path)).Load():
        for tag, value in _of_event(event):
            key = f"{tag}@{event.step}"
            seen[key] += 1
            found[key if seen[key] == 1 else f"{key}#{seen[key]}"] = value
    return found


def _of_event(event: Any) -> Iterator[tuple[str, Any]]:
    kind = event.WhichOneof("what")
    if kind == "graph_def":
        for node in GraphDef.FromString(event.graph_def).node:
            yield f"graph.{node.name}", " ".join(str(node).split())
    elif kind == "summary":
        for value in event.summary.value:
            if value.tag != "__run_graph__":  # TensorBoard's own copy of the graph
                yield from _of_summary(value)
    else:
        yield str(kind), str(getattr(event, kind))


def _of_summary(value: Any) -> Iterator[tuple[str, Any]]:
    plugin = value.metadata.plugin_data
    if plugin.plugin_name == "hparams":
        yield from _of_hparams(value.tag, plugin.content)
        return
    array = make_ndarray(value.tensor)
    if plugin.plugin_name == "images":
        width, height, *_ = array.tolist()
        yield value.tag, f"{width.decode()} x {height.decode()} pixels"
    elif array.dtype.kind in "OSU":
        yield from flat([_decoded(text) for text in array.reshape(-1)], value.tag)
    else:
        yield value.tag, array.item() if array.ndim == 0 else torch.from_numpy(array.copy())


def _decoded(text: Any) -> Any:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def _of_hparams(tag: str, content: bytes) -> Iterator[tuple[str, Any]]:
    """Each hyperparameter by itself; without the times at which the run began and ended."""
    data = HParamsPluginData.FromString(content)
    start = data.session_start_info
    for name, value in sorted(start.hparams.items()):
        yield f"{tag}.{name}", str(value).strip()
    if data.HasField("session_start_info"):
        start.ClearField("hparams")
        start.ClearField("start_time_secs")
    if data.HasField("session_end_info"):
        data.session_end_info.ClearField("end_time_secs")
    yield tag, " ".join(str(data).split())


READERS: dict[str, Callable[[Path], Any]] = {
    "metrics.jsonl": _json_lines,
    "result.json": _json,
    "summary.json": _summary,
    "runs.csv": _table,
    "config.yaml": _yaml,  # of .hydra; hydra.yaml beside it tells of paths and of Hydra itself
    "overrides.yaml": _yaml,
    "last.pt": _checkpoint,
    "best.pt": _checkpoint,
    "predictions.npz": _arrays,
}


def read(path: Path) -> Values:
    """What is compared of a file, by key; empty where its name is all that counts."""
    reader = _events if path.name.startswith(_EVENTS) else READERS.get(path.name)
    if reader is None:
        return {}
    try:
        values = dict(flat(reader(path)))
    except Exception as error:  # of any reader: a damaged file is a finding, not the end
        return {"content": f"cannot be read: {type(error).__name__}: {error}"}
    left_out = LEFT_OUT.get(path.name, {})
    return {k: v for k, v in values.items() if not any(fnmatchcase(k, glob) for glob in left_out)}


# --- From folders to values -------------------------------------------------------------------


@dataclass(frozen=True)
class Names:
    """Makes texts of one folder comparable with those of another, for both have their own paths and
    the times at which their commands began."""

    texts: dict[str, str]
    """What is replaced, and by what, in this order."""

    @classmethod
    def of(cls, folder: Path, checkout: Path) -> Names:
        """Folders that are called by a time are numbered in their order."""
        inside = [file.relative_to(folder).as_posix() for file in folder.rglob("*")]
        times = {match[0] for name in inside if (match := _FOLDER_OF_A_TIME.search(name))}
        numbered = {time: f"<time {n}>" for n, time in enumerate(sorted(times), 1)}
        longest_first = sorted(numbered.items(), key=lambda item: -len(item[0]))
        paths = {str(folder): "<folder>", str(checkout): "<checkout>"}
        return cls(paths | dict(longest_first))

    def plain(self, text: str) -> str:
        """``text`` as it reads in any folder."""
        for own, common in self.texts.items():
            text = text.replace(own, common)
        return _FOLDER_OF_A_TIME.sub("<time>", text)


def read_folder(folder: Path, names: Names) -> dict[str, Values]:
    """The values of every file, by its name in any folder."""
    found: dict[str, Values] = {}
    events: Counter[Path] = Counter()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if name.name.startswith(_EVENTS):  # time, host and process follow
            events[name.parent] += 1
            name = name.with_name(f"{_EVENTS}{events[name.parent]}")
        values = {
            names.plain(key): names.plain(value) if isinstance(value, str) else value
            for key, value in read(path).items()
        }
        found[names.plain(name.as_posix())] = values
    return found


# --- What differs -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """One value of one file that is not the same; ``key`` is empty where the file is not there."""

    file: str
    key: str
    old: str
    new: str

    @property
    def place(self) -> str:
        """What ``--allow`` is matched with, after the name of the command."""
        return f"{self.file}:{self.key}"


def compare_folders(old: dict[str, Values], new: dict[str, Values]) -> list[Difference]:
    """File by file; one that is missing on either side is one difference."""
    found = []
    for file in sorted(old.keys() | new.keys()):
        if file in old and file in new:
            found += compare(file, old[file], new[file])
        else:
            here = [ABSENT if file not in side else "present" for side in (old, new)]
            found.append(Difference(file, "", *here))
    return found


def compare(file: str, old: Values, new: Values) -> Iterator[Difference]:
    """Key by key: numbers and tensors in all their bits."""
    for key in [*old, *(key for key in new if key not in old)]:
        if key not in old:
            yield Difference(file, key, ABSENT, _shown(new[key]))
        elif key not in new:
            yield Difference(file, key, _shown(old[key]), ABSENT)
        elif isinstance(old[key], Tensor) and isinstance(new[key], Tensor):
            yield from _of_tensors(file, key, old[key], new[key])
        elif type(old[key]) is not type(new[key]) or repr(old[key]) != repr(new[key]):
            # repr tells 0.0 from -0.0, finds NaN equal to NaN, and has all digits.
            yield Difference(file, key, _shown(old[key]), _shown(new[key]))


def _of_tensors(file: str, key: str, old: Tensor, new: Tensor) -> Iterator[Difference]:
    if old.dtype != new.dtype or old.shape != new.shape:
        yield Difference(file, key, _shown(old), _shown(new))
        return
    differs = (_bytes(old) != _bytes(new)).any(dim=1)
    if differs.any():
        at = int(differs.nonzero()[0])
        index = [int(i) for i in np.unravel_index(at, old.shape)]
        where = f" at {index}, {int(differs.sum())} of {old.numel()} elements differ"
        first = [str(side.reshape(-1)[at].item()) for side in (old, new)]
        yield Difference(file, key, first[0], first[1] + where)


def _bytes(tensor: Tensor) -> Tensor:
    """[N, bytes of an element]."""
    return tensor.reshape(-1, 1).contiguous().view(torch.uint8)


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)} of {value.dtype}"
    return repr(value)
