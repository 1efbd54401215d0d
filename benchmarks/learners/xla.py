"""JAX: whole trainings as one computation, jit(vmap(scan)) over the runs. An extra.

Everything stays on the device from the first step to the last; each run has its own key and its
own learning rate. Adam (Kingma and Ba 2015, algorithm 1) is written out.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from learners.work import LEARNING_RATE, Task, Work

os.environ.setdefault("JAX_PLATFORMS", "cpu")
import jax  # reads the line above
import jax.numpy as jnp

Params = list[tuple[Any, Any]]  # of every layer: weight [D, H] and bias [H]


def jax_runs(task: Task) -> list[float]:
    """``task.together`` runs at a time, with the threads that XLA takes."""
    train, _ = _compiled(task.work, task.data.num_train, task.together)
    x, y = _training_rows(task)
    starts = range(0, len(task.seeds), task.together)
    parts = [task.seeds[first : first + task.together] for first in starts]
    losses = [train(*_hyperparameters(part), x, y) for part in parts]
    return [float(loss) for loss in np.concatenate(losses)]


def compile_seconds(task: Task) -> float:
    """What it takes to trace and compile the task; it is then ready for ``jax_runs``."""
    return _compiled(task.work, task.data.num_train, task.together)[1]


@functools.cache
def _compiled(work: Work, num_train: int, runs: int) -> tuple[Any, float]:
    """The training of so many runs, and the seconds that compiling took."""
    train = jax.jit(jax.vmap(functools.partial(_train, work), in_axes=(0, 0, None, None)))
    x = jax.ShapeDtypeStruct((num_train, work.widths[0]), jnp.float32)
    y = jax.ShapeDtypeStruct((num_train,), jnp.int32)
    arguments = _hyperparameters(range(runs))
    began = time.perf_counter()
    compiled = train.lower(*arguments, x, y).compile()
    return compiled, time.perf_counter() - began


def _hyperparameters(seeds: Sequence[int]) -> tuple[Any, Any]:
    """Keys [R] and learning rates [R]."""
    return jax.vmap(jax.random.key)(jnp.array(list(seeds))), jnp.full(len(seeds), LEARNING_RATE)


def _training_rows(task: Task) -> tuple[Any, Any]:
    data = task.data
    return jnp.asarray(data.x[: data.num_train]), jnp.asarray(data.y[: data.num_train], jnp.int32)


def _train(work: Work, key: Any, lr: Any, x: Any, y: Any) -> Any:
    """One run: mean training loss of its last epoch."""
    key, init_key = jax.random.split(key)
    params = _initial(work, init_key)
    zeros = jax.tree.map(jnp.zeros_like, params)

    def step(state: Any, rows: Any) -> Any:
        loss, grads = jax.value_and_grad(_loss)(state[0], x[rows], y[rows])
        return _adam(state, grads, lr), loss

    def epoch(state: Any, epoch_key: Any) -> Any:
        order = jax.random.permutation(epoch_key, work.rows).reshape(-1, work.batch_size)
        state, losses = jax.lax.scan(step, state, order)
        return state, losses.mean()

    state = (params, zeros, zeros, jnp.zeros(()))
    return jax.lax.scan(epoch, state, jax.random.split(key, work.epochs))[1][-1]


def _initial(work: Work, key: Any) -> Params:
    """As torch.nn.Linear: all uniform within 1 / sqrt(inputs)."""
    layers = []
    for inputs, outputs in pairwise(work.widths):
        key, weight_key, bias_key = jax.random.split(key, 3)
        bound = inputs**-0.5
        weight = jax.random.uniform(weight_key, (inputs, outputs), minval=-bound, maxval=bound)
        bias = jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound)
        layers.append((weight, bias))
    return layers


def _loss(params: Params, x: Any, y: Any) -> Any:
    """Mean cross-entropy of a batch: x [B, D], y [B]."""
    h = x
    for weight, bias in params[:-1]:
        h = jax.nn.relu(h @ weight + bias)
    weight, bias = params[-1]
    logp = jax.nn.log_softmax(h @ weight + bias)
    return -jnp.take_along_axis(logp, y[:, None], 1).mean()


def _adam(state: Any, grads: Any, lr: Any) -> Any:
    """One update of parameters, both moments and the count of steps."""
    params, mean, square, count = state
    count = count + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grads)
    square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, grads)
    first, second = 1 - 0.9**count, 1 - 0.999**count

    def moved(p: Any, m: Any, v: Any) -> Any:
        return p - lr * (m / first) / (jnp.sqrt(v / second) + 1e-8)

    return jax.tree.map(moved, params, mean, square), mean, square, count
