"""The least score of every group of training rows, without writing the scores.

Axes: Q queries, T tiles of G groups each, g rows of a group.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nnexp.kernels import launch

# A program's tile, of which g / _MEMBERS are met in turns. Its queries share the norms it reads.
_QUERIES, _MEMBERS, _GROUPS = 4, 8, 128


def group_minima(products: Tensor, norms: Tensor, minima: Tensor, tile: int) -> None:
    """Fill ``minima[:, tile]`` with the least ``norms - 2 * products`` of each group.

    Args:
        products: [Q, g, G] int32; g is a multiple of 8, G of 4.
        norms: [g, G] int32.
        minima: [Q, T, G] int32.
        tile: one of the T.

    Raises:
        ValueError: as ``launch``.
    """
    queries, members, groups = products.shape
    programs = triton.cdiv(queries, _QUERIES) * triton.cdiv(groups, _GROUPS)
    numbers = (queries, groups // 4, tile, minima.shape[1])
    launch(
        _group_minima, programs, (products, norms, minima), *numbers,
        TURNS=members // _MEMBERS, QUERIES=_QUERIES, MEMBERS=_MEMBERS, GROUPS=_GROUPS,
    )  # fmt: skip


@triton.jit(do_not_specialize=["tile"])  # one kernel for all tiles
def _group_minima(
    products, norms, minima, queries, quads, tile, tiles,
    TURNS: tl.constexpr, QUERIES: tl.constexpr, MEMBERS: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    groups = quads * 4  # so that Triton sees that four are read at once
    group_blocks = tl.cdiv(groups, GROUPS)
    program = tl.program_id(0)
    query = (program // group_blocks * QUERIES + tl.arange(0, QUERIES)).to(tl.int64)
    group = program % group_blocks * GROUPS + tl.arange(0, GROUPS)
    there = group < groups
    real = (query < queries)[:, None] & there[None, :]
    first = query * (TURNS * MEMBERS * groups)
    least = tl.full([QUERIES, GROUPS], 2**31 - 1, tl.int32)
    for turn in range(TURNS):
        member = turn * MEMBERS + tl.arange(0, MEMBERS)
        place = member[:, None] * groups + group[None, :]
        norm = tl.load(norms + place, mask=there[None, :], other=0)
        many = first[:, None, None] + place[None, :, :]
        product = tl.load(products + many, mask=real[:, None, :], other=0)
        least = tl.minimum(least, tl.min(norm[None, :, :] - 2 * product, axis=1))
    tl.store(minima + (query[:, None] * tiles + tile) * groups + group[None, :], least, mask=real)
