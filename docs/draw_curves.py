"""Draw a run's curves from its record, as the README shows them.

python docs/draw_curves.py RUN_FOLDER docs/deep_adam.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from nnexp.runs.record import read_metrics, read_result


def main() -> None:
    """Loss and accuracy over the epochs, the best epoch and KNN marked."""
    folder, picture = Path(sys.argv[1]), sys.argv[2]
    epochs, result = read_metrics(folder), read_result(folder)
    numbers = [epoch["epoch"] for epoch in epochs]
    figure = Figure(figsize=(8.4, 3.0), dpi=130, layout="constrained")
    for axes, kind, name in zip(
        figure.subplots(1, 2), ("loss", "acc"), ("cross-entropy (nats)", "accuracy"), strict=True
    ):
        axes.plot(numbers, [e[f"train/{kind}"] for e in epochs], color="#56B4E9", label="train")
        axes.plot(numbers, [e[f"val/{kind}"] for e in epochs], color="#0072B2", label="validation")
        axes.axvline(result.best_epoch, color="#999999", lw=0.8, ls=":", label="best epoch")
        if kind == "acc":
            knn = result.baselines["knn"]
            axes.axhline(knn["val/acc"], color="#D55E00", lw=1, ls="--",
                         label=f"KNN, k={knn['k']}, validation")  # fmt: skip
            axes.set_ylim(0.85, 1.005)
        else:
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{result.arm} on {result.dataset.name}, seed {result.seed}", fontsize=10)
    figure.savefig(picture)


if __name__ == "__main__":
    main()
