"""JAX, an epoch at a time: jit(vmap(scan)) over the runs and over the steps of an epoch. An extra.

Import it after JAX_PLATFORMS has been set.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from learners.epochs import Progress
from learners.work import LEARNING_RATE, Data, Work
from learners.xla import accuracy, initial_state, train_epoch


def absence(platform: str, index: int) -> str | None:
    """Why JAX cannot compute on ``cpu`` or ``cuda`` here; None where it can, and then it does so
    on the device of that number."""
    try:
        found = jax.default_backend()
    except RuntimeError as error:
        return f"JAX finds no {platform}: {str(error).splitlines()[0]}"
    if found != ("gpu" if platform == "cuda" else platform):
        return f"JAX computes on {found} here, not on {platform}"
    jax.config.update("jax_default_device", jax.devices()[index])
    return None


class Xla:
    """Runs together, each with its own key. The state stays on the device."""

    def __init__(self, work: Work, data: Data) -> None:
        self._work = work
        x, y = jnp.asarray(data.x), jnp.asarray(data.y, jnp.int32)
        self._train = x[: data.num_train], y[: data.num_train]
        self._held_out = x[data.num_train :], y[data.num_train :]
        self._initial = jax.jit(jax.vmap(functools.partial(initial_state, work)))
        self._epoch = jax.jit(
            jax.vmap(functools.partial(train_epoch, work), in_axes=(0, 0, None, None, None))
        )
        self._accuracy = jax.jit(
            jax.vmap(functools.partial(accuracy, work), in_axes=(0, None, None))
        )

    def train(self, seeds: Sequence[int], eval_every: int) -> Iterator[Progress]:
        """Runs, one a seed. Products of float32 are not left to TF32, JAX's default on a GPU."""
        keys = jax.vmap(jax.random.key)(jnp.array(list(seeds)))
        with jax.default_matmul_precision("float32"):
            state = self._initial(keys)
        for epoch in range(1, self._work.epochs + 1):
            epoch_keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, epoch)
            accuracies = None
            with jax.default_matmul_precision("float32"):
                state, losses = self._epoch(state, epoch_keys, LEARNING_RATE, *self._train)
                if epoch % eval_every == 0 or epoch == self._work.epochs:
                    accuracies = np.asarray(self._accuracy(state, *self._held_out)).tolist()
            yield Progress(np.asarray(losses).tolist(), accuracies)  # waits for the device
