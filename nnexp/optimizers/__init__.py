"""Optimizers over flat buffers, with the numbers and the meaning of torch.optim.

A group may mix optimizers: ``make_optimizers`` gives each kind the rows of the runs that it trains,
as many as stay in a core's cache. There are three ways to update: ``batched`` passes over many
short rows at once; on the CPU torch's ``fused`` kernels for long rows; on CUDA, where Triton works,
the project's own kernels, in ``one_pass``. Which one a run gets follows from the device and its own
size, so the bits do not depend on its company.
"""

from nnexp.optimizers.base import Optimizer
from nnexp.optimizers.choose import make_optimizers, passes

__all__ = ["Optimizer", "make_optimizers", "passes"]
