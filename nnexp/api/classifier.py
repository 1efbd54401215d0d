"""A network as a scikit-learn classifier, trained by the engine that trains runs.

Axes: ``M`` rows, ``D`` features, ``C`` classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml  # type: ignore[import-untyped]
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from nnexp.config.compose import CONF
from nnexp.config.fields import check
from nnexp.config.schema import (
    SCHEMAS,
    ArraysConfig,
    BaselinesConfig,
    Config,
    EarlyStoppingConfig,
    ModelConfig,
    Optimizer,
    Scheduler,
    TrainerConfig,
)
from nnexp.environment import prepare
from nnexp.errors import ConfigError, did_you_mean

_SEEDS = 2**31 - 1
_UNUSED_FRACTION = 1e-9  # of rows that are not drawn


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A multilayer perceptron with scikit-learn's interface.

    Features are scaled, rows to validate on are set apart, stratified, and the network is that of
    the epoch that ``select`` chooses by them. Where that would be fewer than two rows a class on
    average, all rows are trained on, to the last epoch. The same ``random_state`` gives the same
    network.

    Args:
        hidden: widths of the hidden layers, or one width; () is a linear model.
        activation: step, sigmoid, tanh, relu, leaky_relu, elu, selu, gelu or silu.
        optimizer: sgd, adagrad, adam, adamw or rmsprop.
        lr: learning rate; None: as ``conf/optimizer/`` has it for the optimizer.
        epochs: passes over the training rows.
        batch_size: rows a step.
        dropout: rate after every hidden layer.
        norm: none, batch or layer, in every hidden layer.
        residual: add a hidden layer's input to its output where widths are equal.
        weight_decay: of the optimizer; None: its own, 0 but for adamw.
        optimizer_options: other options of the optimizer, such as ``{"momentum": 0.9}``.
        scheduler: constant, cosine, step or exponential.
        warmup_epochs: epochs in which the learning rate rises linearly.
        label_smoothing: share of the probability that goes to all classes alike.
        grad_clip: largest L2 norm of the gradient; None: any.
        early_stopping: end when the validation loss has not improved for ``patience`` epochs,
            whatever ``select`` says.
        patience: see there.
        select: the epoch that is kept: accuracy (of highest validation accuracy), loss (of lowest
            validation loss) or last; of equal epochs the last.
        val_fraction: share of the rows to validate on; 0: none, and the last epoch's network.
        scaling: standard, minmax or none, fitted on the training rows.
        random_state: an int, a RandomState, or None for a new seed at every fit.
        device: auto, cpu, cuda or cuda:N.
        precision: float32, tf32 or bfloat16, of matrix products.
        threads: of the CPU; None: one, or all for large networks where the bits stay the same.
        folder: gets the files of a run at every fit, ``nnexp.load`` reads them; None: no files.
        progress: show a bar over the epochs, on standard error or in a notebook.

    Attributes:
        classes_: [C], sorted.
        n_features_in_, feature_names_in_: of the data fitted on.
        history_: a record an epoch, as lines of ``metrics.jsonl``; see ``nnexp.History``.
        best_epoch_: the epoch that the network is of.
        n_iter_: epochs trained.
        module_: the network as a ``torch.nn.Module``, for scaled features, in float64.
    """

    def __init__(
        self,
        hidden: Sequence[int] | int = (128,),
        activation: str = "relu",
        optimizer: str = "adam",
        *,
        lr: float | None = None,
        epochs: int = 50,
        batch_size: int = 32,
        dropout: float = 0.0,
        norm: str = "none",
        residual: bool = False,
        weight_decay: float | None = None,
        optimizer_options: dict[str, Any] | None = None,
        scheduler: str = "constant",
        warmup_epochs: float = 0.0,
        label_smoothing: float = 0.0,
        grad_clip: float | None = None,
        early_stopping: bool = False,
        patience: int = 10,
        select: str = "accuracy",
        val_fraction: float = 0.15,
        scaling: str = "standard",
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
        precision: str = "float32",
        threads: int | None = None,
        folder: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.dropout = dropout
        self.norm = norm
        self.residual = residual
        self.weight_decay = weight_decay
        self.optimizer_options = optimizer_options
        self.scheduler = scheduler
        self.warmup_epochs = warmup_epochs
        self.label_smoothing = label_smoothing
        self.grad_clip = grad_clip
        self.early_stopping = early_stopping
        self.patience = patience
        self.select = select
        self.val_fraction = val_fraction
        self.scaling = scaling
        self.random_state = random_state
        self.device = device
        self.precision = precision
        self.threads = threads
        self.folder = folder
        self.progress = progress

    def fit(self, X: Any, y: Any) -> Self:
        """Train on features [M, D] and labels [M].

        Raises:
            ValueError: data that scikit-learn's classifiers do not take either, or one class only.
            ConfigError: a parameter that is out of range.
            NnexpError: what does not fit this machine, or files that cannot be written.
        """
        prepare()
        from nnexp.api.fitting import fit_network
        from nnexp.api.run_object import History
        from nnexp.terminal import epoch_bar

        X, y = _validated(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class only, {self.classes_.tolist()[0]!r}: nothing to learn"
            )
        folder = None if self.folder is None else Path(self.folder)
        names = tuple(map(str, getattr(self, "feature_names_in_", _numbered(X.shape[1]))))
        classes = tuple(str(label) for label in self.classes_.tolist())
        config = self._config("" if folder is None else _written(X, y, names, folder))
        fitted = fit_network(
            X,
            codes.astype(np.int64),
            classes,
            names,
            config,
            val_fraction=self.val_fraction,
            folder=folder,
            bar=epoch_bar(self.epochs) if self.progress else contextlib.nullcontext(),
        )
        if fitted.status == "diverged":
            warnings.warn(
                f"training diverged in epoch {len(fitted.history)}; the network is that of epoch "
                f"{fitted.best_epoch}. Try a smaller lr, or grad_clip",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.module_ = fitted.module
        self._shift, self._scale = fitted.shift, fitted.scale
        self.history_ = History(fitted.history)
        self.best_epoch_, self.n_iter_ = fitted.best_epoch, len(fitted.history)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities [M, C] of the classes for features [M, D].

        Raises:
            NotFittedError: ``fit`` has not been called.
            ValueError: features of another number, missing or not finite.
        """
        import torch

        check_is_fitted(self)
        X = _validated(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            logits = self.module_(torch.from_numpy((X - self._shift) * self._scale))
            probabilities: NDArray[np.float64] = logits.softmax(1).numpy()
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class [M] of each row. Takes and raises what ``predict_proba``
        does."""
        chosen = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[chosen])

    def _config(self, path: str) -> Config:
        """The config of a run that these parameters mean, on the arrays in a file, or in memory.

        Raises:
            ConfigError: a parameter that is out of range.
        """
        seed = self._seed()
        widths = np.atleast_1d(np.asarray(self.hidden, dtype=int)).tolist()
        config = Config(
            seed=seed,
            model=ModelConfig(
                name=_model_name(widths),
                hidden=widths,
                activation=self.activation,
                dropout=float(self.dropout),
                norm=self.norm,
                residual=self.residual,
            ),
            optimizer=self._optimizer_config(),
            scheduler=self._scheduler_config(),
            dataset=ArraysConfig(
                path=path,
                scaling=self.scaling,
                split_seed=seed,
                val_fraction=float(self.val_fraction) or _UNUSED_FRACTION,
                test_fraction=_UNUSED_FRACTION,
            ),
            trainer=TrainerConfig(
                epochs=self.epochs,
                batch_size=self.batch_size,
                label_smoothing=float(self.label_smoothing),
                grad_clip=self.grad_clip,
                select=self.select,
                early_stopping=EarlyStoppingConfig(
                    patience=self.patience if self.early_stopping else None
                ),
                device=self.device,
                precision=self.precision,
                threads=self.threads,
            ),
            baseline=BaselinesConfig(),
        )
        check(config)
        return config

    def _optimizer_config(self) -> Optimizer:
        options = dict(_file_of("optimizer", self.optimizer)) | dict(self.optimizer_options or {})
        if self.lr is not None:
            options["lr"] = self.lr
        if self.weight_decay is not None:
            options["weight_decay"] = self.weight_decay
        if "lr" in options:  # else it is that of the optimizer's field
            options["lr"] = float(options["lr"])  # YAML takes 1e-3 for text
        config: Optimizer = _made("optimizer", self.optimizer, options)
        return config

    def _scheduler_config(self) -> Scheduler:
        options = dict(_file_of("scheduler", self.scheduler))
        options["warmup_epochs"] = float(self.warmup_epochs)
        config: Scheduler = _made("scheduler", self.scheduler, options)
        return config

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(_SEEDS))


def _model_name(hidden: Sequence[int]) -> str:
    return {0: "linear", 1: "shallow"}.get(len(hidden), "deep")


def _made(group: str, name: str, options: dict[str, Any]) -> Any:
    """The config of a component."""
    schema = SCHEMAS[group][name]
    known = [field.name for field in dataclasses.fields(schema)]
    for option in options:
        if option not in known:
            raise ConfigError(
                f"{group}_options: {name} has no option {option!r}{did_you_mean(option, known)}"
            )
    return schema(**options)


@functools.cache
def _file_of(group: str, name: str) -> dict[str, Any]:
    """What ``conf/`` says of a choice. Raises ConfigError where there is no such choice."""
    if name not in SCHEMAS[group]:
        near = did_you_mean(str(name), SCHEMAS[group])
        raise ConfigError(f"{group}={name}: must be one of {', '.join(SCHEMAS[group])}{near}")
    path = CONF / group / f"{name}.yaml"
    if not path.exists():  # of another package, whose defaults stand with its fields
        return {"name": name}
    fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {key: value for key, value in fields.items() if key != "defaults"}


def _numbered(width: int) -> list[str]:
    return [f"x{i}" for i in range(width)]


def _written(X: NDArray[np.float64], y: NDArray[Any], names: tuple[str, ...], folder: Path) -> str:
    """The file of the data in a folder, from which ``nnexp.load`` knows the classes."""
    from nnexp.api.errors import one_line_errors
    from nnexp.api.user_data import write_once
    from nnexp.data.sources.arrays import Arrays
    from nnexp.data.sources.frames import Columns, labels_of

    arrays = Arrays(X, labels_of(y), Columns.of_numbers(names))
    with one_line_errors():
        return str(write_once(arrays, folder))


def _validated(estimator: Any, *arrays: Any, **checks: Any) -> Any:
    """scikit-learn's own checks of X, or of X and y, which set ``n_features_in_``."""
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn before 1.6
        return estimator._validate_data(*arrays, **checks)
    return validate_data(estimator, *arrays, **checks)
