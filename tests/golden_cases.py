"""The commands of tests/golden.py, and the data that some of them read."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from idx_files import NAMES, draw, idx, packed


@dataclass(frozen=True)
class Step:
    """One command: ``python -m module arguments``, which are split as in a shell.

    ``{run}`` and ``{sweep}`` in an argument are the folder that an earlier step of the case left.
    """

    arguments: str
    module: str = "nnexp"
    exit_code: int = 0
    """What it is meant to be: two checkouts that both fail at the start would leave the same."""


@dataclass(frozen=True)
class Case:
    """Commands that run one after the other in a folder, which ``prepare`` writes into first."""

    steps: tuple[Step, ...]
    prepare: Callable[[Path], None] | None = None


def single(arguments: str, exit_code: int = 0) -> Case:
    """Of one command."""
    return Case((Step(arguments, exit_code=exit_code),))


def write_table(folder: Path) -> None:
    """``table.csv``: numbers and categories, both with cells missing, and names of classes."""
    rng = random.Random(0)
    lines = ["age,height,colour,town,verdict"]
    for _ in range(240):
        age, height = rng.randint(18, 80), round(rng.gauss(170, 10), 1)
        colour = rng.choice(["red", "green", "blue"])
        likes = age + 20 * (colour == "red") + rng.gauss(0, 8)
        verdict = "yes" if likes > 60 else "maybe" if likes > 45 else "no"
        cells = [
            "" if rng.random() < 0.1 else str(age),
            "?" if rng.random() < 0.05 else str(height),
            "?" if rng.random() < 0.1 else colour,
            rng.choice(['"Ulm, Donau"', "Aachen", "Trier"]),
            verdict,
        ]
        lines.append(",".join(cells))
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_images(folder: Path) -> None:
    """Four IDX files in ``images``, of random pixels, 8 by 8, in three classes."""
    (folder / "images").mkdir()
    for split, rows in (("train", 300), ("test", 90)):
        pixels, labels = draw(rows, 8, 8)
        # The first pixels tell the class, so that there is something to learn.
        pixels[:, 0, :4] = labels[:, None] * 100 + pixels[:, 0, :4] % 50
        for kind, values in (("images", pixels), ("labels", labels)):
            (folder / "images" / NAMES[f"{split}_{kind}"]).write_bytes(packed(idx(values)))


_UNPUBLISHED = " ".join(
    f"dataset.{file}.sha256=null dataset.{file}.sha256_unpacked=null" for file in NAMES
)
_EVERY_LAYER = (
    "dataset=wine model.hidden=[24,16] model.activation=gelu model.norm=batch model.dropout=0.2 "
    "trainer.label_smoothing=0.1 trainer.grad_clip=0.5 scheduler=cosine "
    "scheduler.warmup_epochs=2 optimizer=adamw optimizer.weight_decay=0.01 trainer.epochs=6 "
    "trainer.batch_size=16 trainer.histograms=true baseline=all"
)
_RESIDUAL = (
    "dataset=spirals dataset.noise=0.2 model=deeper model.norm=layer model.residual=true "
    "model.activation=silu model.init=orthogonal optimizer=rmsprop scheduler=step "
    "scheduler.warmup_epochs=1 trainer=early_stopping trainer.early_stopping.patience=2 "
    "trainer.epochs=12 trainer.eval_every=2 trainer.drop_last=true"
)
_TABLE = (
    "dataset=csv dataset.path=table.csv dataset.target=verdict dataset.impute_numeric=mean "
    "dataset.impute_categorical=category baseline=[knn,svm,boosting] trainer.epochs=5"
)
_IMAGES = (
    f"dataset=mnist dataset.root=images dataset.download=false {_UNPUBLISHED} model=shallow "
    "trainer.epochs=3"
)
_SMALL_SWEEP = "-m dataset=iris model=linear,shallow seed=0,1 trainer.epochs=4"

CASES: dict[str, Case] = {
    "deep_adam": single("+experiment=deep_adam trainer.epochs=3"),
    "linear": single("dataset=iris model=linear"),
    "adagrad": single("model=shallow optimizer=adagrad trainer.epochs=10"),
    "every_layer": single(_EVERY_LAYER),
    "residual": single(_RESIDUAL),
    "table": Case((Step(_TABLE),), write_table),
    "images": Case((Step(_IMAGES),), write_images),
    "threads": single("trainer.device=cpu trainer.threads=2 trainer.epochs=2 baseline=none"),
    "bfloat16": single("dataset=wine trainer.precision=bfloat16 trainer.epochs=3"),
    "overfit": Case(
        (Step("debug=overfit dataset=wine model=shallow"), Step("debug=fast dataset=moons"))
    ),
    "refused": Case(
        (
            Step("optimizer=sgd optimizer.lr=1e6 trainer.epochs=2", exit_code=1),
            Step("optimizer.lr=-1", exit_code=1),
            Step("model.hidden=wide", exit_code=1),
        )
    ),
    "sweep": single(
        "-m model=shallow,deep optimizer=sgd,adagrad,adam seed=range(3) trainer.epochs=3 "
        "dataset=digits"
    ),
    "sweep_data": single(
        "-m dataset=moons,wine model=shallow,deep seed=0,1 trainer.epochs=4 "
        "trainer.label_smoothing=0.05 model.dropout=0.1 "
        "baseline=[knn,majority,logistic_regression]"
    ),
    "sweep_failures": single(
        "-m dataset=wine optimizer=sgd optimizer.lr=0.1,1e6,-1 seed=0,1 trainer.epochs=4",
        exit_code=1,
    ),
    "compare": single(
        "-m +experiment=compare_optimizers model=shallow dataset=iris seed=0,1 "
        "trainer.epochs=3 report.tensorboard=true"
    ),
    "again": Case(
        (
            Step(_SMALL_SWEEP),
            Step("{sweep} --runs 2", "nnexp.verify"),
            Step("{sweep} --out second --tuned none --reference 'linear · adam'", "nnexp.report"),
            Step("{sweep} --out third --title Again --equivalence 1", "nnexp.report"),
        )
    ),
    "help": Case(
        (
            Step("--help"),
            Step("+experiment=mnist --cfg job"),
            Step("-m model=shallow,deep seed=range(20) hydra.launcher.dry_run=true"),
            Step("--help", "nnexp.report"),
            Step("--help", "nnexp.verify"),
        )
    ),
}
