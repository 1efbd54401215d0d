"""Networks that are any ``torch.nn.Module``: against plain torch, solo and batched, as files."""

from __future__ import annotations

import dataclasses
import os
import pickle
import random
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import programs
import pytest
import torch
from engine_cases import (
    adam,
    make_config,
    make_run,
    make_table,
    one_thread,  # noqa: F401
    same_bits,
    sgd,
    told,
    train,
)
from hydra import compose, initialize_config_dir
from module_cases import blocks, module_config, plain_training
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_memory import Allocated
from torch import Tensor, nn

from nnexp.config.compose import CONF, register, to_config
from nnexp.config.schema import Config, Cosine
from nnexp.data.on_device import Floats
from nnexp.device import Precision
from nnexp.engine import Group
from nnexp.errors import ConfigError
from nnexp.memory import needs_of
from nnexp.models.choose import network_from, network_of
from nnexp.models.layout import Structure
from nnexp.models.module_network import MODULE_FACTORIES, ModuleNetwork, module_network
from nnexp.models.module_ops import MOST_COPIES, way_of
from nnexp.runs.checkpoints import load_checkpoint, load_network
from nnexp.sweeps.plan import make_plan, why_alone
from nnexp.sweeps.progress import lines
from nnexp.sweeps.tasks import Entry, Inspection, Kind
from nnexp.trainer import run

CASES = Path(__file__).parents[1] / "helpers" / "module_company_cases.py"


def group_of(
    network: ModuleNetwork, configs: list[Any], rows: int = 75, val: int = 40, **options: Any
) -> Group:
    table = make_table(150, network.num_features, network.num_classes)
    runs = [make_run(config, table, rows, val) for config in configs]
    return Group(runs, Floats(table.x), table.y, network, **options)


NETWORKS = {
    "plain": blocks(9, 4, 16, "linear", "relu", "linear", "gelu"),
    "batch norm": blocks(9, 4, 11, "linear", "batch", "tanh", "linear", "batch", "sigmoid"),
    "layer norm, residual": blocks(9, 4, 12, "linear", "layer", "silu", "residual"),
    "dropout": blocks(9, 4, 16, "linear", "relu", "dropout", "linear", "relu", "dropout"),
    "convolution": blocks(9, 4, 8, "conv", "linear", "relu"),
    "tied, frozen, replaced": module_network("tied", {"width": 7}, 9, 4),
    "attention, one dropout twice": module_network("attention", {"width": 4}, 9, 4),
    "embedding, recurrent, gates": module_network("mixed", {"width": 5}, 9, 4),
}

INVARIANT = ("batch norm", "attention, one dropout twice")  # do not depend on some parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_as_a_plain_loop(name: str) -> None:
    """Losses, parameters and buffers after 50 steps, the last batch of an epoch being smaller."""
    network = NETWORKS[name]
    cosine = Cosine(name="cosine", warmup_epochs=0.5)
    configs = [
        module_config(network, adam(), seed=3, epochs=10),
        module_config(network, sgd(0.05, momentum=0.9), cosine, seed=1, epochs=10, grad_clip=0.5),
        module_config(network, adam(0.003), seed=2, epochs=10, label_smoothing=0.1),
    ]
    group = group_of(network, configs)
    table = make_table(150, 9, 4)
    for one, state, records in zip(group.runs, group.states, train(group), strict=True):
        losses, module = plain_training(one, table, network)
        assert [r.train_loss for r in records] == pytest.approx(losses, abs=1e-5)
        found = network.tensors(state.params, state.stats)
        assert found.keys() == module.state_dict().keys()
        for key, theirs in module.state_dict().items():
            assert found[key].dtype == theirs.dtype
            # Adam makes much of rounding errors where the gradient is 0: a bias before batch norm.
            if one.config.optimizer.name == "sgd" or name not in INVARIANT:
                torch.testing.assert_close(found[key], theirs, rtol=1e-4, atol=1e-5)


def test_as_the_mlp_with_its_dropout() -> None:
    """The same layers as a module: the same masks, and results but for the last bits."""
    structure = Structure(9, (16, 16), 4, activation="gelu")
    network = blocks(9, 4, 16, "linear", "gelu", "dropout", "linear", "gelu", "dropout", p=0.25)
    config = make_config(structure, adam(), seed=5, dropout=0.25, epochs=6)
    table = make_table(150, 9, 4)
    runs = [make_run(config, table, 75, 40)]
    theirs = Group(runs, Floats(table.x), table.y, structure)
    ours = group_of(network, [module_config(network, adam(), seed=5, epochs=6)])
    named = network.parameters.slots
    states = [theirs.states[0].params, ours.states[0].params]
    sizes = [
        [s.shape for s in layout.slots.values()]
        for layout in (structure.parameters, network.parameters)
    ]
    assert sizes[0] == sizes[1], named
    ours.states[0].params.copy_(states[0])  # both lay them out in the order of the layers
    (a,), (b,) = train(theirs), train(ours)
    assert [e.val_loss for e in a] == pytest.approx([e.val_loss for e in b], abs=1e-5)


def test_random_runs_solo_and_batched() -> None:
    """Twenty-five random modules, in a process of its own."""
    done = programs.run(
        [sys.executable, str(CASES), "--cases", "25"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [{"MKL_CBWR": "AUTO"}, {"ATEN_CPU_CAPABILITY": "avx2"},
     {"NNEXP_MATMUL": "mkl", "ATEN_CPU_CAPABILITY": "default"},
     {"NNEXP_MATMUL": "openblas", "MKL_CBWR": "COMPATIBLE"}],
    ids=str,
)  # fmt: skip
def test_random_runs_in_other_modes(variables: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(CASES), "--first", "5000", "--cases", "6"],
        env=os.environ | variables, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize(
    "network",
    [
        module_network("noisy", {}, 9, 4),
        module_network("branching", {}, 9, 4),
        module_network("recurrent", {}, 9, 4),
        blocks(9, 4, 700, "linear", "linear", "batch", "dropout"),  # too large to be stacked
    ],
    ids=["draws", "branches", "no batching rule", "large"],
)
def test_one_by_one(network: ModuleNetwork) -> None:
    """Repeatable, with the same bits in a group, and no generator of the user's is touched."""
    configs = [module_config(network, adam(), seed=seed, batch_size=25) for seed in (0, 1)]
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    together = group_of(network, configs)
    records = train(together)
    assert not way_of(network, 25, training=True).stacks
    for place, config in enumerate(configs):
        solo = group_of(network, [config])
        (own,) = train(solo)
        assert told(own) == told(records[place])
        assert same_bits(together.states[place].params, solo.states[0].params)
        assert own[-1].train_loss < own[0].train_loss
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_why_solo() -> None:
    noisy, branching = module_network("noisy", {}, 9, 4), module_network("branching", {}, 9, 4)
    assert noisy.why_solo == "it draws random numbers in other ways than by torch.nn.Dropout"
    assert str(branching.why_solo).startswith("torch.func.vmap cannot batch it: RuntimeError: ")
    recurrent = module_network("recurrent", {}, 9, 4)
    assert recurrent.why_solo == "torch.func.vmap cannot batch aten::gru_cell"
    assert all(network.why_solo is None for network in NETWORKS.values())
    kind = Kind("data", 75, 40, noisy, 16, False, "float32", "cpu", 1)
    assert why_alone(kind) == noisy.why_solo


def test_initial_weights_are_the_factorys() -> None:
    network = NETWORKS["batch norm"]
    before = torch.get_rng_state()
    one, same, other = (network.initial(None, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert same_bits(one[0], same[0])
    assert not torch.equal(one[0], other[0])
    assert network.tensors(*one)["body.1.running_var"].eq(1).all()


def test_tied_parameters_are_kept_once() -> None:
    network = NETWORKS["tied, frozen, replaced"]
    assert "second.weight" not in network.parameters.slots
    module = network.make()
    own = sum(p.numel() for p in module.parameters() if p.requires_grad)
    assert network.parameters.num_elements == own
    assert {"scale", "mean", "steps", "seen"} == set(network.statistics.slots)


def test_what_is_saved_is_the_modules() -> None:
    """Every dtype of buffers survives, and the module that is made again predicts the same."""
    network = NETWORKS["tied, frozen, replaced"]
    group = group_of(network, [module_config(network, adam(), epochs=3)])
    train(group)
    state = group.states[0]
    tensors = network.tensors(state.params, state.stats)
    assert tensors["steps"].item() == 15
    assert tensors["seen"].tolist() == [True, False, False]
    module = network_from(pickle.loads(pickle.dumps(network.saved()))).as_module(tensors).eval()
    rows = group.runs[0].val[None]
    with torch.no_grad():
        theirs = module(make_table(150, 9, 4).x[rows[0]])
    torch.testing.assert_close(group.predict([0], rows, best=False)[0], theirs)


def test_it_is_hashable_and_can_be_pickled() -> None:
    network = blocks(9, 4, 16, "linear", "relu")
    again = pickle.loads(pickle.dumps(network))
    assert again == network
    assert hash(again) == hash(network)
    assert again.facts == network.facts
    assert network != blocks(9, 4, 17, "linear", "relu")


def test_a_plan_needs_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "network"
    path.write_bytes(pickle.dumps(NETWORKS["batch norm"]))
    script = (
        "import pickle, sys\n"
        f"network = pickle.load(open({str(path)!r}, 'rb'))\n"
        "assert network.parameters.size and network.statistics.size and network.summary\n"
        "assert network.flops_per_row() and network.row_memory(None, is_half=False)\n"
        "import nnexp.sweeps.plan, nnexp.sweeps.progress\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


class Wrong(nn.Module):
    def __init__(self, features: int, outputs: int, how: str) -> None:
        super().__init__()
        if how == "factory":
            raise ValueError("no such thing\nreally")
        self.how = how
        self.linear = nn.Linear(features + (how == "input"), outputs + (how == "shape"))

    def forward(self, x: Tensor) -> Any:
        out = self.linear(x)
        return {"shape": out, "tuple": (out, out), "integers": out.argmax(1, keepdim=True)}[
            self.how
        ]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("factory", "model=wrong: cannot be built: ValueError: no such thing really"),
        ("shape", "model=wrong: returned [4, 3] for an input of shape [4, 5]; must be [4, 2], a "
                  "score for each class"),
        ("tuple", "model=wrong: returned a tuple for an input of shape [4, 5]; must be [4, 2], a "
                  "score for each class"),
        ("input", "model=wrong: raised RuntimeError: mat1 and mat2 shapes cannot be multiplied "
                  "(4x5 and 6x2) for an input of shape [4, 5]"),
        ("other", "model=wrong: raised KeyError: 'other' for an input of shape [4, 5]"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_module(
    how: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODULE_FACTORIES, "wrong", Wrong)
    with pytest.raises(ConfigError) as raised:
        module_network("wrong", {"how": how}, 5, 2)
    assert str(raised.value) == message


def test_a_model_that_is_not_registered() -> None:
    with pytest.raises(ConfigError) as raised:
        network_from(
            {"module": "my_net", "hyperparameters": {}, "num_features": 3, "num_classes": 2}
        )
    assert str(raised.value) == (
        "model my_net is not registered: import the module that registers it"
    )


def test_a_module_that_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = blocks(9, 4, 16, "linear", "relu")
    tensors = network.tensors(*network.initial(None, 0))
    monkeypatch.setitem(MODULE_FACTORIES, "blocks", lambda d, c, **_: nn.Linear(d, c))
    with pytest.raises(ConfigError, match="is not the module that was trained") as raised:
        network_from(network.saved()).as_module(tensors)
    assert "\n" not in str(raised.value)


def test_batch_norm_refuses_one_row() -> None:
    network = NETWORKS["batch norm"]
    with pytest.raises(
        ConfigError, match="a batch of one, which model=blocks refuses; use another"
    ):
        group_of(network, [module_config(network, adam(), batch_size=74)])


def test_lazy_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """They learn their shapes when they are first called, and draw their weights only then."""
    monkeypatch.setitem(
        MODULE_FACTORIES, "lazy", lambda d, c: nn.Sequential(nn.LazyLinear(7), nn.LazyLinear(c))
    )
    network = module_network("lazy", {}, 5, 2)
    assert network.parameters.slots["0.weight"].shape == (7, 5)
    assert same_bits(network.initial(None, 0)[0], network.initial(None, 0)[0])
    assert not torch.equal(network.initial(None, 0)[0], network.initial(None, 1)[0])


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        (lambda d, c: "net", {}, "its factory returned a str, not a torch.nn.Module"),
        (lambda d, c: nn.Flatten(), {}, "has no parameters to train"),
        (
            lambda d, c, o: None,
            {"o": {"a": 1}},
            "model.o must be a number, text, true, false, null or a list of them, not a dict",
        ),
        (lambda d, c: nn.Linear(d, c, dtype=torch.complex64), {}, "weight is torch.complex64"),
    ],
)
def test_what_cannot_be_a_model(
    factory: Any, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODULE_FACTORIES, "odd", factory)
    with pytest.raises(ConfigError, match="^model=odd: " + re.escape(message)):
        module_network("odd", options, 5, 2)


@dataclass
class MyConfig:
    name: str
    width: int
    layers: list[str]
    p: float = 0.0


def test_a_config_is_its_name_and_hyperparameters() -> None:
    config = make_config(Structure(9, (4,), 4))
    assert network_of(config, 9, 4) == Structure(9, (4,), 4)
    config = dataclasses.replace(config, model=MyConfig("blocks", 16, ["linear", "relu"]))
    assert network_of(config, 9, 4) == blocks(9, 4, 16, "linear", "relu", p=0.0)


@pytest.mark.parametrize("network", [NETWORKS["plain"], NETWORKS["batch norm"]])
def test_bfloat16(network: ModuleNetwork) -> None:
    """Parameters and inputs are cast; what is trained stays float32."""
    configs = [module_config(network, adam(), seed=seed, epochs=6) for seed in (0, 1)]
    group = group_of(network, configs, precision=Precision(torch.bfloat16))
    exact = group_of(network, configs)
    for half, full in zip(train(group), train(exact), strict=True):
        assert half[-1].train_loss == pytest.approx(full[-1].train_loss, abs=0.05)
    assert group.states[0].params.dtype == torch.float32


@pytest.mark.parametrize("name", ["plain", "batch norm", "attention, one dropout twice"])
def test_memory(name: str) -> None:
    """From a little less than groups take to twice as much, room for copies left out."""
    network, runs, rows = NETWORKS[name], 8, 128
    table = make_table(400, 9, 4)
    configs = [module_config(network, adam(), seed=s, batch_size=64) for s in range(runs)]
    for training, height in ((True, 64), (False, 200)):
        way_of(network, height, training=training)  # which is found out once
    with Allocated() as allocated:
        train(
            Group(
                [make_run(c, table, rows, 200) for c in configs], Floats(table.x), table.y, network
            )
        )
    room = 4 * MOST_COPIES * (network.parameters.size + network.statistics.size)
    told = needs_of(configs[0], network, "cpu", rows, 200, 0).total
    assert 0.8 < told * runs / (allocated.most - room) < 2


def test_memory_grows_with_what_autograd_keeps() -> None:
    small, large = (blocks(9, 4, width, "linear", "gelu", "linear") for width in (16, 64))
    needs = [
        needs_of(module_config(n, adam(), batch_size=64), n, "cpu", 256, 40, 40)
        for n in (small, large)
    ]
    assert needs[0].batch < needs[1].batch
    kept = 4 * (9 + 3 * 64)  # inputs of the linear layers and of the activation
    assert 4 * kept / 5 < large.facts.saved_per_row < 5 * kept / 4
    assert small.flops_per_row() == 6 * (9 * 16 + 16 * 16 + 16 * 4) - 2 * 9 * 16


# ── from a config to files, and to a plan ─────────────────────────────────────────────────────


@dataclass
class NamedConfig:
    name: str


def wine(model: Any) -> Config:
    register()
    overrides = ["dataset=wine", "trainer.epochs=3", "trainer.device=cpu", "baseline=none"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_config(compose("config", [*overrides, "trainer.histograms=true"]))
    return dataclasses.replace(config, model=model)


@pytest.mark.parametrize(
    "model", [MyConfig("blocks", 8, ["linear", "batch", "relu", "dropout"], 0.2),
              NamedConfig("branching")], ids=["batched", "solo"],
)  # fmt: skip
def test_a_run_and_its_files(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Metrics, histograms by the parameters' names, the graph where there is one, a checkpoint."""
    with caplog.at_level("WARNING"):
        result = run(wine(model), tmp_path, "arm")
    assert not caplog.records
    assert result.status == "completed"
    assert result.model == model.name
    (events,) = tmp_path.glob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events), {"histograms": 0, "graph": 1})
    accumulator.Reload()
    path = tmp_path / "checkpoints/best.pt"
    network = load_network(path)
    names = [name for name, _ in network.module.named_parameters()]
    assert {f"weights/{n}" for n in names} <= set(accumulator.Tags()["tensors"])
    assert accumulator.Tags()["graph"] == (model.name == "blocks")
    assert network.probabilities(torch.zeros(2, 13)).shape == (2, 3)
    assert load_checkpoint(path)["model"].keys() == network.module.state_dict().keys()
    monkeypatch.delitem(MODULE_FACTORIES, model.name)
    with pytest.raises(ConfigError, match=f"model {model.name} is not registered: import the"):
        load_network(path)


def test_a_plan_of_modules() -> None:
    entries, inspections = [], []
    networks = [NETWORKS["plain"], blocks(9, 4, 8, "linear"), module_network("noisy", {}, 9, 4)]
    for num, network in enumerate(network for network in networks for _ in range(4)):
        config = module_config(network, adam(), seed=num)
        kind = Kind("data", 75, 40, network, 16, False, "float32", "cpu", 1)
        entries.append(Entry(num, config, Path(str(num)), "arm"))
        inspections.append(Inspection(kind, network.parameters.size, 0))
    plan = make_plan(entries, inspections, num_workers=1, largest=None)
    assert sorted(len(task.entries) for task in plan.tasks) == [1, 1, 1, 1, 4, 4]
    told = "\n".join(lines(plan))
    assert "blocks layers=linear p=0.3 width=8, batch 16, cpu: 4 runs in 1 group of 4" in told
    assert "noisy, batch 16, cpu: 4 runs in 4 groups of 1: it draws random numbers in" in told
