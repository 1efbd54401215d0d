"""Exact Euclidean neighbours of whole numbers, by products of bytes.

Axis legend: ``N`` training rows, ``Q`` queries, ``D`` features, ``K`` features and padding, ``G``
groups of ``g`` training rows each.

Where all numbers are whole and none is more than 255 above another, as pixels are, a common shift
makes bytes of them, and a product of bytes summed in 32 bits rounds nothing. With a and b the
shifted row and query, the *score* ``|a|^2 - 2 a·b`` is the squared distance less ``|b|^2``, which
is the same for all rows: scores order a query's rows exactly. Nothing has to be proved afterwards,
and nothing is asked of the device before the end.

**Selection.** Rows stand in groups of consecutive rows. Only the minima of the groups are searched,
and then the members of k groups: each score is written once and read once, for its minimum.

    *The k lowest pairs (score, row) lie in the k groups of the lowest pairs (minimum, group).*

    Proof. Suppose that one of the k lowest pairs lies in a group J that is not among these k
    groups. Each of them has a lower minimum than J, or the same minimum and lower rows, as groups
    are consecutive. Either way the pair of its own minimum is below all pairs of J. So k pairs are
    below every pair of J, and none of J's is among the k lowest. ∎

Both steps order int64 numbers that hold a score in the upper 32 bits and a group or row in the
lower 32. These all differ, so that no tie is left to ``topk``, whose choice among equals is
anybody's guess.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nnexp import kernels
from nnexp.baselines.neighbors.scans import blocks

SPAN = 255  # of the numbers: the largest less the least
# Shifted numbers are from -128 to 127: |a|^2 is at most 2^14 D, 2 a·b at most 2^15 D in size.
MOST_FEATURES = (2**31 - 1) // (3 * 2**14)
_FAR = 2**31 - 1  # the score of padding: as far as that of any row, and after all of these

# torch._int_mm wants more than 16 queries, and features and rows in multiples of 8; tensor cores
# read 16 bytes at a time, and the kernel of minima 8 members of 4 groups.
_QUERIES_MULTIPLE, _FEATURES_MULTIPLE, _GROUP_MULTIPLE, _GROUPS_MULTIPLE = 32, 16, 8, 4
_SCORES_AT_A_TIME = {"cuda": 2**23, "cpu": 2**19}  # stay in the L2 cache (50 MiB on an H200)
_QUERIES_AT_A_TIME = {"cuda": 2048, "cpu": 256}  # more of them save nothing


def usable(num_features: int, device: torch.device) -> bool:
    """Whether products of bytes are exact here, and faster than those of floats."""
    return num_features <= MOST_FEATURES and _multiplies_bytes(device)


@functools.cache
def _multiplies_bytes(device: torch.device) -> bool:
    """Whether products of bytes are added up in 32 bits at once. The answer comes from a product.

    CPUs without VNNI take 16 bits between, which can overflow, or go number by number, which is
    slow. GPUs before compute capability 7.5 have no such product.
    """
    vnni = torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()  # type: ignore[no-untyped-call]
    if not (device.type == "cuda" or (device.type == "cpu" and vnni)):
        return False
    most = torch.full((32, 64), -128, dtype=torch.int8, device=device)
    try:
        return bool((torch._int_mm(most, most.T) == 64 * 2**14).all())
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return False


def all_whole(rows: Tensor) -> Tensor:
    """Whether float32 ``rows`` [N, D] are whole numbers, as a bool tensor [] on their device."""
    whole = torch.ones((), dtype=torch.bool, device=rows.device)
    for part in blocks(len(rows), 2**22 // rows.shape[1]):
        whole &= ~rows[part].frac().any()
    return whole


def to_bytes(rows: Tensor, low: float) -> Tensor:
    """Whole numbers [N, D] from ``low`` to ``low + SPAN``, float32 or uint8, as int8 [N, D].

    Their differences stay what they were: ``low`` becomes -128.
    """
    if rows.dtype == torch.uint8 and low == 0:
        return rows.bitwise_xor(128).view(torch.int8)
    points = torch.empty(rows.shape, dtype=torch.int8, device=rows.device)
    for part in blocks(len(rows), 2**22 // rows.shape[1]):
        points[part] = rows[part].float().sub(low).sub_(128)
    return points


@dataclass(frozen=True)
class Layout:
    """Where scores and minima stand: training row r is member ``r % group`` of ``r // group``.

    ``groups`` groups make a tile, and a tile's scores lie member by member, so that minima are
    taken of neighbouring columns at once.
    """

    group: int
    groups: int
    tiles: int
    queries: int  # at a time
    count: int  # groups whose members are looked at

    @property
    def num_groups(self) -> int:
        """G, those of padding included."""
        return self.tiles * self.groups

    @property
    def members(self) -> int:
        """Rows of a tile."""
        return self.groups * self.group

    @property
    def query_bytes(self) -> int:
        """What a query takes: products, a tile's scores, minima, members, and keys of these."""
        products = (self.tiles + 1) * self.members
        return 4 * products + 48 * self.num_groups + 56 * self.count * self.group

    @classmethod
    def of(cls, num_rows: int, k: int, device: torch.device, memory_bytes: int) -> Layout | None:
        """For ``num_rows`` and k neighbours; None where ``memory_bytes`` are too few."""
        group = _padded(math.isqrt(num_rows // k), _GROUP_MULTIPLE)
        needed = math.ceil(num_rows / group)
        queries, count = _QUERIES_AT_A_TIME[device.type], min(k, needed)
        groups = _padded(needed, _GROUPS_MULTIPLE)
        layout = cls(group, groups, 1, queries, count).within(memory_bytes)
        tiles = math.ceil(layout.queries * layout.members / _SCORES_AT_A_TIME[device.type])
        groups = _padded(math.ceil(needed / max(1, tiles)), _GROUPS_MULTIPLE)
        tiles = math.ceil(needed / groups)
        layout = cls(group, groups, tiles, queries, count).within(memory_bytes)
        return layout if layout.queries else None

    def within(self, memory_bytes: int) -> Layout:
        """The same with as many queries at a time as there is memory for."""
        most = min(self.queries, memory_bytes // self.query_bytes)
        queries = most // _QUERIES_MULTIPLE * _QUERIES_MULTIPLE
        return Layout(self.group, self.groups, self.tiles, queries, self.count)


class IntegerSearch:
    """The training rows, ready for products, and the search among them."""

    def __init__(self, train: Tensor, layout: Layout) -> None:
        """``train`` [N, D]: int8."""
        self.layout, self.device = layout, train.device
        self.by_kernel = kernels.available(train.device)
        self.width = _padded(train.shape[1], _FEATURES_MULTIPLE)
        tiles, groups, group = layout.tiles, layout.groups, layout.group
        rows = _pad(train, layout.num_groups * group, self.width)
        norms = squared_norms(rows)
        norms[len(train) :] = _FAR
        by_member = rows.view(tiles, groups, group, self.width).transpose(1, 2)
        self.points = by_member.reshape(tiles, layout.members, self.width)
        self.norms = norms.view(tiles, groups, group).transpose(1, 2).reshape(tiles, -1)

    def run(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Squared distances [Q, k], int64 and ascending, and rows [Q, k] for int8 [Q, D]."""
        layout, num_queries = self.layout, len(queries)
        points = _pad(queries, _padded(num_queries, _QUERIES_MULTIPLE), self.width)
        found = torch.empty((len(points), k), dtype=torch.int64, device=self.device)
        turns = math.ceil(len(points) / layout.queries)
        size = _padded(math.ceil(len(points) / turns), _QUERIES_MULTIPLE)
        products = torch.empty(
            (layout.tiles, size, layout.members), dtype=torch.int32, device=self.device
        )
        for part in blocks(len(points), size):
            some = points[part]
            # The last ones may be fewer; _int_mm wants the products of a tile to be contiguous.
            own = products.view(-1)[: layout.tiles * len(some) * layout.members]
            own = own.view(layout.tiles, len(some), layout.members)
            found[part] = self._select(own, self._minima(some, own), k)
        found = found[:num_queries]
        squares = (found >> 32) + squared_norms(queries).unsqueeze(1)
        return squares, _low_half(found)

    def _minima(self, points: Tensor, products: Tensor) -> Tensor:
        """Write ``products`` [tiles, Q, members] of ``points`` [Q, K]; the groups' minima [Q, G].

        The scores themselves are written nowhere, or to a place in cache.
        """
        layout, num_queries = self.layout, len(points)
        shape = (num_queries, layout.tiles, layout.groups)
        minima = torch.empty(shape, dtype=torch.int32, device=self.device)
        in_groups = (num_queries, layout.group, layout.groups)
        scores = None if self.by_kernel else torch.empty_like(products[0])
        for tile in range(layout.tiles):
            torch._int_mm(points, self.points[tile].T, out=products[tile])
            if scores is None:
                from nnexp.kernels.minima import group_minima  # imports triton

                norms = self.norms[tile].view(in_groups[1:])
                group_minima(products[tile].view(in_groups), norms, minima, tile)
            else:
                torch.sub(self.norms[tile], products[tile], alpha=2, out=scores)
                torch.amin(scores.view(in_groups), 1, out=minima[:, tile])
        return minima.view(num_queries, layout.num_groups)

    def _select(self, products: Tensor, minima: Tensor, k: int) -> Tensor:
        """The k lowest pairs of score and row [Q, k], ascending."""
        layout, num_queries = self.layout, len(minima)
        group_keys = _pairs(minima, torch.arange(layout.num_groups, device=self.device))
        groups = _low_half(group_keys.topk(layout.count, largest=False, sorted=False).values)
        tile = groups.div(layout.groups, rounding_mode="floor")
        member = torch.arange(layout.group, device=self.device)
        # Where they are in their tile [Q, count, group], and where that begins.
        place = (groups - tile * layout.groups).unsqueeze(2) + member * layout.groups
        norms = self.norms.view(-1)[place + (tile * layout.members).unsqueeze(2)]
        query = torch.arange(num_queries, device=self.device).unsqueeze(1)
        place += ((tile * num_queries + query) * layout.members).unsqueeze(2)
        scores = norms.sub_(products.view(-1)[place], alpha=2)
        rows = groups.unsqueeze(2) * layout.group + member
        keys = _pairs(scores, rows).view(num_queries, -1)
        return keys.topk(k, largest=False, sorted=True).values


def squared_norms(points: Tensor) -> Tensor:
    """Of int8 [N, D], int32 [N]."""
    norms = torch.empty(len(points), dtype=torch.int32, device=points.device)
    for part in blocks(len(points), 2**23 // points.shape[1]):
        # A square is at most 2^14.
        torch.sum(points[part].to(torch.int16).square_(), 1, dtype=torch.int32, out=norms[part])
    return norms


def _pairs(scores: Tensor, index: Tensor) -> Tensor:
    """An int64 number of each, ordered as (score, index)."""
    return (scores.to(torch.int64) << 32).add_(index)


def _low_half(pairs: Tensor) -> Tensor:
    return pairs & (2**32 - 1)


def _padded(number: int, multiple: int) -> int:
    return max(1, math.ceil(number / multiple)) * multiple


def _pad(rows: Tensor, num_rows: int, width: int) -> Tensor:
    """``rows`` [N, D] with zeros below and to the right."""
    padded = rows.new_zeros(num_rows, width)
    padded[: len(rows), : rows.shape[1]] = rows
    return padded
