"""How a run is trained and watched."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnexp.config.fields import choice, ranged

PRECISIONS = ("float32", "tf32", "bfloat16")
STOPPING_METRICS = ("val/loss", "val/acc", "train/loss")


@dataclass
class EarlyStoppingConfig:
    """Stop when a metric has not improved by min_delta for patience evaluations."""

    metric: str = choice("val/loss", STOPPING_METRICS)
    patience: int | None = ranged(None, ge=1)  # null: train all epochs
    min_delta: float = ranged(0.0, ge=0)


@dataclass
class TrainerConfig:
    """How a run is trained and watched."""

    epochs: int = ranged(30, ge=1)
    batch_size: int = ranged(32, ge=1)
    drop_last: bool = False
    label_smoothing: float = ranged(0.0, ge=0, lt=1)
    grad_clip: float | None = ranged(None, gt=0)  # largest L2 norm of a run's gradient
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    eval_every: int = ranged(1, ge=1)  # epochs between evaluations on the validation rows
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    precision: str = choice("float32", PRECISIONS)  # of matrix products; tf32 on CUDA alone
    cuda_graphs: bool = True  # replay captured steps on CUDA: the same numbers, sooner
    threads: int | None = ranged(None, ge=1)  # of the CPU; null: one for small steps, else all
    require_train_loss: float | None = ranged(None, gt=0)  # ends the run; fails it if not reached
    checkpoint_seconds: float = ranged(30.0, gt=0)  # least time between two checkpoints
    histograms: bool = False  # of weights and gradients, to TensorBoard, at every evaluation
    pictures: bool = True  # confusion matrix and decision boundary, to TensorBoard
