"""Optimizers over flat buffers, with the numbers and the meaning of torch.optim.

A group may mix optimizers: ``make_updates`` gives each kind the rows of the runs that it trains, as
many as stay in a core's cache. There are three ways to update: passes over many short rows at once;
on the CPU torch's ``fused`` kernels for long rows; on CUDA, where Triton works, the project's own
kernels. Which one a run gets follows from the device and its own size, so the bits do not depend on
the batch. An optimizer of another package has the first way, by its ``update``.
"""

from nnexp.optim.adagrad import Adagrad
from nnexp.optim.adam import Adam
from nnexp.optim.adamw import AdamW
from nnexp.optim.backends import make_updates, passes
from nnexp.optim.base import Optimizer, Update, optimizer
from nnexp.optim.rmsprop import RMSprop
from nnexp.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "Update",
    "make_updates",
    "optimizer",
    "passes",
]
