"""Compile every kernel for one GPU, without one; run by test_kernels.py in a process of its own.

    python tests/helpers/kernel_compilation.py 90

Prints a kernel's name and the widest access to memory in it, in bits, a line each.
``call_all``, which calls every kernel, also serves test_kernel_launchers.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from nnexp.kernels import cross_entropy, gather, minima, updates

TYPES = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.uint8: "*u8",
    torch.bool: "*i1",
}


def compile_only(
    kernel: Any, programs: int, tensors: Sequence[Tensor | None], *numbers: float, **constants: int
) -> None:
    """In the place of ``launch``: what Triton would compile for these arguments."""
    signature, fixed = {}, dict(constants)
    attributes = {}
    for place, value in enumerate((*tensors, *numbers)):
        name = kernel.arg_names[place]
        if isinstance(value, Tensor):
            signature[name] = TYPES[value.dtype]
            attributes[(place,)] = [["tt.divisibility", 16]]
        elif value is None or value == 1:
            signature[name], fixed[name] = "constexpr", value
        elif isinstance(value, int):
            signature[name] = "i32"
            if value % 16 == 0:
                attributes[(place,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "fp32"
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, signature, constexprs=fixed, attrs=attributes)
    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    code = triton.compile(source, target=target, options={"enable_fp_fusion": False})
    assert code.asm["cubin"]
    widths = re.findall(r"(?:ld|st)\.global(?:\.v(\d))?\.b(\d+)", code.asm["ptx"])
    print(kernel.__name__, max(int(many or 1) * int(bits) for many, bits in widths))


def call_all(runs: int, numbers: int, rows: int, columns: int, classes: int) -> None:
    """Every kernel, each with and without what it can go without."""
    index = torch.zeros(1, dtype=torch.int64)
    p, g, a, b, c = torch.zeros(5, runs, numbers)
    low, high = torch.zeros(2, runs, columns, dtype=torch.float64)
    pixels = torch.zeros(3, columns, dtype=torch.uint8)
    places = torch.zeros(runs * rows, dtype=torch.int64)
    gather.gather_pixels(pixels, places, low, high, torch.zeros(runs, rows, columns))
    each = torch.zeros(runs, 1)
    table = {h: torch.zeros(5, h, runs, 1) for h in (1, 2, 3)}
    updates.sgd(p, g, None, table[1], index, None, None, nesterov=False)
    updates.sgd(p, g, a, table[2], index, each, each, nesterov=True)
    updates.adagrad(p, g, a, table[1], index, each, each)
    updates.adam(p, g, a, b, None, table[3], index, each, each, each, floor=1e-34)
    updates.adam(p, g, a, b, c, table[2], index, each, each, each, floor=1e-34)
    updates.rmsprop(p, g, a, None, None, table[1], index, None, each, each, each, floor=1e-34)
    updates.rmsprop(p, g, a, b, c, table[1], index, each, each, each, each, floor=1e-34)
    logits = torch.zeros(runs, classes, rows)
    labels = torch.zeros(runs, 1, rows, dtype=torch.int64)
    cross_entropy.softmax_cross_entropy(logits, labels, None, rows)
    cross_entropy.softmax_cross_entropy(logits, labels, torch.zeros(runs), rows - 1)
    products, norms, least = (
        torch.zeros(shape, dtype=torch.int32)
        for shape in ((rows, 64, 136), (64, 136), (rows, 7, 136))
    )
    minima.group_minima(products, norms, least, 3)


if __name__ == "__main__":
    for module in (gather, updates, cross_entropy, minima):
        module.launch = compile_only
    call_all(runs=8, numbers=2432, rows=128, columns=784, classes=10)
