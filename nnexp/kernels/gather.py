"""Rows of pixels gathered, scaled and cast in one pass.

Axes: R runs, M rows of the buffers, D inputs, N rows of the table.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nnexp.kernels import launch

# A program's tile. Its rows share the columns' shift and scale, 16 bytes where a pixel is one.
_ROWS = 16
_MOST_COLUMNS = 256


def gather_pixels(table: Tensor, index: Tensor, shift: Tensor, scale: Tensor, out: Tensor) -> None:
    """Fill ``out`` with ``(table[index] - shift) * scale``, in float64 and then rounded.

    The bits are those of the same formula in numpy or torch.

    Args:
        table: [N, D] uint8.
        index: [R * M] int64, rows of the table.
        shift, scale: [R, D] float64, of the run.
        out: [R, M, D] float32.

    Raises:
        ValueError: as ``launch``.
    """
    runs, rows, columns = out.shape
    tile = min(triton.next_power_of_2(columns), _MOST_COLUMNS)
    programs = runs * triton.cdiv(rows, _ROWS) * triton.cdiv(columns, tile)
    tensors = (table, index, shift, scale, out)
    launch(_gather_pixels, programs, tensors, rows, columns, ROWS=_ROWS, COLUMNS=tile)


@triton.jit
def _gather_pixels(
    table, index, shift, scale, out, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    column_blocks = tl.cdiv(columns, COLUMNS)
    blocks = tl.cdiv(rows, ROWS) * column_blocks
    program = tl.program_id(0)
    run = (program // blocks).to(tl.int64)
    row = program % blocks // column_blocks * ROWS + tl.arange(0, ROWS)
    column = program % column_blocks * COLUMNS + tl.arange(0, COLUMNS)
    place = run * rows + row
    there = column < columns
    low = tl.load(shift + run * columns + column, mask=there, other=0.0)
    factor = tl.load(scale + run * columns + column, mask=there, other=0.0)
    source = tl.load(index + place, mask=row < rows, other=0)
    real = (row < rows)[:, None] & there[None, :]
    pixels = tl.load(table + source[:, None] * columns + column[None, :], mask=real, other=0)
    scaled = (pixels.to(tl.float64) - low[None, :]) * factor[None, :]
    tl.store(out + place[:, None] * columns + column[None, :], scaled.to(tl.float32), mask=real)
