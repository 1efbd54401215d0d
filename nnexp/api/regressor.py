"""A network as a scikit-learn regressor, trained by the engine that trains runs.

Axes: ``M`` rows, ``D`` features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin

from nnexp.api.estimator import NetworkEstimator, made, validated
from nnexp.models.losses import Loss
from nnexp.tasks import REGRESSION


class Regressor(RegressorMixin, NetworkEstimator):  # type: ignore[misc]
    """A multilayer perceptron that predicts a quantity, with scikit-learn's interface.

    Features are scaled and the target standardised, rows to validate on are set apart, and the
    network is that of the epoch that ``select`` chooses by them. Where that would be fewer than
    four rows, all rows are trained on, to the last epoch. The same ``random_state`` gives the same
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
        loss: squared_error, absolute_error, huber or quantile, of the standardised target.
        loss_options: of the loss, such as ``{"q": 0.9}`` of quantile.
        grad_clip: largest L2 norm of the gradient; None: any.
        early_stopping: end when the validation loss has not improved for ``patience`` epochs,
            whatever ``select`` says.
        patience: see there.
        select: the epoch that is kept: rmse (of lowest validation RMSE), another metric, loss (of
            lowest squared error) or last; of equal epochs the last.
        val_fraction: share of the rows to validate on; 0: none, and the last epoch's network.
        scaling: standard, minmax or none, fitted on the training rows.
        random_state: an int, a RandomState, or None for a new seed at every fit.
        device: auto, cpu, cuda or cuda:N.
        precision: float32, tf32 or bfloat16, of matrix products.
        threads: of the CPU; None: one, or all for large networks where the bits stay the same.
        folder: gets the files of a run at every fit, ``nnexp.load`` reads them; None: no files.
        progress: show a bar over the epochs, on standard error or in a notebook.

    Attributes:
        n_features_in_, feature_names_in_: of the data fitted on.
        history_: a record an epoch, as lines of ``metrics.jsonl``; see ``nnexp.History``.
        best_epoch_: the epoch that the network is of.
        n_iter_: epochs trained.
        module_: the network as a ``torch.nn.Module``, for scaled features, in float64.
    """

    task = REGRESSION

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
        loss: str = "squared_error",
        loss_options: dict[str, Any] | None = None,
        grad_clip: float | None = None,
        early_stopping: bool = False,
        patience: int = 10,
        select: str = "rmse",
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
        self.loss = loss
        self.loss_options = loss_options
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
        """Train on features [M, D] and a quantity [M].

        Raises:
            ValueError: data that scikit-learn's regressors do not take either.
            DataError: all rows that are trained on have one value.
            ConfigError: a parameter that is out of range.
            NnexpError: what does not fit this machine, or files that cannot be written.
        """
        X, y = validated(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        y = y.astype(np.float64)
        self._target = self._fit(X, y, (), y)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the quantity [M] of each row of features [M, D].

        Raises:
            NotFittedError: ``fit`` has not been called.
            ValueError: features of another number, missing or not finite.
        """
        outputs = self._outputs(X)
        assert self._target is not None
        return self._target.restored(outputs[:, 0])

    def _loss(self) -> Loss:
        chosen: Loss = made("loss", self.loss, {"name": self.loss, **(self.loss_options or {})})
        return chosen
