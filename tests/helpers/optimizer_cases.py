"""The optimizers that every way to update is tested with."""

from __future__ import annotations

from engine_cases import adagrad, adam, adamw, rmsprop, sgd

from nnexp.config.schema import Optimizer

PLAIN: list[Optimizer] = [
    sgd(0.1),
    sgd(0.1, momentum=0.9),
    sgd(0.1, momentum=0.9, dampening=0.4),
    sgd(0.1, momentum=0.9, dampening=-0.5),
    sgd(0.1, momentum=0.8, nesterov=True),
    adagrad(0.1),
    adagrad(0.1, lr_decay=0.05),
    adagrad(0.1, initial_accumulator_value=0.3),
    adagrad(0.1, lr_decay=0.05, initial_accumulator_value=0.3, eps=1e-2),
    adam(0.01),
    adam(0.01, betas=[0.5, 0.9]),
    adam(0.01, betas=[0.0, 0.99]),
    adam(0.01, eps=1e-2),
    adam(0.01, amsgrad=True),
    adamw(0.01, weight_decay=0.0),
    adamw(0.01, betas=[0.8, 0.95], eps=1e-3),
    adamw(0.01, amsgrad=True),
    rmsprop(0.01),
    rmsprop(0.01, alpha=0.5),
    rmsprop(0.01, eps=1e-2),
    rmsprop(0.01, momentum=0.9),
    rmsprop(0.01, centered=True),
    rmsprop(0.01, alpha=0.9, eps=1e-3, momentum=0.5, centered=True),
]
DECAYED = [type(config)(**{**vars(config), "weight_decay": 0.1}) for config in PLAIN]
CONFIGS = PLAIN + DECAYED


def name_of(config: Optimizer) -> str:
    defaults = type(config)(name=config.name, lr=config.lr)
    said = {k: v for k, v in vars(config).items() if v != vars(defaults)[k]}
    return "-".join([config.name, *(f"{k}={v}" for k, v in said.items())])
