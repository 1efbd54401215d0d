"""One run's folder: its files while it trains, and its result as far as it is known."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nnexp.config.errors import error_line
from nnexp.config.schema import Config
from nnexp.config.selections import selection
from nnexp.data import Dataset
from nnexp.data.targets import TargetScaling
from nnexp.engine import Epoch, RunState
from nnexp.engine.objective import answers, mean_loss_and_score
from nnexp.metrics import measured, metric_keys
from nnexp.models.cross_entropy import cross_entropy
from nnexp.models.protocol import Network
from nnexp.runs.checkpoints import save_best, save_last
from nnexp.runs.folder import ForeignFileError, set_aside
from nnexp.runs.predictions import Answers, Predictions, write_predictions
from nnexp.runs.record import (
    DatasetSummary,
    MetricsLog,
    RunResult,
    epoch_keys,
    epoch_record,
    result_metrics,
    write_result,
)
from nnexp.runs.tensorboard import Board
from nnexp.scoring_rules import scores
from nnexp.tasks import REGRESSION

log = logging.getLogger(__name__)

_OF_ROWS = ("predicted", "probabilities")  # of a baseline, by test rows


class Job:
    """A run on its way to ``result.json``. Whether others train beside it is not its concern.

    ``begin``, then ``enter`` when its data are there, ``record`` for each epoch, ``test`` when the
    choices have been made, and ``end``; or ``abandon`` at any point.
    """

    def __init__(self, config: Config, folder: Path, arm: str) -> None:
        self.config = config
        self.folder = folder
        self.ended = False
        self._began = time.perf_counter()
        self.error: BaseException | None = None
        self._board: Board | None = None
        self._metrics: MetricsLog | None = None
        self._predictions: Predictions | None = None
        self._options = dataclasses.asdict(config)
        self._task = config.kind_of_task
        self.result = RunResult(
            status="failed",
            seed=config.seed,
            arm=arm,
            model=config.model.name,
            optimizer=config.optimizer.name,
            dataset=DatasetSummary(name=config.dataset.name),
            task=self._task.name,
            metrics=dict.fromkeys(
                (*result_metrics(self._task.name), *metric_keys(config.recorded_metrics))
            ),
            config=self._options,
        )

    def begin(self) -> None:
        """Make the folder ready; files of an earlier run in it move aside."""
        self._began = time.perf_counter()
        self.folder.mkdir(parents=True, exist_ok=True)
        earlier = set_aside(self.folder)
        if earlier:
            log.info("the files of an earlier run in this folder were moved to %s", earlier)

    def enter(
        self,
        dataset: Dataset,
        network: Network,
        *,
        device: str,
        threads: int,
        matmul: str,
        group_size: int,
    ) -> None:
        """Open the files of a run that is about to train."""
        self.dataset, self.network = dataset, network
        self._note(
            dataset=DatasetSummary.of(dataset),
            data_card=dataset.card.to_json() if dataset.card else None,
            num_parameters=network.parameters.num_elements,
            device=device,
            threads=threads,
            matmul=matmul,
            group_size=group_size,
        )
        log.info(
            "%s on %s: %d training, %d validation and %d test samples, %d features, %s; "
            "%d parameters; lr %g, batch %d; %s, %d thread%s",
            self.result.arm, dataset.name, dataset.num_train, dataset.num_val, dataset.num_test,
            dataset.num_features,
            f"{dataset.num_classes} classes" if dataset.num_classes else "regression",
            self.result.num_parameters,
            self.config.optimizer.lr, self.config.trainer.batch_size, device,
            threads, "s" if threads > 1 else "",
        )  # fmt: skip
        self._board = Board(self.folder, self.result.arm, self._options, dataset, network)
        rule = selection(self.config.trainer.select, self._task)
        self._selecting = rule.metric
        own = () if rule.metric is None else (f"val/{rule.metric}",)
        self._metrics = MetricsLog(self.folder, (*epoch_keys(self._task), *own))
        self._trains = self._saved = time.perf_counter()

    def record(self, epoch: Epoch, state: RunState) -> None:
        """Write down an epoch, and a checkpoint where the last one is old or training has ended."""
        assert self._board is not None
        assert self._metrics is not None
        line = epoch_record(epoch, self._task, self._selecting)
        self._metrics.append(line)
        self._board.epoch(line)
        known: dict[str, Any] = {"epochs": epoch.epoch}
        if epoch.is_best:
            best = {key: line[key] for key in result_metrics(self._task.name) if key in line}
            known |= {"best_epoch": epoch.epoch, "metrics": {**self.result.metrics, **best}}
        self._note(**known)
        now = time.perf_counter()
        if state.status != "running":
            self._note(seconds=self._seconds(train=round(epoch.seconds, 3)))
            self._judge(epoch, state)
            self._metrics.close()
            self._board.flush()  # a baseline may take its time
            problem = self.save(state)
            self._note(error=self.result.error or problem)
        elif now - self._saved > self.config.trainer.checkpoint_seconds:
            self.save(state)
            self._saved = time.perf_counter()

    def draw(self, params: Tensor, grads: Tensor) -> None:
        """Show TensorBoard the distributions of weights and last gradients, both [P]."""
        assert self._board is not None
        layout = self.network.parameters
        self._board.histograms(*(layout.views(flat[None]) for flat in (params, grads)))

    def validate(self, logits: Tensor) -> None:
        """Note further metrics of the validation rows, from logits [N, C] of the best epoch."""
        labels = self.dataset.y[self.dataset.val]
        found = self._measured("val", self._answers(logits), labels)
        self._note(metrics={**self.result.metrics, **found})

    def test(self, state: RunState, logits: Tensor, seconds: float) -> None:
        """Compare with the test rows: logits [N, C] of the best epoch, made in so many seconds."""
        assert self._board is not None
        assert state.best is not None
        rows = self.dataset.test
        labels = self.dataset.y[rows]
        self._note(seconds=self._seconds(predict=round(seconds, 6)))
        unknown = int((~logits.isfinite()).any(1).sum())
        if unknown:  # a softmax would make some class of them
            self._note(error=self.result.error or _no_predictions(unknown, len(rows)))
            return
        if self.dataset.target is not None:
            self._test_regression(logits, labels, rows, self.dataset.target)
            return
        # From logits, as the validation rows' loss: a probability of 0 has no logarithm.
        loss, _ = mean_loss_and_score(
            *cross_entropy(logits.T[None], labels.to(logits.device)[None])
        )
        probabilities = logits.float().softmax(1).cpu()
        found = scores(probabilities, labels)
        tested = {
            "test/loss": loss.item(),
            "test/acc": found.acc,
            "test/clipped_loss": found.clipped_loss,
            "test/brier": found.brier,
            **self._measured("test", probabilities.numpy(), labels),
        }
        self._note(
            metrics={**self.result.metrics, **tested},
            calibration=found.calibration,
        )
        self._predictions = Predictions(
            probabilities=probabilities.numpy(),
            labels=labels.numpy().astype(np.int32),
            rows=rows.numpy().astype(np.int32),
        )
        if self.config.trainer.pictures:
            self._board.pictures(probabilities.argmax(1), *state.best)

    def _test_regression(
        self, logits: Tensor, right: Tensor, rows: Tensor, target: TargetScaling
    ) -> None:
        """The same of a regression: outputs [N, 1] of the best epoch, and the quantity [N]."""
        predicted = self._answers(logits)
        error = float(np.sqrt(np.mean((predicted - right.numpy()) ** 2)))
        tested = {
            "test/loss": (error / target.std) ** 2,
            "test/rmse": error,
            **self._measured("test", predicted, right),
        }
        self._note(metrics={**self.result.metrics, **tested})
        self._predictions = Predictions(
            probabilities=predicted[:, np.newaxis],
            labels=right.numpy(),
            rows=rows.numpy().astype(np.int32),
        )

    def _answers(self, logits: Tensor) -> NDArray[Any]:
        """What logits [N, C] say: probabilities [N, C], or of a regression predictions [N]."""
        return answers(logits, self.dataset.target)

    def _measured(self, split: str, said: NDArray[Any], labels: Tensor) -> dict[str, float | None]:
        """Further metrics by key, of what is said of N rows and what is right."""
        words = {"val": "validation", "test": "test"}[split]
        names, of = self.config.recorded_metrics, f"the network on {words} rows"
        found = measured(names, said, labels.numpy(), of)
        return {f"{split}/{name}": value for name, value in found.items()}

    def end(self, baselines: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the predictions, if there are any, and the result.

        Args:
            baselines: by name. What one ``predicted``, classes [N] of the test rows, and its
                ``probabilities`` [N, C], where it has any, go to the predictions, the rest to the
                result.

        Raises:
            OSError: ``result.json`` cannot be written.
        """
        kind = np.float64 if self._task.name == REGRESSION else np.int32
        predicted = {
            name: np.asarray(found["predicted"], kind)
            for name, found in baselines.items()
            if found.get("predicted") is not None
        }
        probabilities = {
            name: np.asarray(found["probabilities"], np.float32)
            for name, found in baselines.items()
            if found.get("probabilities") is not None
        }
        problem = self._save_predictions(predicted, probabilities)
        self._note(
            baselines={
                name: {key: value for key, value in found.items() if key not in _OF_ROWS}
                for name, found in baselines.items()
            },
            error=self.result.error or problem,
            seconds=self._seconds(),
        )
        self._close()
        self.ended = True
        write_result(self.folder, self.result)

    def abandon(self, error: BaseException) -> None:
        """Leave a ``result.json`` that says why there is no more."""
        self.error, self.ended = error, True
        interrupted = isinstance(error, KeyboardInterrupt)
        seconds = self._seconds()
        if self._metrics is not None and seconds["train"] is None:
            seconds["train"] = round(time.perf_counter() - self._trains, 3)
        self._note(
            status="interrupted" if interrupted else "failed",
            error=error_line(error) if isinstance(error, Exception) else "interrupted",
            seconds=seconds,
        )
        self._close()
        if isinstance(error, ForeignFileError):
            return
        with contextlib.suppress(OSError):  # the error that is being raised matters more
            write_result(self.folder, self.result)

    def save(self, state: RunState, *, last: bool = True) -> str | None:
        """Write the checkpoints. If that fails the run goes on; returns what is wrong."""
        folder = self.folder / "checkpoints"
        about = (self._options, self.network, self.dataset, state)
        try:
            folder.mkdir(exist_ok=True)
            if state.best is not None:
                save_best(folder / "best.pt", *about)
            if last:
                save_last(folder / "last.pt", *about)
        except OSError as error:
            problem = f"no checkpoint: {error.filename or folder}: {error.strerror}"
            log.warning("%s", problem)
            return problem
        return None

    def _save_predictions(
        self, baselines: dict[str, Answers], probabilities: dict[str, NDArray[np.float32]]
    ) -> str | None:
        """If that fails the run is none the worse; returns what is wrong."""
        if self._predictions is None:
            return None
        try:
            whole = dataclasses.replace(
                self._predictions, baselines=baselines, baseline_probabilities=probabilities
            )
            write_predictions(self.folder, whole)
        except OSError as error:
            problem = f"no predictions: {error.filename or self.folder}: {error.strerror}"
            log.warning("%s", problem)
            return problem
        finally:
            self._predictions = None  # a group has many
        return None

    def _judge(self, epoch: Epoch, state: RunState) -> None:
        """Whether the run has become what it was to become."""
        self._note(status=state.status)
        required = self.config.trainer.require_train_loss
        if state.status == "diverged" and required is None:
            self._note(error=_divergence(epoch))
        elif state.status == "diverged":  # a result of a sweep, but not where learning is required
            error = f"trainer.require_train_loss={required}: {_divergence(epoch)}"
            self._note(status="failed", error=error)
        elif required is not None and epoch.train_loss > required:
            self._note(
                status="failed",
                error=f"trainer.require_train_loss={required}: the training loss ended at "
                f"{epoch.train_loss:.4g} after {epoch.epoch} epochs",
            )
        elif required is not None:
            log.info(
                "the training loss reached %.4g in epoch %d, below trainer.require_train_loss=%g",
                epoch.train_loss, epoch.epoch, required,
            )  # fmt: skip

    def _close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
        if self._board is not None:
            self._board.end(self.result)
            self._board.close()
            self._board = None

    def _note(self, **fields: Any) -> None:
        self.result = dataclasses.replace(self.result, **fields)

    def _seconds(self, **more: float) -> dict[str, float | None]:
        total = time.perf_counter() - self._began
        return {**self.result.seconds, "total": round(total, 3), **more}


def _no_predictions(unknown: int, total: int) -> str:
    return (
        f"no predictions: the network's outputs for {unknown} of {total} test samples are not "
        "finite; their features are far from those of the training samples (dataset.scaling?)"
    )


def _divergence(epoch: Epoch) -> str:
    key, value = "train/loss", epoch.train_loss
    if math.isfinite(value) and epoch.val_loss is not None:
        key, value = "val/loss", epoch.val_loss
    if math.isfinite(value):  # without validation rows nothing tells of the weights' outputs
        key, value = "the network's output", math.nan
    return f"training diverged in epoch {epoch.epoch}: {key} is {value} at lr={epoch.lr:g}"
