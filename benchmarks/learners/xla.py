"""JAX: whole trainings as one computation, jit(vmap(scan)) over the runs. An extra.

Everything stays on the device from the first step to the last; each run has its own key and its
own learning rate. Adam (Kingma and Ba 2015, algorithm 1) is written out. Where JAX computes is up
to whoever imports this (JAX_PLATFORMS).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from learners.work import LEARNING_RATE, Task, Work

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

    def epoch(state: Any, epoch_key: Any) -> Any:
        return train_epoch(work, state, epoch_key, lr, x, y)

    keys = jax.random.split(key, work.epochs)
    return jax.lax.scan(epoch, initial_state(work, init_key), keys)[1][-1]


def initial_state(work: Work, key: Any) -> Any:
    """Parameters as torch.nn.Linear draws them, both moments, the count of steps."""
    params = _initial(work, key)
    zeros = jax.tree.map(jnp.zeros_like, params)
    return params, zeros, zeros, jnp.zeros(())


def train_epoch(work: Work, state: Any, key: Any, lr: Any, x: Any, y: Any) -> Any:
    """One run: its state after an epoch, and the mean training loss."""
    order_key, dropout_key = jax.random.split(key)
    order = jax.random.permutation(order_key, work.rows).reshape(-1, work.batch_size)

    def step(state: Any, batch: Any) -> Any:
        rows, step_key = batch
        loss, grads = jax.value_and_grad(_loss, 1)(work, state[0], x[rows], y[rows], step_key)
        return _adam(state, grads, lr), loss

    keys = jax.random.split(dropout_key, len(order))
    state, losses = jax.lax.scan(step, state, (order, keys))
    return state, losses.mean()


def accuracy(work: Work, state: Any, x: Any, y: Any) -> Any:
    """One run's, on rows x [N, D], y [N]."""
    return (_logits(work, state[0], x, None).argmax(-1) == y).mean()


def _initial(work: Work, key: Any) -> Params:
    """All uniform within 1 / sqrt(inputs)."""
    layers = []
    for inputs, outputs in pairwise(work.widths):
        key, weight_key, bias_key = jax.random.split(key, 3)
        bound = inputs**-0.5
        weight = jax.random.uniform(weight_key, (inputs, outputs), minval=-bound, maxval=bound)
        bias = jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound)
        layers.append((weight, bias))
    return layers


def _logits(work: Work, params: Params, x: Any, key: Any) -> Any:
    """[B, C], float32, of x [B, D]; without a key nothing is dropped out."""
    dtype = jnp.dtype(work.precision)
    params = jax.tree.map(lambda p: p.astype(dtype), params)
    h = x.astype(dtype)
    for weight, bias in params[:-1]:
        h = jax.nn.relu(h @ weight + bias)
        if work.dropout and key is not None:
            key, mask_key = jax.random.split(key)
            kept = jax.random.bernoulli(mask_key, 1 - work.dropout, h.shape)
            h = jnp.where(kept, h / (1 - work.dropout), jnp.zeros((), dtype))
    weight, bias = params[-1]
    return (h @ weight + bias).astype(jnp.float32)


def _loss(work: Work, params: Params, x: Any, y: Any, key: Any) -> Any:
    """Mean cross-entropy of a batch: x [B, D], y [B]."""
    logp = jax.nn.log_softmax(_logits(work, params, x, key))
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
