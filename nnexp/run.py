"""One run from its config to its files: load, train, compare, write."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from pathlib import Path
from typing import Any

from nnexp.baselines.compare import Baselines
from nnexp.config.messages import told
from nnexp.config.schema import Config
from nnexp.data import Dataset, load
from nnexp.devices import device_name, resolve_device, resolve_precision, resolve_threads
from nnexp.engine import Epoch, Group, Run
from nnexp.errors import DivergedError, NnexpError
from nnexp.models.loss import cross_entropy
from nnexp.models.structure import Structure, parameter_layout
from nnexp.results.board import Board
from nnexp.results.record import (
    RESULT_METRICS,
    DatasetSummary,
    MetricsLog,
    RunResult,
    set_aside,
    write_result,
)
from nnexp.terminal import EpochBar, epoch_bar, print_result
from nnexp.trained import save_best, save_last

log = logging.getLogger(__name__)

_SPLITS = ("train", "val", "test")


def run(config: Config, folder: Path, arm: str) -> RunResult:
    """Train one network, compare it with its baselines, and leave a run's files in ``folder``.

    Raises:
        NnexpError: bad input, a diverged run, a training loss that stays above
            ``require_train_loss``, or checkpoints that cannot be written. Whatever is raised,
            ``result.json`` says so.
        OSError: ``result.json`` cannot be written.
    """
    job = _Job(config, folder, arm)
    try:
        job.do()
    except BaseException as error:
        job.abandon(error)
        raise
    try:
        write_result(folder, job.result)
    finally:
        print_result(job.result, folder)
    if job.result.status == "diverged":
        raise DivergedError(job.result.error)
    if job.result.error is not None:
        raise NnexpError(job.result.error)
    return job.result


def structure_of(config: Config, dataset: Dataset) -> Structure:
    """The network that a config means for a data set."""
    model = config.model
    return Structure(
        dataset.num_features,
        tuple(model.hidden),
        dataset.num_classes,
        activation=model.activation,
        norm=model.norm,
        residual=model.residual,
        bias=model.bias,
    )


class _Job:
    """The steps of one run, and its result as far as it is known."""

    def __init__(self, config: Config, folder: Path, arm: str) -> None:
        self._began = time.perf_counter()
        self._config = config
        self._folder = folder
        self.result = RunResult(
            status="failed",
            seed=config.seed,
            arm=arm,
            model=config.model.name,
            optimizer=config.optimizer.name,
            dataset=DatasetSummary(name=config.dataset.name),
        )

    def do(self) -> None:
        """Load, train, compare; all that is left is to write the result."""
        self._folder.mkdir(parents=True, exist_ok=True)
        earlier = set_aside(self._folder)
        if earlier:
            log.info("the files of an earlier run in this folder were moved to %s", earlier)
        group = self._load()
        board = Board(self._folder, self._config, self._dataset, self._structure)
        try:
            self._train(group, board)
            problem = self._save(group)
            self._note(error=self.result.error or problem)
            self._baselines.choose()
            self._test(group, board)
            self._note(seconds=self._seconds())
        except BaseException:
            self._note(status="failed")  # also where training itself was completed
            raise
        finally:
            board.end(self.result)
            board.close()

    def abandon(self, error: BaseException) -> None:
        """Leave a ``result.json`` that says why there is no more."""
        told_error = told(error) if isinstance(error, Exception) else "interrupted"
        interrupted = isinstance(error, KeyboardInterrupt)
        self._note(
            status="interrupted" if interrupted else "failed",
            error=told_error,
            seconds=self._seconds(),
        )
        with contextlib.suppress(OSError):  # the error that is being raised matters more
            write_result(self._folder, self.result)

    def _note(self, **fields: Any) -> None:
        self.result = dataclasses.replace(self.result, **fields)

    def _seconds(self, **more: float) -> dict[str, float | None]:
        total = time.perf_counter() - self._began
        return {**self.result.seconds, "total": round(total, 3), **more}

    def _load(self) -> Group:
        config = self._config
        device = resolve_device(config.trainer.device)
        dtype = resolve_precision(config.trainer.precision, device)
        self._dataset = dataset = load(config.dataset)
        self._structure = structure = structure_of(config, dataset)
        num_threads = resolve_threads(config.trainer, structure.flops_per_row())
        num_parameters = parameter_layout(structure).num_numbers
        summary = {f.name: getattr(dataset, f.name) for f in dataclasses.fields(DatasetSummary)}
        self._note(
            dataset=DatasetSummary(**summary),
            num_parameters=num_parameters,
            device=device_name(device),
            threads=num_threads,
        )
        self._rows = {name: getattr(dataset, name).to(device) for name in _SPLITS}
        x, self._y = dataset.x.to(device), dataset.y.to(device)
        self._baselines = Baselines(config.baseline, x, self._y, self._rows, dataset.num_classes)
        group = Group(
            [Run(config, self._rows["train"], self._rows["val"])],
            x,
            self._y,
            structure,
            dtype=dtype,
            num_threads=num_threads,
        )
        log.info(
            "%s on %s: %d rows to train, %d to validate, %d to test, %d features, %d classes; "
            "%d parameters; %s, %d thread%s",
            self.result.arm, dataset.name, dataset.num_train, dataset.num_val, dataset.num_test,
            dataset.num_features, dataset.num_classes, num_parameters, device, num_threads,
            "s" if num_threads > 1 else "",
        )  # fmt: skip
        return group

    def _train(self, group: Group, board: Board) -> None:
        trainer, state = self._config.trainer, group.states[0]
        began = saved = time.perf_counter()
        epoch = None
        try:
            with (
                contextlib.closing(MetricsLog(self._folder)) as metrics,
                epoch_bar(trainer.epochs) as bar,
            ):
                for (epoch,) in group.train():
                    self._record(epoch, group, metrics, board, bar)
                    if time.perf_counter() - saved > trainer.checkpoint_seconds:
                        self._save(group)
                        saved = time.perf_counter()
        except KeyboardInterrupt:
            self._save(group, last=False)  # the last weights are those of half an epoch
            raise
        finally:
            self._note(seconds=self._seconds(train=round(time.perf_counter() - began, 3)))
        assert epoch is not None
        self._note(status=state.status)
        required = trainer.require_train_loss
        if state.status == "diverged":
            self._note(error=_divergence(epoch))
        elif required is not None and epoch.train_loss > required:
            self._note(
                status="failed",
                error=f"trainer.require_train_loss={required}: the training loss ended at "
                f"{epoch.train_loss:.4g} after {epoch.epoch} epochs",
            )
        elif required is not None:
            log.info(
                "the training loss is down to %.4g in epoch %d, as trainer.require_train_loss=%g "
                "wants it", epoch.train_loss, epoch.epoch, required,
            )  # fmt: skip

    def _record(
        self, epoch: Epoch, group: Group, metrics: MetricsLog, board: Board, bar: EpochBar
    ) -> None:
        line = {
            "epoch": epoch.epoch,
            "step": epoch.step,
            "train/loss": epoch.train_loss,
            "train/acc": epoch.train_acc,
            "val/loss": epoch.val_loss,
            "val/acc": epoch.val_acc,
            "lr": epoch.lr,
            "seconds": round(epoch.seconds, 4),
        }
        metrics.append(line)
        board.epoch(line)
        bar.update(epoch)
        self._note(epochs=epoch.epoch)
        if epoch.is_best:
            best = {key: line[key] for key in RESULT_METRICS if key in line}
            self._note(best_epoch=epoch.epoch, metrics={**self.result.metrics, **best})
        if self._config.trainer.histograms and epoch.val_loss is not None:
            layout = parameter_layout(self._structure)
            flats = (group.states[0].params[None], group.grads)
            board.histograms(*(layout.views(flat) for flat in flats))

    def _test(self, group: Group, board: Board) -> None:
        """Read the test rows, once: every choice has been made."""
        best = group.states[0].best
        if best is not None:
            test = self._rows["test"]
            logits = group.predict(0, test)
            losses, rights = cross_entropy(logits.T[None], self._y[test][None])
            tested = {
                "test/loss": float(losses.double().mean()),
                "test/acc": float(rights.double().mean()),
            }
            self._note(metrics={**self.result.metrics, **tested})
            if self._config.trainer.pictures:
                board.pictures(logits.argmax(1), *best)
        self._note(baselines=self._baselines.test())

    def _save(self, group: Group, *, last: bool = True) -> str | None:
        """Write the checkpoints. If that fails the run goes on; returns what is wrong."""
        folder = self._folder / "checkpoints"
        about = (self._config, self._structure, self._dataset, group.states[0])
        try:
            folder.mkdir(exist_ok=True)
            if group.states[0].best is not None:
                save_best(folder / "best.pt", *about)
            if last:
                save_last(folder / "last.pt", *about)
        except OSError as error:
            problem = f"no checkpoint: {error.filename or folder}: {error.strerror}"
            log.warning("%s", problem)
            return problem
        return None


def _divergence(epoch: Epoch) -> str:
    key, value = "train/loss", epoch.train_loss
    if math.isfinite(value) and epoch.val_loss is not None:
        key, value = "val/loss", epoch.val_loss
    return f"training diverged in epoch {epoch.epoch}: {key} is {value} at lr={epoch.lr:g}"
