"""What TensorBoard shows of a run: its event file, curves, pictures and graph."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from torch import Tensor, fx, nn

from nnexp.data import Dataset
from nnexp.metrics import metric_keys
from nnexp.models.protocol import Network
from nnexp.runs import event_records
from nnexp.runs.files import Journal, to_readable_json
from nnexp.runs.record import RunResult
from nnexp.tasks import TASKS

# --------------------------------------------------------------------------------------------------
# The graph of a network as TensorBoard draws it: a box a layer, nested as the modules are.
# --------------------------------------------------------------------------------------------------


def layer_graph(network: nn.Module, example: Tensor) -> GraphDef:
    """The layers of ``network`` and the shapes [B, ...] between them when it is given ``example``.

    Traced by torch.fx, in milliseconds; torch.jit.trace, which torch.utils.tensorboard uses, takes
    most of a second, is deprecated and spreads each layer over a dozen boxes. The network is left
    in the mode it was in, and no random numbers are drawn.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        recorder = _GraphRecorder(network, _LayerTracer().trace(network))
        with torch.no_grad():
            recorder.run(example)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return GraphDef(node=recorder.nodes)


class _LayerTracer(fx.Tracer):
    """Follows the data between the modules that have no modules inside, not into them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        empty = next(m.children(), None) is None
        return empty and not isinstance(m, nn.Sequential)  # one without layers does nothing


class _GraphRecorder(fx.Interpreter):
    """Runs the traced network and notes each step as a node, with the shape that came out."""

    def __init__(self, network: nn.Module, steps: fx.Graph) -> None:
        super().__init__(network, graph=steps)
        self.nodes: list[NodeDef] = []
        self._names: dict[fx.Node, str] = {}
        self._uses: Counter[str] = Counter()

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        name, kind, details = self._describe(n)
        self._uses[name] += 1
        if self._uses[name] > 1:  # a layer that the data passes again
            name += f"_{self._uses[name] - 1}"
        self._names[n] = name
        attributes = {"layer": AttrValue(s=details.encode())} if details else {}
        if isinstance(result, Tensor):
            dims = [TensorShapeProto.Dim(size=size) for size in result.shape]
            shapes = AttrValue.ListValue(shape=[TensorShapeProto(dim=dims)])
            attributes["_output_shapes"] = AttrValue(list=shapes)
        inputs = [self._names[source] for source in n.all_input_nodes]
        self.nodes.append(NodeDef(name=name, op=kind, input=inputs, attr=attributes))
        return result

    def _describe(self, node: fx.Node) -> tuple[str, str, str]:
        """A node's name, whose slashes nest it, its kind, and a layer's settings."""
        if node.op == "call_module":
            layer = self.module.get_submodule(str(node.target))
            return self._nested(str(node.target)), type(layer).__name__, layer.extra_repr()
        if node.op == "placeholder":
            return "x", "Input", ""
        if node.op == "output":
            return "y", "Output", ""
        kind = str(getattr(node.target, "__name__", node.target))
        inside = next(reversed(node.meta.get("nn_module_stack", {"": None})))
        return f"{self._nested(inside)}/{kind}".lstrip("/"), kind, ""

    def _nested(self, path: str) -> str:
        """``hidden.0.linear`` as ``hidden/Layer[0]/linear``: a bare number says little on a box."""
        parts = path.split(".") if path else []
        for depth, part in enumerate(parts):
            if part.isdigit():
                inner = self.module.get_submodule(".".join(path.split(".")[: depth + 1]))
                parts[depth] = f"{type(inner).__name__}[{part}]"
        return "/".join(parts)


# --------------------------------------------------------------------------------------------------
# The TensorBoard event file of a run. Whatever goes wrong with it, the run goes on.
# --------------------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

_serial = itertools.count()


class EventWriter:
    """Writes the one event file of a run into ``folder``.

    Events are collected for a moment before they are written, and then survive a kill; a full disk
    delays them (see :class:`~nnexp.runs.files.Journal`). What cannot be drawn, traced or encoded
    is left out and told once. No call raises.

    Steps are optimizer steps, as in ``metrics.jsonl``.
    """

    def __init__(self, folder: Path) -> None:
        now = time.time()
        name = f"{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{next(_serial)}"
        self._file = Journal(folder / f"events.out.tfevents.{name}", event_records.records)
        self._told: set[str] = set()
        self._file.append(event_records.file_version(now))

    def epochs(self, epochs: Iterable[Mapping[str, float | None]], started: float) -> None:
        """Write the curves of epochs as ``metrics.jsonl`` has them, one or all of them at once.

        ``started`` is the time at which training began, in seconds since 1970.
        """
        with self._spared("curves"):
            for epoch in epochs:
                step, seconds = epoch["step"], epoch["seconds"]
                assert step is not None
                assert seconds is not None
                curves = {k: v for k, v in epoch.items() if k not in ("epoch", "step", "seconds")}
                self._file.append(event_records.scalars(curves, int(step), started + seconds))

    def scalars(self, values: Mapping[str, float | None], step: int) -> None:
        """Write one point a tag; None and what is not finite are left out."""
        with self._spared("scalars"):
            self._file.append(event_records.scalars(values, step, time.time()))

    def text(self, tag: str, markdown: str) -> None:
        """Write a text, which TensorBoard renders as Markdown."""
        self._write(tag, lambda: event_records.text(tag, markdown))

    def image(self, tag: str, draw: Callable[[], NDArray[np.uint8] | bytes], step: int) -> None:
        """Write the picture [height, width, 3] that ``draw`` returns, or its PNG file."""
        self._write(tag, lambda: event_records.image(tag, draw()), step)

    def histogram(self, tag: str, values: Tensor, step: int) -> None:
        """Write the distribution of ``values``, of any shape."""
        self._write(
            tag, lambda: event_records.histogram(tag, values.detach().float().cpu().numpy()), step
        )

    def graph(self, graph: Callable[[], bytes]) -> None:
        """Write the serialised GraphDef that ``graph`` returns."""
        with self._spared("graph"):
            self._file.append(event_records.graph_event(graph(), time.time()))

    def start(self, hparams: Mapping[str, event_records.Hparam | None], trial: str = "") -> None:
        """Enter the run into TensorBoard's HParams table, by the name ``trial`` or its folder's."""
        self._write("hparams", lambda: event_records.session_start(hparams, time.time(), trial))

    def end(self, metrics: Mapping[str, float | None], step: int, *, success: bool) -> None:
        """Write the final metrics as scalars, the last of their tags, and how the run ended.

        TensorBoard's HParams table shows the last point of each tag.
        """
        self.scalars(metrics, step)
        self._write("hparams", lambda: event_records.session_end(success, time.time()))

    def flush(self) -> None:
        """Write the events that are still being collected."""
        self._file.flush()

    def close(self) -> None:
        """Write what is not written yet, or tell that it is lost."""
        self._file.close()

    def _write(self, what: str, build: Callable[[], Summary], step: int = 0) -> None:
        with self._spared(what):
            self._file.append(event_records.event(build(), step, time.time()))

    @contextlib.contextmanager
    def _spared(self, what: str) -> Iterator[None]:
        """Tell an error inside once, and let the run go on."""
        try:
            yield
        except Exception as error:
            if what not in self._told:
                self._told.add(what)
                reason = (str(error) or type(error).__name__).splitlines()[0]
                log.warning("TensorBoard goes without %s: %s", what, reason)


# --------------------------------------------------------------------------------------------------
# What TensorBoard shows of a run.
# --------------------------------------------------------------------------------------------------

# Options that say where files lie or how a run is computed, not what is compared.
_NO_HPARAMS = ("name", "root", "path", "test_path", "download", "device", "threads",
               "checkpoint_seconds", "histograms", "pictures", "require_train_loss")  # fmt: skip


class Board:
    """Writes a run's curves, texts and pictures to its event file; no call raises.

    See :class:`~nnexp.runs.tensorboard.EventWriter`.
    """

    def __init__(
        self,
        folder: Path,
        arm: str,
        config: Mapping[str, Any],
        dataset: Dataset,
        network: Network,
    ) -> None:
        self._dataset = dataset
        self._network = network
        self._writer = EventWriter(folder)
        table = hparams(config, dataset)
        self._writer.start(table, _trial(arm, table, dataset))
        self._writer.text("config", f"```json\n{to_readable_json(config).decode()}\n```")
        if not network.by_torch or _can_be_traced(network):
            self._writer.graph(lambda: _graph(network))
        self._writer.flush()  # what is known of a run before its first epoch, however long that is
        self._started = time.time()
        self._step = 0

    def epoch(self, record: Mapping[str, float | None]) -> None:
        """Add a line of ``metrics.jsonl`` to the curves."""
        self._step = int(record["step"] or 0)
        self._writer.epochs([record], self._started)

    def histograms(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Show how the weights and the last batch's gradients are distributed."""
        for kind, tensors in (("weights", weights), ("gradients", gradients)):
            for name, values in tensors.items():
                self._writer.histogram(f"{kind}/{name}", values, self._step)

    def end(self, result: RunResult) -> None:
        """Add the final metrics of the network and of its baselines.

        Those on the test set only where ``report.test_metrics`` asks for them: TensorBoard's
        HParams table sorts all runs by any scalar there is, and to select by one of these is to
        report a number that is too good. A text has them, for whoever looks at one run.

        The table shows the first five tags until one chooses others. So the baselines' tags come
        late in the alphabet.
        """
        splits = ("val", "test") if _shows_test(result) else ("val",)
        metrics = {
            _tag(key, result): value
            for key, value in result.metrics.items()
            if "test" in splits or not key.startswith("test/")
        }
        baselines = {
            f"vs/{name}/{key.replace('/', '_')}": baseline.get(key)
            for name, baseline in result.baselines.items()
            for key in metric_keys((TASKS[result.task].key, *result.further), *splits)
        }
        self._writer.text("test", _test_table(result))
        self._writer.scalars(baselines, 0)  # from here to the end: a line to compare curves with
        success = result.status == "completed"
        self._writer.end(metrics | baselines, self._step, success=success)

    def pictures(self, predicted: Tensor, params: Tensor, stats: Tensor) -> None:
        """Draw the confusion matrix of the test rows and, of 2-D data, the decision boundary.

        Args:
            predicted: classes of the test rows [N].
            params, stats: the network's flat rows [P] and [S].
        """
        from nnexp.runs.confusion_matrix import confusion_matrix_png
        from nnexp.runs.decision_boundary import (
            decision_boundary_picture,  # matplotlib takes its time
        )

        dataset = self._dataset
        truth = dataset.y[dataset.test]

        def matrix() -> bytes:
            size = dataset.num_classes
            pairs = truth * size + predicted.cpu()
            counts = torch.bincount(pairs, minlength=size * size).view(size, size)
            title = f"{dataset.name}: {dataset.num_test} test rows"
            return confusion_matrix_png(counts, dataset.class_names, title)

        def boundary() -> NDArray[np.uint8]:
            tensors = self._network.tensors(params, stats)
            module = self._network.as_module(tensors).eval()

            @torch.no_grad()
            def predict(points: Tensor) -> Tensor:
                parts = torch.split(points, 1024)  # whose activations stay in cache
                return torch.cat([module(part).softmax(1) for part in parts])

            rows = dataset.train
            assert isinstance(rows, Tensor)  # of two features none is computed
            return decision_boundary_picture(
                predict, dataset.x[rows], dataset.y[rows], dataset.class_names,
                f"{dataset.name}: training rows and decision boundary", dataset.feature_names,
            )  # fmt: skip

        self._writer.image("test/confusion_matrix", matrix, self._step)
        if dataset.num_features == 2:
            self._writer.image("decision_boundary", boundary, self._step)

    def flush(self) -> None:
        """Write what is still being collected: at the end of training, say."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is not written yet."""
        self._writer.close()


@functools.lru_cache(maxsize=64)
def _graph(network: Network) -> bytes:
    """The serialised GraphDef of a network: traced once for all runs that share it."""
    example = torch.zeros(1, network.num_features)
    return bytes(layer_graph(network.as_module(), example).SerializeToString())


@functools.lru_cache(maxsize=64)
def _can_be_traced(network: Network) -> bool:
    """Any module may branch on its data, which cannot be drawn; it trains none the worse."""
    try:
        _graph(network)
    except Exception:
        return False
    return True


def _shows_test(result: RunResult) -> bool:
    return bool((result.config.get("report") or {}).get("test_metrics"))


def _test_table(result: RunResult) -> str:
    """The test metrics of the network and its baselines, as Markdown."""
    keys = [key for key in result.metrics if key.startswith("test/")]
    learners = {"network": result.metrics, **result.baselines}
    rows = [["model", *(key.removeprefix("test/") for key in keys)], ["---"] * (1 + len(keys))]
    for name, values in learners.items():
        known = [values.get(key) for key in keys]
        rows.append([name, *("" if value is None else f"{value:.4f}" for value in known)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _tag(key: str, result: RunResult) -> str:
    """``test/acc``, ``best/val_acc``; further metrics keep their key, else they would come before
    ``test/acc``."""
    is_kept = key.startswith("test/") or key in metric_keys(result.further)
    return key if is_kept else f"best/{key.replace('/', '_')}"


def _trial(arm: str, table: Mapping[str, Any], dataset: Dataset) -> str:
    """What TensorBoard calls the run. It takes runs of one name for repetitions of one trial."""
    exact = repr((sorted(table.items()), dataset.fingerprint)).encode()
    digest = hashlib.sha256(exact).hexdigest()[:6]
    return f"{arm} · {dataset.name} · seed {table['seed']} · {digest}"


def hparams(
    config: Mapping[str, Any], dataset: Dataset
) -> dict[str, bool | int | float | str | None]:
    """The hyperparameters as TensorBoard's HParams table takes them: flat, lists as text."""
    values: dict[str, Any] = {"seed": config["seed"], "dataset.name": dataset.name}
    for group in ("model", "optimizer", "scheduler"):
        values[f"{group}.name"] = config[group]["name"]
    for group in ("model", "optimizer", "scheduler", "dataset", "trainer"):
        for key, value in config[group].items():
            if key not in _NO_HPARAMS and not isinstance(value, dict):
                values[f"{group}.{key}"] = str(value) if isinstance(value, list) else value
    stopping = config["trainer"]["early_stopping"]
    return values | {f"trainer.early_stopping.{key}": value for key, value in stopping.items()}
