"""CUDA: nnexp beside eager torch, torch.compile and JAX, and beside what the chip could do.

    python benchmarks/cuda.py [--mnist FOLDER] [--only ROW ...] [--markdown] [--json FILE]
                              [--device cuda] [--quick]

One run, 64 and 4,096 fused runs, a large network in bfloat16, exact neighbours, and the seconds to
98.5 % on MNIST: within nine minutes on one H200. ``--mnist`` names a folder with MNIST's four IDX
files; without it random pixels take their place, and the last row is left out. ``--quick`` makes
all of it a toy's size, to see that it works, on a CPU with ``--device cpu``.

Rules:

- Everybody trains the same network with Adam (lr 1e-3) on the same rows, which lie on the device,
  in as many batches of the same size; epochs have whole batches only (59,904 of MNIST's rows).
  Float32 products are float32 for everybody, never TF32. Final losses must agree.
- A learner first trains an epoch, which is told apart: it compiles. Then it trains up to five times
  from new weights, with other seeds. *seconds* are the median of whole trainings, nnexp's with all
  that a new group costs it (its buffers, its capture of CUDA graphs). *us/step* is the median epoch
  that is neither the first nor the last of a training, over its steps: for all runs together. The
  clock reads when the epoch's losses are on the host.
- Eager torch trains one run at a time and is charged for all of them one after the other.
  torch.compile has the whole step in one graph, replayed as a CUDA graph; of many runs by vmap.
- The rates of the roofline (roofline.py) are measured in the same run, before the rows.

The exit code is 1 where something failed, or somebody trained to another loss; not where a goal is
missed, which the table says.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from types import ModuleType


def program() -> ModuleType:
    """The rest of it, imported.

    NVIDIA's Python packages are called cuda, as this file is. So that nobody takes it for them,
    here or in the processes that torch.compile starts, its folder is on the path for no longer than
    its neighbours need to be found, and torch has found those packages before. The folder above
    stays: nnexp lies there, and need not be installed.
    """
    here = Path(__file__).resolve().parent
    path = [place for place in sys.path if Path(place).resolve() != here]
    path.insert(0, str(here.parent))
    sys.path[:] = path
    with contextlib.suppress(ImportError):
        importlib.import_module("cuda")
    importlib.import_module("torch")
    sys.path[:] = [*path, str(here)]
    try:
        return importlib.import_module("cuda_rows.program")
    finally:
        sys.path[:] = path


if __name__ == "__main__":
    sys.exit(program().main(__doc__.splitlines()[0]))
