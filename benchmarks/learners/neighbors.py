"""Nearest neighbours by one matrix product and topk, compiled by torch and by JAX.

Neither is exact where float32 rounds. Axes: Q queries, N rows, D features.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

Neighbors = Callable[[], Tensor]  # indices [Q, k]

_QUERIES = 250  # at a time


class Nearest(nn.Module):
    """The k nearest rows of a table, which is a buffer: nothing copies it for a call."""

    rows: Tensor
    norms: Tensor

    def __init__(self, rows: Tensor, k: int) -> None:
        super().__init__()
        self.k = k
        self.register_buffer("rows", rows)
        self.register_buffer("norms", rows.square().sum(1))

    def forward(self, queries: Tensor) -> Tensor:
        """Indices [Q, k] for queries [Q, D]."""
        distances = torch.addmm(self.norms, queries, self.rows.T, alpha=-2)
        return distances.topk(self.k, largest=False).indices


def torch_eager(rows: Tensor, queries: Tensor, k: int) -> Neighbors:
    """The lines that everybody writes."""
    module = Nearest(rows, k)
    return lambda: torch.cat([module(part) for part in torch.split(queries, _QUERIES)])


def torch_compiled(rows: Tensor, queries: Tensor, k: int) -> Neighbors:
    """The same through torch.compile; on the CPU no code is generated."""
    module = Nearest(rows, k)
    if rows.is_cuda:
        compiled = torch.compile(module, fullgraph=True, mode="reduce-overhead")
    else:
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")

    def find() -> Tensor:  # a replay writes over what the one before returned
        return torch.cat([compiled(part).clone() for part in torch.split(queries, _QUERIES)])

    return find


def xla(rows: Tensor, queries: Tensor, k: int) -> Neighbors:
    """The same through JAX, all queries in one call. Import it after JAX_PLATFORMS has been set."""
    import jax
    import jax.numpy as jnp

    table, asked = (jnp.asarray(part.cpu().numpy()) for part in (rows, queries))

    def find(table: jax.Array, asked: jax.Array) -> jax.Array:
        norms = jnp.square(table).sum(1)

        def part(some: jax.Array) -> jax.Array:
            return jax.lax.top_k(2 * some @ table.T - norms, k)[1]

        return jax.lax.map(part, asked.reshape(-1, min(_QUERIES, len(asked)), asked.shape[1]))

    compiled = jax.jit(find)

    def indices() -> Tensor:
        with jax.default_matmul_precision("float32"):
            found = compiled(table, asked)
        return torch.from_numpy(np.array(found)).reshape(-1, k)

    return indices
