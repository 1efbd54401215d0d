"""The training loop: runs of one network, trained together. A single run is a group of one.

Each run keeps its own numbers, random streams, hyperparameters and fate. Runs share only the data
table, the network's kind and the sizes that make their tensors stack.

Axes, everywhere in here: R runs, N rows, S steps of a stretch, B rows of a batch, M >= B rows of
the buffers, D inputs, C classes, P numbers in a run's row of the flat buffers.
"""

from nnexp.engine.batches import batches
from nnexp.engine.group import Group
from nnexp.engine.objective import mean_loss_and_score
from nnexp.engine.state import Epoch, Run, RunState

__all__ = ["Epoch", "Group", "Run", "RunState", "batches", "mean_loss_and_score"]
