"""What networks as estimators of scikit-learn have in common: parameters to a config, fitting,
outputs.

Axes: ``M`` rows, ``D`` features, ``C`` outputs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import yaml  # type: ignore[import-untyped]
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
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

if TYPE_CHECKING:
    from nnexp.data.targets import TargetScaling
    from nnexp.models.losses import Loss

_SEEDS = 2**31 - 1
_UNUSED_FRACTION = 1e-9  # of rows that are not drawn


class NetworkEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of ``Classifier`` and ``Regressor``, which list the parameters."""

    task: ClassVar[str]

    def _fit(
        self,
        X: NDArray[np.float64],
        y: NDArray[Any],
        class_names: tuple[str, ...],
        labels: NDArray[Any],
    ) -> TargetScaling | None:
        """Train on features [M, D] and classes, or a quantity, y [M].

        Args:
            labels: of the classes, [M], in their own type; or the quantity.

        Returns:
            The scaling of a regression's target.
        """
        prepare()
        from nnexp.api.fitting import fit_network
        from nnexp.api.run_object import History
        from nnexp.terminal import epoch_bar

        options = self.get_params(deep=False)
        folder = None if options["folder"] is None else Path(options["folder"])
        names = tuple(map(str, getattr(self, "feature_names_in_", _numbered(X.shape[1]))))
        config = self._config("" if folder is None else _written(X, labels, names, folder))
        epochs = config.trainer.epochs
        bar = epoch_bar(epochs, config.kind_of_task.key)
        fitted = fit_network(
            X,
            y,
            class_names,
            names,
            config,
            val_fraction=options["val_fraction"],
            folder=folder,
            bar=bar if options["progress"] else contextlib.nullcontext(),
        )
        if fitted.status == "diverged":
            warnings.warn(
                f"training diverged in epoch {len(fitted.history)}; the network is that of epoch "
                f"{fitted.best_epoch}. Try a smaller lr, or grad_clip",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.module_ = fitted.module
        self._shift, self._scale = fitted.shift, fitted.scale
        self.history_ = History(fitted.history)
        self.best_epoch_, self.n_iter_ = fitted.best_epoch, len(fitted.history)
        return fitted.target

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """The network's outputs [M, C] for features [M, D].

        Raises:
            NotFittedError: ``fit`` has not been called.
            ValueError: features of another number, missing or not finite.
        """
        import torch

        check_is_fitted(self)
        X = validated(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            outputs: NDArray[np.float64] = self.module_(
                torch.from_numpy((X - self._shift) * self._scale)
            ).numpy()
        return outputs

    def _loss(self) -> Loss:
        """What is minimised."""
        raise NotImplementedError

    def _config(self, path: str) -> Config:
        """The config of a run that these parameters mean, on the arrays in a file, or in memory.

        Raises:
            ConfigError: a parameter that is out of range.
        """
        options = self.get_params(deep=False)
        seed = self._seed()
        widths = np.atleast_1d(np.asarray(options["hidden"], dtype=int)).tolist()
        config = Config(
            seed=seed,
            task=self.task,
            loss=self._loss(),
            model=ModelConfig(
                name=_model_name(widths),
                hidden=widths,
                activation=options["activation"],
                dropout=float(options["dropout"]),
                norm=options["norm"],
                residual=options["residual"],
            ),
            optimizer=self._optimizer_config(),
            scheduler=self._scheduler_config(),
            dataset=ArraysConfig(
                path=path,
                task=self.task,
                scaling=options["scaling"],
                split_seed=seed,
                val_fraction=float(options["val_fraction"]) or _UNUSED_FRACTION,
                test_fraction=_UNUSED_FRACTION,
            ),
            trainer=TrainerConfig(
                epochs=options["epochs"],
                batch_size=options["batch_size"],
                label_smoothing=float(options.get("label_smoothing", 0.0)),
                grad_clip=options["grad_clip"],
                select=options["select"],
                early_stopping=EarlyStoppingConfig(
                    patience=options["patience"] if options["early_stopping"] else None
                ),
                device=options["device"],
                precision=options["precision"],
                threads=options["threads"],
            ),
            baseline=BaselinesConfig(),
        )
        config.resolve()
        check(config)
        return config

    def _optimizer_config(self) -> Optimizer:
        own = self.get_params(deep=False)
        name = own["optimizer"]
        options = dict(_file_of("optimizer", name)) | dict(own["optimizer_options"] or {})
        for option in ("lr", "weight_decay"):
            if own[option] is not None:
                options[option] = own[option]
        if "lr" in options:  # else it is that of the optimizer's field
            options["lr"] = float(options["lr"])  # YAML takes 1e-3 for text
        config: Optimizer = made("optimizer", name, options)
        return config

    def _scheduler_config(self) -> Scheduler:
        own = self.get_params(deep=False)
        options = dict(_file_of("scheduler", own["scheduler"]))
        options["warmup_epochs"] = float(own["warmup_epochs"])
        config: Scheduler = made("scheduler", own["scheduler"], options)
        return config

    def _seed(self) -> int:
        state = self.get_params(deep=False)["random_state"]
        if isinstance(state, int | np.integer):
            return int(state)
        return int(check_random_state(state).randint(_SEEDS))


def _model_name(hidden: Sequence[int]) -> str:
    return {0: "linear", 1: "shallow"}.get(len(hidden), "deep")


def made(group: str, name: str, options: dict[str, Any]) -> Any:
    """The config of a component. Raises ConfigError where there is none of the name, or no such
    option."""
    schema = _schema(group, name)
    known = [field.name for field in dataclasses.fields(schema)]
    for option in options:
        if option not in known:
            raise ConfigError(
                f"{group}_options: {name} has no option {option!r}{did_you_mean(option, known)}"
            )
    return schema(**options)


def _schema(group: str, name: str) -> Any:
    if name not in SCHEMAS[group]:
        near = did_you_mean(str(name), SCHEMAS[group])
        raise ConfigError(f"{group}={name}: must be one of {', '.join(SCHEMAS[group])}{near}")
    return SCHEMAS[group][name]


@functools.cache
def _file_of(group: str, name: str) -> dict[str, Any]:
    """What ``conf/`` says of a choice. Raises ConfigError where there is no such choice."""
    _schema(group, name)
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

    arrays = Arrays(X, labels_of(y, fractions=True), Columns.of_numbers(names))
    with one_line_errors():
        return str(write_once(arrays, folder))


def validated(estimator: Any, *arrays: Any, **checks: Any) -> Any:
    """scikit-learn's own checks of X, or of X and y, which set ``n_features_in_``."""
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # scikit-learn before 1.6
        return estimator._validate_data(*arrays, **checks)
    return validate_data(estimator, *arrays, **checks)
