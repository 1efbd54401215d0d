"""Small runs, and the same network in plain torch, for the tests of the engine and its parts.

``Reference`` and ``plain_loop`` are written from torch.nn and torch.optim alone: they are what the
engine is held to. Axes: R runs, N rows, B rows of a batch, D inputs, H units, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from torch.utils._python_dispatch import TorchDispatchMode

from nnexp.config.schema import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    BundledConfig,
    Config,
    Constant,
    Cosine,
    EarlyStoppingConfig,
    Exponential,
    ModelConfig,
    Optimizer,
    RMSprop,
    Scheduler,
    StepDecay,
    TrainerConfig,
)
from nnexp.engine import Epoch, Group, Run
from nnexp.engine.cuda_graphs import Loop, Replayed, Work
from nnexp.engine.step import Assembly
from nnexp.models.init import initial_parameters, initial_statistics
from nnexp.models.layers import Dropout
from nnexp.models.layout import Structure, parameter_layout, statistics_layout
from nnexp.models.module import named_tensors
from nnexp.rng import generator


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors: a second thread would only wait. Import this into a test file to use it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ── configs and data ──────────────────────────────────────────────────────────────────────────


def sgd(lr: float = 0.1, **options: Any) -> SGD:
    return SGD(name="sgd", lr=lr, **options)


def adagrad(lr: float = 0.05, **options: Any) -> Adagrad:
    return Adagrad(name="adagrad", lr=lr, **options)


def adam(lr: float = 0.01, **options: Any) -> Adam:
    return Adam(name="adam", lr=lr, **options)


def adamw(lr: float = 0.01, **options: Any) -> AdamW:
    return AdamW(name="adamw", lr=lr, **options)


def rmsprop(lr: float = 0.003, **options: Any) -> RMSprop:
    return RMSprop(name="rmsprop", lr=lr, **options)


_MODEL_OPTIONS = {field.name for field in fields(ModelConfig)}
_STOPPING_OPTIONS = {field.name for field in fields(EarlyStoppingConfig)}


def make_config(
    structure: Structure,
    optimizer: Optimizer | None = None,
    scheduler: Scheduler | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> Config:
    """A config for ``structure``; options are those of the model, the trainer, early stopping."""
    model = {name: options.pop(name) for name in list(options) if name in _MODEL_OPTIONS}
    stopping = {name: options.pop(name) for name in list(options) if name in _STOPPING_OPTIONS}
    return Config(
        seed=seed,
        model=ModelConfig(
            name="mlp",
            hidden=list(structure.hidden),
            activation=structure.activation,
            norm=structure.norm,
            residual=structure.residual,
            bias=structure.bias,
            **model,
        ),
        optimizer=optimizer or adam(),
        scheduler=scheduler or Constant(name="constant"),
        dataset=BundledConfig(name="none"),
        trainer=TrainerConfig(
            **{"epochs": 3, "batch_size": 16, **options},
            early_stopping=EarlyStoppingConfig(**stopping),
        ),
    )


def nine_runs(structure: Structure, **shared: object) -> list[Config]:
    """All that may differ in a group differs: fates, lengths, optimizers, seeds, options."""
    hidden = bool(structure.hidden)
    some, more = (0.2, 0.5) if hidden else (0.0, 0.0)
    cosine = Cosine(name="cosine", warmup_epochs=0.5)
    return [
        make_config(structure, adam(), seed=0, **{"epochs": 4, **shared}),
        make_config(structure, sgd(1e6), seed=1, epochs=4, **shared),  # diverges
        make_config(structure, adam(0.02, amsgrad=True), cosine, seed=0, epochs=2, **shared),
        make_config(structure, sgd(momentum=0.9), seed=2, epochs=3, dropout=more, **shared),
        make_config(structure, adagrad(), seed=3, epochs=1, label_smoothing=0.1, **shared),
        make_config(structure, rmsprop(), seed=4, epochs=3, grad_clip=0.5, eval_every=2, **shared),
        make_config(structure, adamw(), seed=5, epochs=3, dropout=some, grad_clip=0.1, **shared),
        make_config(structure, adam(weight_decay=0.1), seed=6, epochs=3, patience=1, **shared),
        make_config(structure, sgd(0.05, weight_decay=0.1), cosine, seed=7, epochs=4, **shared),
    ]  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Rows that can be learned, but not without errors."""

    x: Tensor  # [N, D]
    y: Tensor  # [N]


def make_table(rows: int, features: int, classes: int, *, noise: float = 1.0) -> Table:
    """Each class around a centre of its own."""
    stream = torch.Generator().manual_seed(7)
    y = torch.randint(classes, (rows,), generator=stream)
    centres = torch.randn(classes, features, generator=stream)
    return Table(centres[y] + noise * torch.randn(rows, features, generator=stream), y)


def make_run(config: Config, table: Table, train: int, val: int) -> Run:
    """A run on rows of the table that its seed draws, as split_seed=${seed} does."""
    stream = torch.Generator().manual_seed(1000 + config.seed)
    rows = torch.randperm(len(table.y), generator=stream)
    return Run(config, rows[:train], rows[train : train + val])


def train(group: Group) -> list[list[Epoch]]:
    """Train to the end; the records of each run."""
    records: list[list[Epoch]] = [[] for _ in group.runs]
    for epoch in group.train():
        for record in epoch:
            records[record.run].append(record)
    return records


# ── comparing ─────────────────────────────────────────────────────────────────────────────────


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two float32 tensors agree in every bit, or are both not a number."""
    a, b = (torch.where(t.isnan(), torch.nan, t).view(torch.int32) for t in (a, b))
    return torch.equal(a, b)


def told(records: Sequence[Epoch]) -> list[str]:
    """All that the records say but for the run's place and the time, every bit of it."""
    kept = [f.name for f in fields(Epoch) if f.name not in ("run", "seconds")]
    return [str({name: getattr(record, name) for name in kept}) for record in records]


# SequentialLR calls what torch itself calls deprecated.
ignore_sequential_lr = pytest.mark.filterwarnings("ignore:The epoch parameter in")


# ── the same in plain torch ───────────────────────────────────────────────────────────────────


class _Step(torch.autograd.Function):
    """1 above 0, else 0; the gradient passes where |z| < 1."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return (z > 0).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return grad * (z.abs() < 1).to(grad.dtype)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "step": _Step.apply,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
}


class Reference(nn.Module):
    """One network of torch.nn modules, its weights given by the layout's names."""

    def __init__(self, structure: Structure, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        widths = [structure.num_features, *structure.hidden]
        self.linears = nn.ModuleList(
            nn.Linear(a, b, bias=structure.bias) for a, b in pairwise(widths)
        )
        norms = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
        norm = norms[structure.norm]
        self.norms = nn.ModuleList(norm(width) if norm else nn.Identity() for width in widths[1:])
        self.output = nn.Linear(widths[-1], structure.num_classes, bias=structure.bias)
        self.activation = ACTIVATIONS[structure.activation]
        self.residual = structure.residual
        self.to(next(iter(tensors.values())).dtype)
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        with torch.no_grad():
            for name, tensor in tensors.items():
                own[self.own_name(name)].copy_(tensor)

    @staticmethod
    def own_name(name: str) -> str:
        """``hidden.1.norm.weight`` is ``norms.1.weight`` here."""
        if name.startswith("output"):
            return name
        _, layer, part, kind = name.split(".")
        return f"{part}s.{layer}.{kind}"

    def forward(self, x: Tensor, masks: Sequence[Tensor] | None = None) -> Tensor:
        h = x
        for i, (linear, norm) in enumerate(zip(self.linears, self.norms, strict=True)):
            z = self.activation(norm(linear(h)))
            if masks is not None:
                z = z * masks[i]
            h = h + z if self.residual and i > 0 and h.shape == z.shape else z
        return self.output(h)

    def named(self, structure: Structure, what: str) -> dict[str, Tensor]:
        """``params``, ``grads`` or ``stats`` by the layout's names."""
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        layout = (statistics_layout if what == "stats" else parameter_layout)(structure)
        tensors = {name: own[self.own_name(name)] for name in layout.slots}
        return {n: t.grad if what == "grads" else t.detach() for n, t in tensors.items()}


TORCH_OPTIMIZERS: dict[type[Optimizer], type[torch.optim.Optimizer]] = {
    SGD: torch.optim.SGD,
    Adagrad: torch.optim.Adagrad,
    Adam: torch.optim.Adam,
    AdamW: torch.optim.AdamW,
    RMSprop: torch.optim.RMSprop,
}


def torch_optimizer(config: Optimizer, params: Any) -> torch.optim.Optimizer:
    """torch's optimizer under the config's own option names."""
    options = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "name"}
    return TORCH_OPTIMIZERS[type(config)](params, **options)


def torch_scheduler(
    config: Scheduler, optimizer: torch.optim.Optimizer, steps_per_epoch: int, epochs: int
) -> LRScheduler:
    """torch's scheduler, stepped after every optimizer step, behind its LinearLR warm-up.

    ExponentialLR counts in epochs: stepped at every step it is StepLR of an epoch's steps.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    left = max(epochs * steps_per_epoch - warmup, 1)
    main: LRScheduler
    match config:
        case Cosine(eta_min=low):
            main = lr_scheduler.CosineAnnealingLR(optimizer, T_max=left, eta_min=low)
        case StepDecay(step_size=size, gamma=gamma):
            main = lr_scheduler.StepLR(optimizer, size * steps_per_epoch, gamma)
        case Exponential(gamma=gamma):
            main = lr_scheduler.StepLR(optimizer, steps_per_epoch, gamma)
        case _:
            main = lr_scheduler.ConstantLR(optimizer, factor=1.0)
    if not warmup:
        return main
    ramp = lr_scheduler.LinearLR(optimizer, config.warmup_start_factor, total_iters=warmup)
    return lr_scheduler.SequentialLR(optimizer, [ramp, main], [warmup])


@dataclass(frozen=True)
class PlainEpoch:
    """What the plain loop saw in one epoch."""

    train_loss: float
    train_score: float
    val_loss: float
    val_score: float
    lr: float


def plain_loop(
    run: Run, table: Table, structure: Structure, dtype: torch.dtype = torch.float64
) -> tuple[list[PlainEpoch], Reference]:
    """The training of one run as a torch user would write it: every epoch, and the network.

    It shares with the engine the initial weights, the order of rows and the masks of dropout.
    """
    config, trainer = run.config, run.config.trainer
    flat = initial_parameters(structure, config.model, config.seed)
    tensors = named_tensors(structure, flat, initial_statistics(structure))
    net = Reference(structure, {name: t.to(dtype) for name, t in tensors.items()})
    x, y, count = table.x.to(dtype), table.y, len(run.train)
    starts = list(range(0, count, trainer.batch_size))
    if trainer.drop_last and count % trainer.batch_size:
        starts.pop()
    optimizer = torch_optimizer(config.optimizer, net.parameters())
    scheduler = torch_scheduler(config.scheduler, optimizer, len(starts), trainer.epochs)
    rate = config.model.dropout
    dropout = None
    if rate:
        dropout = Dropout([config.seed], [rate], structure.hidden, torch.device("cpu"))
    step, epochs = 0, []
    for epoch in range(1, trainer.epochs + 1):
        order = run.train[torch.randperm(count, generator=generator(config.seed, "order", epoch))]
        losses, correct = [], []
        net.train()
        for start in starts:
            rows = order[start : start + trainer.batch_size]
            masks = None
            if dropout is not None:
                masks = [mask[0].to(dtype) for mask in dropout.masks(step, len(rows))]
            logits = net(x[rows], masks)
            each = F.cross_entropy(
                logits, y[rows], label_smoothing=trainer.label_smoothing, reduction="none"
            )
            optimizer.zero_grad()
            each.mean().backward()
            if trainer.grad_clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), trainer.grad_clip)
            lr = optimizer.param_groups[0]["lr"]
            optimizer.step()
            scheduler.step()
            step += 1
            losses.append(each.detach())
            correct.append((logits.argmax(1) == y[rows]).double())
        with torch.no_grad():
            logits = net.eval()(x[run.val])
        val_score = (logits.argmax(1) == y[run.val]).double().mean()
        epochs.append(
            PlainEpoch(
                torch.cat(losses).mean().item(),
                torch.cat(correct).mean().item(),
                F.cross_entropy(logits, y[run.val]).item(),
                val_score.item(),
                lr,
            )
        )
    return epochs, net


# ── replayed steps ────────────────────────────────────────────────────────────────────────────


class Recorder:
    """Counts what is captured and what is replayed."""

    def __init__(self) -> None:
        self.captured = 0
        self.replayed = 0

    def __call__(self, work: Work) -> Work:
        self.captured += 1

        def again() -> None:
            self.replayed += 1
            work()

        return again


class StandIn(Replayed):
    """Work that is called again, where a graph would be replayed."""

    def __init__(self, assembly: Assembly, recorder: Callable[[Work], Work]) -> None:
        super().__init__(assembly)
        self._recorder = recorder

    def capture(self, work: Work) -> Work:
        return self._recorder(work)


class ReplayedGroup(Group):
    """Trains on the CPU as a group does on CUDA, with a stand-in for graphs."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.recorder = Recorder()
        self.sizes: list[int] = []

    def _make_loop(self, runs: Sequence[Run]) -> Loop:
        self.sizes.append(len(runs))
        return StandIn(self._assembly, self.recorder)

    def _is_sparse(self, alive: Sequence[int]) -> bool:
        return len(alive) <= len(self._members) // 2


class NothingFromTheHost(TorchDispatchMode):
    """Refuses operations that need a value on the host, or bring one from there."""

    refused = frozenset({"_local_scalar_dense", "nonzero", "equal", "lift_fresh", "masked_select"})

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.calls += 1
        assert func._schema.name.removeprefix("aten::") not in self.refused, func
        return func(*args, **(kwargs or {}))
