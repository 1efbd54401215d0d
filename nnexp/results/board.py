"""What TensorBoard shows of a run."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnexp.data import Dataset
from nnexp.metrics import metric_keys
from nnexp.models.protocol import Network
from nnexp.results.events import EventWriter
from nnexp.results.graph import layer_graph
from nnexp.results.record import RunResult
from nnexp.results.strict_json import to_readable_json

# Options that say where files lie or how a run is computed, not what is compared.
_NO_HPARAMS = ("name", "root", "path", "test_path", "download", "device", "threads",
               "checkpoint_seconds", "histograms", "pictures", "require_train_loss")  # fmt: skip


class Board:
    """Writes a run's curves, texts and pictures to its event file; no call raises.

    See :class:`~nnexp.results.events.EventWriter`.
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

        TensorBoard's HParams table shows the first five tags until one chooses others. So the
        baselines' tags come late in the alphabet, and ``test/acc`` is among the five.
        """
        metrics = {_tag(key, result): value for key, value in result.metrics.items()}
        baselines = {
            f"vs/{name}/{split}_acc": baseline[f"{split}/acc"]
            for name, baseline in result.baselines.items()
            for split in ("val", "test")
        }
        baselines |= {
            f"vs/{name}/{key.replace('/', '_')}": baseline.get(key)
            for name, baseline in result.baselines.items()
            for key in metric_keys(result.further)
        }
        self._writer.scalars(baselines, 0)  # from here to the end: a line to compare curves with
        success = result.status == "completed"
        self._writer.end(metrics | baselines, self._step, success=success)

    def pictures(self, predicted: Tensor, params: Tensor, stats: Tensor) -> None:
        """Draw the confusion matrix of the test rows and, of 2-D data, the decision boundary.

        Args:
            predicted: classes of the test rows [N].
            params, stats: the network's flat rows [P] and [S].
        """
        from nnexp.results.boundary import decision_boundary_picture  # matplotlib takes its time
        from nnexp.results.confusion import confusion_matrix_png

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
